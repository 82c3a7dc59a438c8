"""Batches: any number of runs, a bounded number in flight."""
