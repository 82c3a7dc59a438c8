"""Tasks, models and files of the account."""
