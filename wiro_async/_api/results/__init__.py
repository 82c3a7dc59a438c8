"""Results of runs, and their outputs."""
