"""PostgreSQL, used from a thread of its own."""
