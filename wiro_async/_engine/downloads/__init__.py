"""Downloads of output files."""
