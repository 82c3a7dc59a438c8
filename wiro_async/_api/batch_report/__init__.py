"""How a batch goes: its counters, the live display, and the report."""
