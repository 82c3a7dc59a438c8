"""JSON, and how the values of the service are read."""
