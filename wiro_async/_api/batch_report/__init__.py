"""How a batch went: live progress and the report."""
