"""Following tasks until they end."""
