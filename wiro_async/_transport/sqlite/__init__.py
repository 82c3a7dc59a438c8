"""Journals in SQLite files. The only folder that imports `sqlite3`."""
