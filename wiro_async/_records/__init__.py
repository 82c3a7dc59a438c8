"""Records that errors carry, and their parts: a task as last seen, what was said in a realtime session."""
