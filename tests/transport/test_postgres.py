"""Connections to a real PostgreSQL server: statements that share round trips, and a server that goes away."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs
import pytest
import pytest_asyncio

from wiro_async import ConfigurationError, JournalError
from wiro_async._transport.postgres.postgres_connection import DatabaseConnection, PostgresTiming
from wiro_async._transport.postgres.postgres_errors import DatabaseUrl
from wiro_async._transport.postgres.postgres_thread import Postgres

if TYPE_CHECKING:
    from postgres_server import PostgresServer
    from tests.conftest import Until

TIMING = PostgresTiming(connect=2, statement=1, pulse=0.2, pause=0.02, max_pause=0.1, close=1, batch=50)
SET = (
    "INSERT INTO things VALUES ($2, $3) ON CONFLICT (key) DO UPDATE SET value = excluded.value RETURNING $1::int, value"
)
ADD = "UPDATE things SET value = value + $3 WHERE key = $2 RETURNING $1::int, value"


@attrs.define
class Part:
    """What a test sees of the parts that a store gives."""

    pulses: int = 0
    news: list[str | None] = attrs.field(factory=list)
    pulse_error: JournalError | None = None

    async def prepare(self, connection: DatabaseConnection) -> None:
        await connection.execute("CREATE TABLE IF NOT EXISTS things (key text PRIMARY KEY, value int)")

    async def pulse(self, connection: DatabaseConnection) -> None:
        if self.pulse_error is not None:
            raise self.pulse_error
        await connection.fetchval("SELECT 1")
        self.pulses += 1

    async def farewell(self, connection: DatabaseConnection) -> None:
        await connection.execute("INSERT INTO things VALUES ('farewell', 1)")

    def connections(self, url: str, timing: PostgresTiming = TIMING) -> Postgres:
        return Postgres(
            DatabaseUrl(url),
            timing,
            prepare=self.prepare,
            pulse=self.pulse,
            farewell=self.farewell,
            channel=lambda: "things",
            on_news=self.news.append,
        )


class Opened(Protocol):
    """Open connections that are closed at the end of the test."""

    async def __call__(self, url: str, part: Part | None = None, timing: PostgresTiming = TIMING) -> Postgres: ...


Clients: TypeAlias = Callable[[], int]


@pytest_asyncio.fixture
async def opened() -> AsyncIterator[Opened]:
    """A function that opens connections."""
    all_of_them: list[Postgres] = []

    async def opened(url: str, part: Part | None = None, timing: PostgresTiming = TIMING) -> Postgres:
        postgres = (part or Part()).connections(url, timing)
        all_of_them.append(postgres)
        await postgres.open()
        return postgres

    yield opened
    for postgres in all_of_them:
        await postgres.aclose()


@pytest.fixture
def clients(postgres_server: PostgresServer, database: str) -> Clients:
    """A function that counts the connections to the test's database."""
    sql = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'"
    return lambda: int(postgres_server.execute(sql, "postgres"))


async def test_statements_of_one_turn_share_a_transaction(opened: Opened, database_url: str) -> None:
    """The commit is what takes time."""
    postgres = await opened(database_url)
    await asyncio.gather(*(postgres.do(SET, f"k{number}", (f"k{number}", number), 5) for number in range(40)))
    rows = await postgres.fetch("SELECT count(DISTINCT xmin::text) FROM things", (), 5)
    assert rows[0][0] == 1


async def test_statements_of_one_key_keep_their_order(opened: Opened, database_url: str) -> None:
    """Those of other keys may overtake them."""
    postgres = await opened(database_url)
    for number in range(20):
        for key in ("a", "b"):
            postgres.put(SET, key, (key, number))
            postgres.put(ADD, key, (key, 100))
    rows = await postgres.fetch("SELECT value FROM things", (), 5)
    assert [row[0] for row in rows] == [119, 119]


async def test_one_wrong_statement_fails_alone(opened: Opened, database_url: str) -> None:
    """The others of its round trip are written."""
    postgres = await opened(database_url)
    values = [("a", 1), ("b\0", 2), ("c", 3)]
    results = await asyncio.gather(
        *(postgres.do(SET, key, (key, value), 5) for key, value in values), return_exceptions=True
    )
    assert isinstance(results[1], JournalError)
    assert [row[0] for row in await postgres.fetch("SELECT key FROM things ORDER BY key", (), 5)] == ["a", "c"]


