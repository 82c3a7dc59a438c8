"""What runs: it owns the tasks, the timers and the cancellation."""
