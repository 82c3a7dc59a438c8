"""Counts many keys, on the disk."""

from __future__ import annotations


class KeyCounter:
    """Counts how often each key was used. A million keys do not fit into memory, so they lie in a file without a name.

    Every method blocks, and one at a time may be called, from any thread.
    """

    def __init__(self) -> None:
        import sqlite3

        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")

    def count(self, key: str) -> int:
        """Count one more use of a key, and return how many there are."""
        statement = """INSERT INTO keys VALUES (?, 1)
            ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times"""
        times: int = self._connection.execute(statement, (key,)).fetchone()[0]
        return times

    def close(self) -> None:
        """Remove the file."""
        self._connection.close()