async def test_a_server_that_restarts(
    opened: Opened, postgres_server: PostgresServer, database_url: str, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    """Writes wait for it, and one line says that it is away and one that it is back."""
    part = Part()
    postgres = await opened(database_url, part)
    await postgres.do(SET, "a", ("a", 1), 5)
    postgres_server.crash()
    try:
        postgres.put(ADD, "a", ("a", 1))
        await until(lambda: not postgres.is_well)
        with pytest.raises(JournalError, match="is away"):
            await postgres.do(ADD, "a", ("a", 100), 0.1)
        waiting = asyncio.ensure_future(postgres.do(ADD, "a", ("a", 1), 20))
        await asyncio.sleep(0.1)
    finally:
        postgres_server.start()
    row = await waiting
    assert row is not None
    assert row[1] == 3
    await until(lambda: postgres.is_well)
    await until(lambda: None in part.news)  # some may have been lost
    texts = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert (
        sum("what runs is followed" in text for text in texts) == sum(text.endswith("is back") for text in texts) == 1
    )


async def test_a_server_that_stands_still(opened: Opened, postgres_server: PostgresServer, database_url: str) -> None:
    """Its connections stay open and do not respond. Nobody waits longer than asked for."""
    timing = attrs.evolve(TIMING, statement=0.2, connect=0.2)
    postgres = await opened(database_url, timing=timing)
    postgres_server.suspend()
    try:
        with pytest.raises(JournalError, match="no response in time"):
            await postgres.do(SET, "a", ("a", 1), 0.3)
        assert not await postgres.beat(0.1)
    finally:
        postgres_server.resume()
    assert await postgres.do(SET, "a", ("a", 2), 10) is not None


async def test_a_lock_that_another_program_holds(
    opened: Opened, postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    """The statement is sent again once the lock is gone."""
    timing = attrs.evolve(TIMING, statement=0.2)
    postgres = await opened(database_url, timing=timing)
    lock = "BEGIN; LOCK TABLE things; SELECT pg_sleep(0.6); COMMIT"
    holder = threading.Thread(target=postgres_server.execute, args=(lock, database))
    holder.start()
    await asyncio.sleep(0.15)
    assert await postgres.do(SET, "a", ("a", 2), 10) is not None
    holder.join()


async def test_the_pulse_goes_on_while_the_loop_is_blocked(opened: Opened, database_url: str) -> None:
    """A lease must not depend on the app's event loop."""
    part = Part()
    await opened(database_url, part, attrs.evolve(TIMING, pulse=0.02))
    before = part.pulses
    time.sleep(0.3)  # noqa: ASYNC251
    assert part.pulses > before + 3


async def test_notifications_arrive(
    opened: Opened, postgres_server: PostgresServer, database: str, database_url: str, until: Until
) -> None:
    """Also after the connection was replaced."""
    part = Part()
    await opened(database_url, part)
    postgres_server.execute("NOTIFY things, 'one'", database)
    await until(lambda: part.news == ["one"])
    postgres_server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name != 'psql'", "postgres"
    )
    await until(lambda: None in part.news)
    postgres_server.execute("NOTIFY things, 'two'", database)
    await until(lambda: part.news[-1] == "two")


async def test_a_removed_table_is_permanent(
    opened: Opened, postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    """It is never made again, which would be an empty journal."""
    postgres = Part().connections(database_url)
    await postgres.open()
    postgres_server.execute("DROP TABLE things", database)
    for _ in range(2):
        with pytest.raises(JournalError, match="was removed"):
            await postgres.do(SET, "a", ("a", 1), 5)
    with pytest.raises(JournalError, match="was removed"):
        await postgres.aclose()


async def test_a_pulse_that_forbids_further_use(opened: Opened, database_url: str, until: Until) -> None:
    """Its error is the error of all later statements."""
    part = Part()
    postgres = part.connections(database_url)
    await postgres.open()
    part.pulse_error = JournalError("the database was restored from a backup")
    await until(lambda: not postgres.is_well)
    with pytest.raises(JournalError, match="restored"):
        await postgres.do(SET, "a", ("a", 1), 5)
    with pytest.raises(JournalError, match="restored"):
        await postgres.aclose()


async def test_closing_writes_what_waits(
    opened: Opened, postgres_server: PostgresServer, database: str, database_url: str, clients: Clients
) -> None:
    """Then no connection and no thread is left."""
    postgres = await opened(database_url)
    for number in range(100):
        postgres.put(SET, f"k{number}", (f"k{number}", number))
    await postgres.aclose()
    assert postgres_server.execute("SELECT count(*) FROM things", database) == "101"  # the farewell included
    assert clients() == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "wiro_async journal"]
    with pytest.raises(JournalError, match="closed"):
        await postgres.do(SET, "a", ("a", 1), 5)


async def test_closing_without_the_server_is_bounded(
    postgres_server: PostgresServer, database_url: str, until: Until
) -> None:
    """The error says how much was not written."""
    postgres = Part().connections(database_url, attrs.evolve(TIMING, close=0.2))
    await postgres.open()
    postgres_server.crash()
    try:
        postgres.put(SET, "a", ("a", 1))
        before = time.monotonic()
        with pytest.raises(JournalError, match="1 entries could not be written"):
            await postgres.aclose()
        assert time.monotonic() - before < 2
    finally:
        postgres_server.start()


async def test_cancelled_while_opening(
    postgres_server: PostgresServer, database_url: str, clients: Clients, until: Until
) -> None:
    """No connection stays behind, however far it was."""
    for delay in (0.0, 0.003, 0.006, 0.012, 0.02, 0.05):
        postgres = Part().connections(database_url)
        opening = asyncio.ensure_future(postgres.open())
        await asyncio.sleep(delay)
        if opening.cancel():
            with pytest.raises(asyncio.CancelledError):
                await opening
        else:  # it was faster
            await postgres.aclose()
    await until(lambda: clients() == 0)


async def test_a_cancelled_statement_in_the_queue_is_dropped(
    opened: Opened, postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    """Its caller is gone before anything was sent."""
    postgres = await opened(database_url)
    postgres.put(SET, "first", ("first", 1))
    waiting = asyncio.ensure_future(postgres.do(SET, "a", ("a", 1), 5))
    waiting.cancel()
    await postgres.do(SET, "last", ("last", 1), 5)
    assert postgres_server.execute("SELECT count(*) FROM things", database) == "2"


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda url: url.replace("/test_", "/nothing_"), "there is no such database"),
        (lambda url: url.replace("correct-horse-battery", "wrong-horse-battery"), "the password is wrong"),
        (lambda url: url.replace("127.0.0.1", "nowhere.invalid"), "Check the host"),
        (lambda url: url.partition("@")[0] + "@127.0.0.1:9/db", "Check the host"),
        (lambda url: url + "?sslmode=require", "does not offer TLS"),
        (lambda url: url + "?search_path=nowhere", "search_path names no schema"),
    ],
)
async def test_what_keeps_it_from_opening(
    database_url: str, clients: Clients, change: Callable[[str], str], said: str
) -> None:
    """The error says what to do, and no secret. Nothing stays open."""
    url = change(database_url)
    postgres = Part().connections(url)
    with pytest.raises(JournalError, match=said) as caught:
        await postgres.open()
    await postgres.aclose()
    assert "horse" not in f"{caught.value!r} {caught.value} {postgres.url!r} {postgres.url}"
    own = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "horse" not in "".join(line for line in own.format() if "in test_" not in line)
    assert clients() == 0


