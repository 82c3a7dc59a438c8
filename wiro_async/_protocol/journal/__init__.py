"""What a journal records, and every decision that follows from a record."""
