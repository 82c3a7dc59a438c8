"""Where a journal lies: in a SQLite file, or in PostgreSQL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from wiro_async._api.journal.journal_store import JournalStore
from wiro_async._errors import ConfigurationError
from wiro_async._tuning import Tuning

Place: TypeAlias = str | os.PathLike[str]
POSTGRES = ("postgresql://", "postgres://")


def place_of(place: object) -> str | Path:
    """Return the URL of a database, or a path. Raises `ConfigurationError` for anything else."""
    if isinstance(place, str) and place.startswith(POSTGRES):
        return place
    if not isinstance(place, (str, os.PathLike)) or not os.fspath(place):
        raise ConfigurationError(f"journal is {place!r}; give the path of a file, or a URL postgresql://…")
    text = os.fspath(place)
    if "://" in str(text):
        scheme = str(text).partition("://")[0]
        raise ConfigurationError(
            f"journal is a URL that begins with {scheme}://; give a path, or a URL that begins with postgresql://"
        )
    return Path(os.fsdecode(text))


def make_store(place: str | Path, tuning: Tuning) -> JournalStore:
    """Make the store at a place. Opens nothing."""
    if isinstance(place, str):
        from wiro_async._api.journal.postgres_store import PostgresStore

        return PostgresStore(place, tuning)
    from wiro_async._api.journal.sqlite_store import SqliteStore

    return SqliteStore(place, tuning)
