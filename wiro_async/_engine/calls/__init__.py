"""Calls of the API, with retries, and how many runs may be in flight."""
