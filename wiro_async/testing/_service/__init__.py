"""The state of the emulated service: tasks, files, money and messages."""
