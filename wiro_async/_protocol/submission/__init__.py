"""Submitting a run: what identifies it, and what to do after each outcome."""
