"""on_error="stop", and other early ends: nothing more is sent, and sent items are not lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from wiro_async import AsyncWiro, Journal, JournalError, RunRequest, TaskFailedError
from wiro_async._api.journal.sqlite_store import SqliteStore
from wiro_async._protocol.journal.record import Intention, Record, State
from wiro_async.testing import Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until

SLEEPER = "emulator/sleeper"
LIMIT = b'{"result":false,"errors":[{"code":96,"message":"you can run up to 1 tasks"}]}'


async def counts(journal: Path) -> dict[State, int]:
    """Count a journal's items by state. Reading blocks, so it happens in a thread."""

    def read() -> dict[State, int]:
        with Journal.open(journal) as seen:
            return seen.counts

    return await anyio.to_thread.run_sync(read)


def fails(n: int) -> dict[str, object]:
    """The input with the number 0 fails."""
    return {"seconds": 5, "n": n, "fail": "" if n else "true"}


async def test_items_that_wait_for_a_slot_are_not_sent(emulator: WiroEmulator) -> None:
    """Workers hold sixty items, two are in flight: after the failure at most one more is submitted."""
    async with (
        AsyncWiro(**emulator.options(), max_concurrency=2) as wiro,
        wiro.batch(SLEEPER, [fails(n) for n in range(60)], on_error="stop") as batch,
    ):
        items = await batch.results()
    assert len(items) == len(emulator.ledger.submissions) <= 3
    stats = batch.stats
    assert (stats.submitted, stats.succeeded + stats.failed, stats.in_flight, stats.eta) == (len(items),) * 2 + (0, 0.0)


async def test_a_refused_item_that_waits_is_not_sent_again(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path, until: Until
) -> None:
    """Its journal says that no task was made, so a restart does not search for one."""
    emulator.faults.http("Run/*", Respond(200, LIMIT), after=1)

    def was_sent(runs: int) -> bool:
        return emulator.ledger.count("Run/*") == runs

    async def inputs() -> AsyncIterator[dict[str, object]]:
        for n in range(2):
            yield {"seconds": 30, "n": n}
            await until(partial(was_sent, n + 1))
        yield {"this cannot": object()}

    async with wiro.batch(SLEEPER, inputs(), concurrency=3, on_error="stop", journal=journal) as batch:
        items = await batch.results()
    assert {item.index for item in items} == {0, 2}
    assert await counts(journal) == {"succeeded": 1, "refused": 1}
    assert (batch.stats.submitted, emulator.ledger.count("Run/*")) == (2, 2)


async def test_an_input_that_comes_after_the_stop_is_not_taken(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A generator that waits does not keep the batch from ending."""
    ended: list[str] = []

    async def inputs() -> AsyncIterator[dict[str, object]]:
        try:
            yield fails(0)
            await anyio.sleep_forever()
        finally:
            ended.append("ended")

    async with wiro.batch(SLEEPER, inputs(), concurrency=4, on_error="stop") as batch:
        with anyio.fail_after(20):
            assert len(await batch.results()) == 1
    assert ended == ["ended"]
    assert len(emulator.ledger.submissions) == 1


async def test_an_attempt_that_was_sent_is_not_lost(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """An item that would be retried is returned with its failure."""
    inputs = [{"seconds": 20, "fail": "true"}, {"seconds": 5, "fail": "true", "n": 1}]

    def only_the_slow_one(error: TaskFailedError) -> bool:
        return "n" not in error.info.parameters

    async with wiro.batch(
        SLEEPER, inputs, concurrency=2, on_error="stop", retries=3, retry_if=only_the_slow_one
    ) as batch:
        items = await batch.results()
    assert {(item.index, item.attempts) for item in items} == {(0, 1), (1, 1)}
    assert len(emulator.ledger.submissions) == 2


async def test_in_the_order_of_inputs_nothing_is_lost(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items behind one that never ends are returned, in order, before the error."""
    intend = SqliteStore.intend

    async def no_room_for_one(store: SqliteStore, intention: Intention, seen: Record | None) -> Record:
        if intention.key == "1":
            await until(lambda: len(emulator.ledger.submissions) == 3)
            raise JournalError("no room")
        return await intend(store, intention, seen)

    monkeypatch.setattr(SqliteStore, "intend", no_room_for_one)
    requests = [RunRequest(SLEEPER, {"seconds": 10, "n": n}, key=n) for n in range(4)]
    got: list[int] = []

    async def read() -> None:
        async with wiro.batch(requests, concurrency=4, order="input", journal=journal) as batch:
            async for item in batch:
                got.append(item.index)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(JournalError, match="no room"):
        await read()
    assert got == [0, 2, 3]


async def test_a_predicate_that_raises(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Its error is the item's error. The others run."""

    def broken(error: TaskFailedError) -> bool:
        raise ZeroDivisionError

    inputs = [fails(n) for n in range(4)]
    async with wiro.batch(SLEEPER, inputs, concurrency=2, retries=1, retry_if=broken, order="input") as batch:
        items = await batch.results()
    assert [type(item.error) for item in items] == [ZeroDivisionError, *[type(None)] * 3]


async def test_a_predicate_that_is_awaited(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The value of a coroutine function counts, not the coroutine, which is always true."""

    async def never(error: TaskFailedError) -> bool:
        return False

    async with wiro.batch(SLEEPER, [fails(0)], retries=3, retry_if=never) as batch:
        await batch.results()
    assert len(emulator.ledger.submissions) == 1


async def test_generators_are_closed(wiro: AsyncWiro) -> None:
    """Synchronous ones too, and iterators that were made for the batch."""
    ended: list[str] = []

    def generator() -> Iterator[dict[str, object]]:
        try:
            while True:
                yield {"seconds": 5}
        finally:
            ended.append("generator")

    class Source:
        def __aiter__(self) -> Made:
            return Made()

    class Made:
        def __aiter__(self) -> Made:
            return self

        async def __anext__(self) -> dict[str, object]:
            return {"seconds": 5}

        async def aclose(self) -> None:
            ended.append("iterator")

    for inputs in (generator(), Source()):
        async with wiro.batch(SLEEPER, inputs, concurrency=2) as batch:
            await anext(batch)
        assert batch.stats.in_flight == 0
    assert ended == ["generator", "iterator"]


async def test_the_users_own_iterator_stays_open(wiro: AsyncWiro) -> None:
    """A batch closes only iterators that it made."""
    send, receive = anyio.create_memory_object_stream[dict[str, object]](3)
    async with send, receive:
        for n in range(3):
            send.send_nowait({"seconds": 5, "n": n})
        async with wiro.batch(SLEEPER, receive, concurrency=1) as batch:
            await anext(batch)
        send.send_nowait({})


async def test_the_window_holds_for_slow_inputs(wiro: AsyncWiro) -> None:
    """In input order the window holds, although many workers wait for the next input."""
    ahead, taken, given = 0, 0, 0

    async def inputs() -> AsyncIterator[dict[str, object]]:
        nonlocal taken, ahead
        for taken in range(1, 80):
            await asyncio.sleep(0)
            ahead = max(ahead, taken - given)
            yield {"seconds": 5 if taken % 7 == 1 else 0.1, "n": taken}

    async with wiro.batch(SLEEPER, inputs(), order="input", window=5, concurrency=20) as batch:
        async for _ in batch:
            given += 1
    assert ahead <= 5 + 1  # the one that is just being given does not count any more
