"""The tables of a journal on disk. They stay as they are: files of earlier versions must open."""

from __future__ import annotations

from typing import Literal, TypeAlias

from wiro_async._errors import JournalError
from wiro_async._transport.sqlite import Connection

APPLICATION = 0x5769726F  # "Wiro"
VERSION = 2

State: TypeAlias = Literal["undecided", "submitted", "succeeded", "failed", "cancelled", "refused"]

# What version 2 has added. An upgrade adds the same columns to an old file.
COLUMNS = (
    "shape BLOB NOT NULL DEFAULT x''",  # equal for runs with the same model and names of parameters
    "position INTEGER NOT NULL DEFAULT 0",  # grows with each intent
    "last_id_seen INTEGER",  # the largest id of a task that was known before the intent
    "owner TEXT NOT NULL DEFAULT ''",  # the opening of the journal that wrote the intent, or took it over
    "fence INTEGER NOT NULL DEFAULT 1",  # grows with each intent and each take-over
    "candidates TEXT",  # ids of tasks that may be an unknown run's, JSON list
)
ADDED = ", ".join(COLUMNS)
# SQLite keeps this text in the file, comments included.
TABLES = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE items (
    key TEXT PRIMARY KEY,
    digest TEXT NOT NULL,        -- of what was asked for
    model TEXT NOT NULL,
    input TEXT NOT NULL,         -- JSON; files by their names
    state TEXT NOT NULL,         -- undecided, submitted, succeeded, failed, cancelled, refused
    attempts INTEGER NOT NULL,   -- tasks made for it, the undecided one included
    fingerprint BLOB NOT NULL,   -- equal for runs that cannot be told apart on the service
    callback_url TEXT,
    intended_at REAL NOT NULL,   -- unix time
    task_id TEXT,
    token TEXT,
    ended_at REAL,
    cost TEXT,
    record TEXT,                 -- the service's last record of the task, JSON
    error TEXT,
    saved TEXT,                  -- where its outputs lie, JSON list of paths
    {ADDED}
);
CREATE TABLE former (            -- tasks of earlier attempts
    fingerprint BLOB NOT NULL,
    task_id TEXT NOT NULL
);
CREATE INDEX former_equals ON former (fingerprint);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
PLANNED = "CREATE TABLE IF NOT EXISTS planned (key TEXT PRIMARY KEY, paths TEXT NOT NULL)"  # where outputs are to lie
EQUALS = "CREATE INDEX IF NOT EXISTS equals ON items (fingerprint)"
POSITIONS = "CREATE INDEX IF NOT EXISTS positions ON items (position)"
PRESENT = """
PRAGMA temp_store = FILE;
CREATE TEMP TABLE taken (key TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID;
"""


def prepare(connection: Connection) -> None:
    """Fill a new file, or check an old one. Raises `JournalError`."""
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    if empty and _number(connection, "application_id") == 0:
        connection.executescript(f"BEGIN; {TABLES} COMMIT;")
    check(connection)
    if _number(connection, "user_version") == 1:
        steps = [f"ALTER TABLE items ADD COLUMN {column}" for column in COLUMNS]
        statements = [*steps, "UPDATE items SET position = rowid", f"PRAGMA user_version = {VERSION}"]
        connection.executescript(f"BEGIN; {'; '.join(statements)}; COMMIT;")
    connection.execute(POSITIONS)
    if connection.execute("SELECT EXISTS (SELECT 1 FROM items)").fetchone() == (1,):
        connection.execute(EQUALS)  # only a restart needs it, and keeping it costs a tenth of all writing
    connection.execute(PLANNED)
    connection.executescript(PRESENT)
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('opened', unixepoch())")


def check(connection: Connection) -> None:
    """Check that a file is a whole journal that this version can read. Raises `JournalError`."""
    if _number(connection, "application_id") != APPLICATION:
        raise JournalError("this file is a database of something else, not a journal. Give the batch another path")
    if _number(connection, "user_version") > VERSION:
        raise JournalError("this journal was made by a newer version of wiro_async. Install that version to use it")
    problems = connection.execute("PRAGMA quick_check(1)").fetchone()
    if problems != ("ok",):
        raise damage(problems[0])


def damage(what: object) -> JournalError:
    """Return the error for a journal whose contents cannot be right."""
    return JournalError(
        f"this journal is damaged ({what}). Restore it from a copy; with a new journal everything would be submitted, "
        "and billed, again"
    )


def _number(connection: Connection, pragma: str) -> int:
    number: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return number
