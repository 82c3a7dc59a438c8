"""The download of output files."""
