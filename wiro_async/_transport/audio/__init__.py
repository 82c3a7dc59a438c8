"""Audio files, and conversion of audio."""
