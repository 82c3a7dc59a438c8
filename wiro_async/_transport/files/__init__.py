"""Files of this machine: read in threads, written atomically."""
