"""Tasks: their records, their references, their events, and when to poll."""
