"""Background tasks, and how they wait."""
