"""Results and outputs."""
