"""The tables of a journal in a real PostgreSQL: made once, upgraded, and never made again over a damaged journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import pytest_asyncio

from wiro_async import JournalError
from wiro_async._api.journal import postgres_schema
from wiro_async._api.journal.postgres_schema import JournalPlace, prepare
from wiro_async._transport.postgres.postgres_errors import load

if TYPE_CHECKING:
    from postgres_server import PostgresServer

Connections: TypeAlias = "list[Any]"


@pytest_asyncio.fixture
async def connections(database_url: str) -> AsyncIterator[Connections]:
    """Three connections to an empty database."""
    opened = [await load().connect(database_url) for _ in range(3)]
    yield opened
    for connection in opened:
        await connection.close()


async def test_made_once_by_many(connections: Connections) -> None:
    """Sessions that start at the same time wait for the one that makes the tables."""
    places = await asyncio.gather(*map(prepare, connections))
    assert len(set(places)) == 1
    assert places[0].schema == "public"
    assert places[0].channel.startswith("wiro_journal_")


async def test_in_a_schema_of_its_own(connections: Connections) -> None:
    """The search_path says where, also with names that need quotes."""
    for connection in connections[:2]:
        await connection.execute('CREATE SCHEMA IF NOT EXISTS "Mixed ""Case"; SET search_path = "Mixed ""Case", public')
    place, again = [await prepare(connection) for connection in connections[:2]]
    assert place == again
    assert place.schema == '"Mixed ""Case"'
    assert await connections[0].fetchval(place.sql("SELECT count(*) FROM @_items")) == 0
    other = await prepare(connections[2])
    assert (other.schema, other.channel != place.channel) == ("public", True)


async def test_found_anywhere_in_the_search_path(connections: Connections) -> None:
    """A new schema before the journal's own one does not start an empty journal."""
    made = await prepare(connections[0])
    await connections[1].execute("CREATE SCHEMA first; SET search_path = first, public")
    assert await prepare(connections[1]) == made


async def test_a_newer_journal_is_refused(connections: Connections) -> None:
    """Its tables may mean something else."""
    place = await prepare(connections[0])
    await connections[0].execute(place.sql("INSERT INTO @_versions VALUES (99)"))
    with pytest.raises(JournalError, match="newer version"):
        await prepare(connections[1])


async def test_an_older_journal_is_upgraded_once(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entries stay."""
    await prepare(connections[0])
    upgrades = (*postgres_schema.UPGRADES, "ALTER TABLE @_items ADD COLUMN more text")
    monkeypatch.setattr(postgres_schema, "UPGRADES", upgrades)
    monkeypatch.setattr(postgres_schema, "VERSION", len(upgrades))
    places: list[JournalPlace] = await asyncio.gather(*map(prepare, connections))
    versions = await connections[0].fetch(places[0].sql("SELECT version FROM @_versions ORDER BY version"))
    assert [row[0] for row in versions] == [1, 2]
    assert await connections[0].fetchval(places[0].sql("SELECT count(more) FROM @_items")) == 0


@pytest.mark.parametrize("table", ["items", "former", "owners"])
async def test_a_table_that_was_removed(connections: Connections, table: str) -> None:
    """An empty one in its place would have everything billed again."""
    place = await prepare(connections[0])
    await connections[0].execute(place.sql(f"DROP TABLE @_{table} CASCADE"))
    with pytest.raises(JournalError, match=f"removed .{table}."):
        await prepare(connections[1])


async def test_a_failed_upgrade_leaves_nothing(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    """All or nothing."""
    monkeypatch.setattr(postgres_schema, "UPGRADES", (postgres_schema.TABLES, "SELECT 1 / 0"))
    monkeypatch.setattr(postgres_schema, "VERSION", 2)
    with pytest.raises(Exception, match="division by zero"):
        await prepare(connections[0])
    assert await connections[0].fetchval("SELECT to_regclass('wiro_journal_items')") is None


async def test_a_user_who_may_only_use_it(
    connections: Connections, postgres_server: PostgresServer, database: str
) -> None:
    """Once the owner has made the tables, others need no permission to make any."""
    await prepare(connections[0])
    await connections[0].execute(
        f"CREATE ROLE {database}_app LOGIN PASSWORD 'app-password';"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {database}_app"
    )
    guest = await load().connect(postgres_server.url(database, f"{database}_app", "app-password"))
    assert (await prepare(guest)).schema == "public"
    await guest.close()
