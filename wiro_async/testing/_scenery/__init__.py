"""The emulator's painter and its scenes: skies, landscapes, subjects and abstract compositions."""
