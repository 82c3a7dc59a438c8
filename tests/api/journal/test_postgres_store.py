"""A journal in PostgreSQL that several sessions share: leases, fences, news, and a database that goes away."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import pytest
import pytest_asyncio

from wiro_async import JournalError, Tuning
from wiro_async._api.journal.postgres_store import PostgresStore
from wiro_async._protocol.journal.record import Intention, KeyEnd, Record
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef

if TYPE_CHECKING:
    from postgres_server import PostgresServer
    from tests.conftest import Until

TUNING = Tuning(
    journal_lease=0.6,
    journal_pulse=0.1,
    journal_poll=5.0,
    journal_close=1.0,
    journal_connect=0.5,
    journal_statement=0.5,
    journal_pause=0.02,
    journal_max_pause=0.1,
    journal_away=0.3,
    journal_task_wait=0.1,
)
LONG_KEY = "".join(map(chr, range(0x4E00, 0x4E00 + 4000)))  # does not become shorter by compression
REF = TaskRef("100", "token-100")
ENDING = KeyEnd("succeeded", parse_task({"id": "100", "socketaccesstoken": "token-100"}), None, 1000.0)
# A session of another process, which intends a key and says so, then waits for a line, and checks whether it may send.
OTHER = """
import asyncio, sys
from wiro_async import JournalError, Tuning
from wiro_async._api.journal.postgres_store import PostgresStore
from wiro_async._protocol.journal.record import Intention

