"""What Wiro says: bytes and mappings in, records out. No I/O, no clock, no randomness in here."""
