"""The models that every emulator has."""
