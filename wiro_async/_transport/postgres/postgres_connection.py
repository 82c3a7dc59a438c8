"""One connection to PostgreSQL, as a journal needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

import attrs

from wiro_async._errors import JournalError
from wiro_async._transport.postgres.postgres_errors import DatabaseUrl, load

# A server that answers commits before they are on its disk would lose intents with its power.
SETTINGS: Final = """
SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $1, false),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
        ELSE current_setting('synchronous_commit') END, false)
"""


@attrs.frozen(kw_only=True)
class PostgresTiming:
    """How long things may take, in seconds, and how much goes into one round trip."""

    connect: float
    statement: float
    pulse: float  # between two pulses
    pause: float  # before the second attempt to connect; doubles
    max_pause: float
    close: float
    batch: int


class Row(Protocol):
    """A row. Its values are found by position or by the name of the column."""

    def __getitem__(self, name: int | str) -> Any: ...
    def keys(self) -> Iterable[str]: ...


class DatabaseConnection(Protocol):
    """What is used of a connection of asyncpg, which comes without types."""

    async def execute(self, sql: str, *values: object) -> str: ...
    async def fetch(self, sql: str, *values: object) -> list[Row]: ...
    async def fetchrow(self, sql: str, *values: object) -> Row | None: ...
    async def fetchval(self, sql: str, *values: object) -> Any: ...
    async def fetchmany(self, sql: str, values: Sequence[Sequence[object]]) -> list[Row]: ...
    async def add_listener(self, channel: str, function: Callable[[object, int, str, object], None]) -> None: ...
    async def close(self, *, timeout: float) -> None: ...
    def transaction(self) -> AbstractAsyncContextManager[object]: ...
    def is_closed(self) -> bool: ...
    def terminate(self) -> None: ...


async def connect(url: DatabaseUrl, timing: PostgresTiming) -> DatabaseConnection:
    """Open a connection."""
    connection: DatabaseConnection = await load().connect(
        url.secret,
        timeout=timing.connect,
        command_timeout=timing.statement,
        server_settings={"application_name": "wiro_async"},
    )
    try:
        await connection.fetch(SETTINGS, f"{int(timing.statement * 1000)}ms")
    except BaseException:
        connection.terminate()
        raise
    return connection


async def check_pooler(first: DatabaseConnection, second: DatabaseConnection) -> None:
    """Refuse a pooler that gives each transaction another connection: statements would be mixed up."""
    own = await first.fetchval("SELECT pg_backend_pid()")
    async with second.transaction():
        pids = {await second.fetchval("SELECT pg_backend_pid()")}
        pids.add(await first.fetchval("SELECT pg_backend_pid()"))
    if len(pids) != 2 or own not in pids:
        raise JournalError(
            "the journal is behind a connection pooler that gives each transaction another connection. Use the pooler "
            "in session mode (pgbouncer: pool_mode = session), or connect to PostgreSQL itself"
        )
