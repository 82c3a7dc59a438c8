"""Calls of the API: what is sent, what comes back, what may be sent again."""
