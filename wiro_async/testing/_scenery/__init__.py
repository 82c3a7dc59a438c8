"""What the emulator's painter can draw: skies, landscapes, subjects and abstract compositions."""
