"""The tables of a journal in PostgreSQL. They lie in the first schema of the search_path, or wherever they were made.

Journals of earlier versions must open: a change of the tables adds a step to `UPGRADES`.
"""

from __future__ import annotations

from typing import Final

import attrs

from wiro_async._errors import JournalError
from wiro_async._transport.postgres import DatabaseConnection

PREFIX: Final = "wiro_journal"
LOCK: Final = 0x5769726F  # "Wiro": one session at a time makes or upgrades the tables
# `@` stands for the schema and the prefix.
TABLES: Final = """
CREATE TABLE @_versions (
    version integer PRIMARY KEY
);
CREATE SEQUENCE @_positions;
CREATE TABLE @_owners (          -- sessions that may send runs
    owner text PRIMARY KEY,
    lease_until timestamptz NOT NULL,
    renewals bigint NOT NULL,
    fenced boolean NOT NULL      -- somebody has taken over what it left: it may never renew its lease
);
CREATE TABLE @_items (
    key text PRIMARY KEY,
    model text NOT NULL,
    digest text NOT NULL,        -- of what was asked for
    input text NOT NULL,         -- JSON; files by their names
    fingerprint bytea NOT NULL,  -- equal for runs that cannot be told apart on the service
    shape text NOT NULL,         -- equal for runs with the same model and names of parameters
    callback_url text,
    state text NOT NULL,         -- undecided, submitted, succeeded, failed, cancelled, refused, unknown
    attempts integer NOT NULL,   -- tasks made for it, the undecided one included
    position bigint NOT NULL,    -- grows with each intent
    intended_at double precision NOT NULL, -- unix time
    last_id_seen bigint,         -- the largest id of a task that was known before the intent
    owner text NOT NULL,
    fence bigint NOT NULL,       -- grows with each intent and each take-over
    turn text NOT NULL,          -- of the last intent or take-over: recognizes a statement that was sent again
    task_id text,
    token text,
    ended_at double precision,
    cost text,
    task text,                   -- the service's last record of the task, JSON
    error text,
    planned text,                -- where outputs are to lie, JSON list of paths
    saved text,                  -- where outputs lie
    candidates text              -- ids of tasks that may belong to an unknown run, JSON list
);
CREATE INDEX @_items_equal ON @_items (fingerprint);
CREATE INDEX @_items_shaped ON @_items (shape, position);
CREATE INDEX @_items_open ON @_items (state) WHERE state IN ('undecided', 'unknown', 'submitted');
CREATE TABLE @_former (          -- tasks of earlier attempts
    task_id text PRIMARY KEY,
    fingerprint bytea NOT NULL
);
CREATE INDEX @_former_equal ON @_former (fingerprint);
"""
UPGRADES: Final[tuple[str, ...]] = (TABLES,)  # from each version to the next one
VERSION: Final = len(UPGRADES)
# The version table is found along the whole search_path. New tables go into its first schema.
FIND: Final = """
SELECT quote_ident(nspname) AS schema FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE pg_class.oid = to_regclass($1)
"""
NAMES: Final = ("versions", "positions", "owners", "items", "former")


@attrs.frozen
class JournalPlace:
    """Where the tables of a journal lie.

    Attributes:
        schema: quoted where that is needed.
        channel: the name of its notifications.
    """

    schema: str
    channel: str

    def sql(self, text: str) -> str:
        """Put the names of the tables into a statement."""
        return text.replace("@", f"{self.schema}.{PREFIX}")


async def prepare(connection: DatabaseConnection) -> JournalPlace:
    """Make, upgrade or check the tables, and return where they lie. Raises `JournalError`."""
    schema = await connection.fetchval(FIND, f"{PREFIX}_versions")
    if schema is None or await _version(connection, schema) < VERSION:
        async with connection.transaction():
            await connection.fetchval("SELECT pg_advisory_xact_lock($1)", LOCK)
            schema = await connection.fetchval(FIND, f"{PREFIX}_versions") or await connection.fetchval(
                "SELECT quote_ident(current_schema())"
            )
            await _upgrade(connection, schema)
    if await _version(connection, schema) > VERSION:
        raise JournalError("this journal was made by a newer version of wiro_async. Install that version to use it")
    place = JournalPlace(schema, "")
    missing = [
        name for name in NAMES if await connection.fetchval("SELECT to_regclass($1)", place.sql(f"@_{name}")) is None
    ]
    if missing:
        raise JournalError(
            f"tables of this journal were removed ({', '.join(missing)}). Restore the database from a backup; with a new "
            "journal everything would be submitted, and billed, again"
        )
    number = await connection.fetchval("SELECT to_regclass($1)::oid::bigint", place.sql("@_items"))
    return attrs.evolve(place, channel=f"{PREFIX}_{number}")


async def _version(connection: DatabaseConnection, schema: str) -> int:
    version = await connection.fetchval(f"SELECT max(version) FROM {schema}.{PREFIX}_versions")
    return int(version or 0)


async def _upgrade(connection: DatabaseConnection, schema: str | None) -> None:
    if schema is None:
        raise JournalError("the search_path names no schema that exists. Create one, or set another search_path")
    place = JournalPlace(schema, "")
    found = await connection.fetchval("SELECT to_regclass($1)", place.sql("@_versions"))
    version = 0 if found is None else await _version(connection, schema)
    for number, statements in enumerate(UPGRADES[version:], version + 1):
        # CREATE INDEX takes a name without its schema: the index lies beside its table.
        await connection.execute(place.sql(statements.replace("INDEX @", f"INDEX {PREFIX}")))
        await connection.execute(place.sql("INSERT INTO @_versions VALUES ($1)"), number)
