"""Calls of the API, with retries."""