async def test_no_permission(postgres_server: PostgresServer, database: str) -> None:
    """A user who may connect but not create tables."""
    postgres_server.execute("CREATE ROLE guest LOGIN PASSWORD 'guest-password'", database)
    postgres = Part().connections(postgres_server.url(database, "guest", "guest-password"))
    with pytest.raises(JournalError, match=r"GRANT CREATE"):
        await postgres.open()


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://user:pass/word-secret@host/db",
        "postgresql://h:port-secret/db",
        "postgresql://[secret/db",
        "mysql://a:secret@b/c",
    ],
)
async def test_urls_that_cannot_be_read(text: str) -> None:
    """They are refused before anything is connected, without showing a part of the password, also in a traceback."""
    postgres = Part().connections(text)
    with pytest.raises(ConfigurationError) as caught:
        await postgres.open()
    await postgres.aclose()
    own = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = "".join(line for line in own.format() if "test_postgres.py" not in line)
    assert "secret" not in f"{shown} {postgres.url} {postgres.url!r}".replace("self.secret", "").replace("secrets", "")


@pytest.mark.parametrize(
    "text, shown",
    [
        ("postgresql://u:p@a:1,b:2/db", "postgresql://a:1,b:2/db"),
        ("postgres://u@[::1]:5432/db", "postgresql://[::1]:5432/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db"),
        ("postgresql://host", "postgresql://host"),
    ],
)
def test_urls_that_can_be_read(text: str, shown: str) -> None:
    """Several hosts, addresses and the host among the options, as libpq takes them."""
    url = DatabaseUrl(text)
    url.check()
    assert str(url) == shown


def test_a_url_is_shown_without_its_secrets() -> None:
    """A password may stand before the host or among the options."""
    url = DatabaseUrl("postgresql://user:p%40ss-word@host:1/db?password=other-one&sslmode=require")
    assert str(url) == "postgresql://host:1/db"
    assert set(url.secrets) == {"p%40ss-word", "p@ss-word", "other-one"}
    assert "p%40ss" not in repr(url)


def test_the_driver_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra."""
    monkeypatch.setitem(__import__("sys").modules, "asyncpg", None)

    async def opening() -> None:
        await Part().connections("postgresql://user:password@127.0.0.1:9/db").open()

    with pytest.raises(ConfigurationError, match=r"wiro-async\[postgres\]"):
        asyncio.run(opening())
