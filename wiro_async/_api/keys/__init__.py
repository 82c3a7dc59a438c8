"""Runs with keys: one key, one bill."""
