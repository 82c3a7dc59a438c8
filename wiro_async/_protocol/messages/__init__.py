"""Messages about a task: frames, events of a stream, the text and calls in them, and the state they add up to."""