async def main():
    tuning = Tuning(journal_lease=0.6, journal_pulse=0.1, journal_close=1.0)
    store = PostgresStore(sys.argv[1], tuning)
    await store.open()
    record = await store.intend(Intention("k", "owner/model", "d", b"{}", b"print", b"shape"), None)
    print(record.is_ours, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    try:
        await store.check(record)
        print("may send", flush=True)
    except JournalError as error:
        print(error, flush=True)
    await store.aclose()

asyncio.run(main())
"""


class Sessions(Protocol):
    """Open stores of the test's journal; they are closed at the end."""

    async def __call__(self, **tuning: Any) -> PostgresStore: ...


@pytest_asyncio.fixture
async def sessions(database_url: str) -> AsyncIterator[Sessions]:
    """A function that opens one more session's store."""
    stores: list[PostgresStore] = []

    async def opened(**tuning: Any) -> PostgresStore:
        store = PostgresStore(database_url, attrs.evolve(TUNING, **tuning))
        stores.append(store)
        await store.open()
        return store

    yield opened
    for store in stores:
        await store.aclose()


@pytest.fixture
def tables(postgres_server: PostgresServer, database: str) -> Callable[[str], str]:
    """A function that runs a statement on the tables."""
    return lambda sql: postgres_server.execute(sql.replace("@", "wiro_journal"), database)


def intention(key: str = "k") -> Intention:
    """Return what is about to be sent."""
    return Intention(key, "owner/model", "d", b"{}", b"print", b"shape")


async def record_of(store: PostgresStore, key: str = "k") -> Record:
    """Read a record that is there."""
    return (await store.read([key]))[key]


async def test_one_key_in_many_sessions(sessions: Sessions) -> None:
    """One of them gets it. The others see how long its lease lasts."""
    stores = [await sessions() for _ in range(4)]
    records = await asyncio.gather(*(store.intend(intention(), None) for store in stores for _ in range(5)))
    assert sum(record.is_ours for record in records) == 1
    assert all(record.is_ours or 0 < record.lease <= 0.6 for record in records)
    assert len({record.position for record in records}) == 1


async def test_sessions_that_write_the_same_keys(sessions: Sessions) -> None:
    """Their transactions never wait for each other in a circle."""
    stores = [await sessions() for _ in range(3)]
    keys = [f"k{number}" for number in range(60)]
    for expected in (60, 0, 0):
        records = await asyncio.gather(
            *(store.intend(intention(key), None) for store in stores for key in keys[:: (-1) ** stores.index(store)])
        )
        assert len([record for record in records if record.is_ours]) == expected
    first = await stores[0].read(keys)
    await asyncio.gather(*(store.record_task(record, REF) for store in stores for record in first.values()))
    for store in stores:
        for record in first.values():
            store.end(record, ENDING)
    assert {record.state for record in (await stores[1].read(keys)).values()} <= {"submitted", "succeeded"}


async def test_a_living_session_keeps_its_intent(sessions: Sessions) -> None:
    """However long it waits to be sent."""
    first, second = await sessions(), await sessions()
    record = await first.intend(intention(), None)
    await asyncio.sleep(1.0)
    assert await second.take_over(await record_of(second)) is None
    assert not await second.decide("k", REF)
    await first.check(record)


async def test_a_blocked_loop_keeps_the_lease(sessions: Sessions) -> None:
    """The lease is renewed in another thread."""
    first, second = await sessions(), await sessions()
    record = await first.intend(intention(), None)
    time.sleep(1.0)  # noqa: ASYNC251
    assert await second.take_over(await record_of(second)) is None
    await first.check(record)


@pytest.fixture
def other_process(database_url: str) -> Any:
    """A session in a process of its own, which has intended the key."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


@pytest.mark.parametrize("is_taken", [True, False])
async def test_a_stopped_process_notices(sessions: Sessions, other_process: Any, is_taken: bool) -> None:
    """It sends nothing if somebody has taken over meanwhile; if nobody has, it may go on."""
    store = await sessions()
    os.kill(other_process.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(0.8)
        if is_taken:
            taken = await store.take_over(await record_of(store))
            assert taken is not None
            assert taken.is_ours
    finally:
        os.kill(other_process.pid, signal.SIGCONT)
    said, _ = await asyncio.to_thread(other_process.communicate, "\n")
    assert ("was not sent" in said) if is_taken else said == "may send\n"


async def test_a_killed_process(sessions: Sessions, other_process: Any) -> None:
    """Its intent is taken over once, after the end of its lease."""
    first, second = await sessions(), await sessions()
    other_process.kill()
    left = await record_of(first)
    assert left.lease > 0
    assert await first.take_over(left) is None
    await first.wait(left, 5)
    left = await record_of(first)
    assert left.lease == 0
    taken = await asyncio.gather(*(store.take_over(left) for store in (first, second) for _ in range(4)))
    (one,) = [record for record in taken if record is not None]
    assert one.fence == left.fence + 1
    assert one.position > left.position


async def test_a_lost_lease(
    sessions: Sessions, tables: Callable[[str], str], caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    """The session goes on under a new name, and says so. What it was sending is not sent."""
    first, second = await sessions(), await sessions()
    record = await first.intend(intention(), None)
    tables("UPDATE @_owners SET fenced = true WHERE owner = (SELECT owner FROM @_items)")
    await until(
        lambda: any("lease of this session in its journal expired" in line.getMessage() for line in caplog.records)
    )
    with pytest.raises(JournalError, match="was not sent"):
        await first.check(record)
    assert sum("lease of this session in its journal expired" in line.getMessage() for line in caplog.records) == 1
    assert await second.take_over(await record_of(second)) is not None
    assert await first.record_task(record, REF)  # it was sent before: the task is not lost
    assert (await record_of(second)).ref == REF
    again = await first.intend(intention("another"), None)
    await first.check(again)


async def test_a_witness_was_sent_later(sessions: Sessions, tables: Callable[[str], str]) -> None:
    """A task found by a take-over was sent at its intent, which may be earlier than what it would prove."""
    first = await sessions()
    early, lost = [await first.intend(intention(key), None) for key in ("early", "lost")]
    tables("UPDATE @_owners SET fenced = true")
    second = await sessions()
    taken = await second.take_over(await record_of(second, "lost"))
    found = await second.take_over(await record_of(second, "early"))
    assert taken is not None
    assert found is not None
    await second.record_task(found, REF)
    assert taken.position > lost.position > early.position
    assert list(await second.witnesses(b"shape", taken.position)) == []
    later = await second.intend(intention("later"), None)
    await second.record_task(later, TaskRef("200", "token-200"))
    assert [witness.ref.task_id for witness in await second.witnesses(b"shape", taken.position)] == ["200"]


async def test_a_cancelled_intent_is_withdrawn(sessions: Sessions) -> None:
    """Nobody would ever send it, or search for it. A retry needs no proof."""
    store = await sessions()
    for delay in (0.0, 0.0005, 0.001, 0.002):
        key = f"k{delay}"
        intending = asyncio.ensure_future(store.intend(intention(key), None))
        await asyncio.sleep(delay)
        if not intending.cancel():
            continue
        with pytest.raises(asyncio.CancelledError):
            await intending
        present = (await store.read([key])).get(key)
        assert present is None or present.state == "refused"


async def test_a_waiter_hears_at_once(sessions: Sessions, tables: Callable[[str], str]) -> None:
    """Without polling, in another session."""
    first, second = await sessions(), await sessions()
    times = list[float]()
    for number in range(15):
        record = await first.intend(intention(f"k{number}"), None)
        waiting = asyncio.ensure_future(second.wait(record, 5))
        await asyncio.sleep(0.01)
        began = time.perf_counter()
        await first.record_task(record, REF)
        await waiting
        times.append(time.perf_counter() - began)
    assert statistics.median(times) < 0.1


async def test_a_waiter_that_was_not_told(sessions: Sessions, tables: Callable[[str], str]) -> None:
    """Polling finds what no notification announced."""
    first, second = await sessions(), await sessions(journal_poll=0.05)
    record = await first.intend(intention(), None)
    waiting = asyncio.ensure_future(second.wait(record, 5))
    await asyncio.sleep(0.02)
    tables("UPDATE @_items SET state = 'submitted', task_id = '1'")
    async with asyncio.timeout(1):
        await waiting


async def test_while_the_database_is_away(
    sessions: Sessions, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    """Nothing may be sent. Tasks are followed, and what happens to them is written when it is back."""
    store = await sessions()
    sent, waiting = [await store.intend(intention(key), None) for key in ("sent", "waiting")]
    postgres_server.crash()
    try:
        with pytest.raises(JournalError, match="is away"):
            await store.intend(intention("new"), None)
        with pytest.raises(JournalError, match="was not sent"):
            await store.check(waiting)
        assert await store.record_task(sent, REF)
        store.end(sent, ENDING)
    finally:
        postgres_server.start()
    assert any("not in the journal" in line.getMessage() for line in caplog.records)
    await until(lambda: store._database.is_well)
    present = await record_of(store, "sent")
    assert (present.state, present.ref) == ("succeeded", REF)
    new = (await store.read(["new"])).get("new")
    assert new is None or new.state == "refused"
    await store.check(waiting)


async def test_leases_last_over_a_restart(sessions: Sessions, postgres_server: PostgresServer) -> None:
    """Nobody could renew them: the first one back must not take over what the others have."""
    first, second = await sessions(journal_lease=2.0), await sessions(journal_lease=2.0)
    record = await first.intend(intention(), None)
    postgres_server.crash()
    await asyncio.sleep(2.2)
    postgres_server.start()
    while True:
        try:
            assert await second.take_over(await record_of(second)) is None
            break
        except JournalError:
            await asyncio.sleep(0.02)
    await first.check(record)


async def test_a_database_that_lost_commits(database_url: str, tables: Callable[[str], str], until: Until) -> None:
    """It was restored, or a replica took over that was behind: nothing is sent with it any more."""
    store = PostgresStore(database_url, TUNING)
    await store.open()
    record = await store.intend(intention(), None)
    tables("DELETE FROM @_owners; DELETE FROM @_items")
    await until(lambda: not store._database.is_well)
    for doing in (store.intend(intention("new"), None), store.check(record), store.read(["k"]), store.aclose()):
        with pytest.raises(JournalError):
            await doing


@pytest.mark.parametrize("key, said", [("a\0b", r"U\+0000"), (LONG_KEY, "at most 2000 bytes")])
async def test_keys_that_cannot_be_stored(sessions: Sessions, key: str, said: str) -> None:
    """The error says what to change. Others are not disturbed."""
    store = await sessions()
    good, bad = await asyncio.gather(
        store.intend(intention("good"), None), store.intend(intention(key), None), return_exceptions=True
    )
    assert isinstance(good, Record)
    with pytest.raises(JournalError, match=said):
        raise bad  # type: ignore[misc]


async def test_an_id_of_any_size(sessions: Sessions) -> None:
    """Ids are text that the service makes."""
    store = await sessions()
    record = await store.intend(attrs.evolve(intention(), last_id_seen=10**40), None)
    await store.record_task(record, TaskRef(str(10**41), "token"))
    assert (await record_of(store)).intention.last_id_seen == 10**40
    assert await store.largest_id() == 10**41


async def test_closing_while_the_lease_is_renewed(database_url: str, tables: Callable[[str], str]) -> None:
    """The lease is given back after the last renewal: nobody waits for it."""
    for _ in range(10):
        store = PostgresStore(database_url, attrs.evolve(TUNING, journal_pulse=0.0002))
        await store.open()
        await store.intend(intention(), None)
        await store.aclose()
    assert tables("SELECT count(*) FROM @_owners") == "0"


async def test_a_dropped_store_ends_its_thread(database_url: str, until: Until) -> None:
    """A session that nobody closed must not keep its lease."""
    store = PostgresStore(database_url, TUNING)
    await store.open()
    assert [thread for thread in threading.enumerate() if thread.name == "wiro_async journal"]
    del store
    gc.collect()
    await until(lambda: not [thread for thread in threading.enumerate() if thread.name == "wiro_async journal"])


async def test_no_secret_is_logged(
    sessions: Sessions, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the password nor a token."""
    caplog.set_level(logging.DEBUG)
    store = await sessions()
    record = await store.intend(intention(), None)
    postgres_server.crash()
    try:
        await store.record_task(record, TaskRef("1", "token-secret-1"))
        with pytest.raises(JournalError) as caught:
            await store.intend(intention("new"), None)
    finally:
        postgres_server.start()
    text = caplog.text + repr(caught.value) + repr(store) + store.name + repr(record)
    assert "correct-horse" not in text
    assert "token-secret" not in text
