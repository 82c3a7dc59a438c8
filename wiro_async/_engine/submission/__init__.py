"""Submitting runs, each once."""
