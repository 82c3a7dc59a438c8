"""Messages about a task: frames, events of a stream, and the text in them."""
