"""Tasks: their records, their states, their events."""
