"""on_error="stop", and other ends before the last input: nothing more is sent, what was sent is not lost."""

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
from wiro_async._api.journal import Entry, JournalWriter, State
from wiro_async._protocol.submission.intent import Intent
from wiro_async.testing import Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until

SLEEPER = "emulator/sleeper"
LIMIT = b'{"result":false,"errors":[{"code":96,"message":"you can run up to 1 tasks"}]}'


async def counts(journal: Path) -> dict[State, int]:
    """What a journal holds; it is read in a thread, for it blocks."""

    def read() -> dict[State, int]:
        with Journal.open(journal) as seen:
            return seen.counts

    return await anyio.to_thread.run_sync(read)


def fails(n: int) -> dict[str, object]:
    """The first of these inputs fails."""
    return {"seconds": 5, "n": n, "fail": "" if n else "true"}


async def test_what_waits_for_a_slot_is_not_sent(emulator: WiroEmulator) -> None:
    """Sixty items in the hands of workers, two in flight: after the failure there is no third submission more."""
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
    """It was never made, which its journal says, so that a restart does not look for it."""
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
    """Nor does a generator that waits keep the batch from ending."""
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
    """An item that would be tried again has its failure for an end."""
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
    """What has ended behind one that never will is given, in its order, before the error."""
    intend = JournalWriter.intend

    async def no_room_for_one(writer: JournalWriter, entry: Entry, model: str, intent: Intent) -> None:
        if entry.key == "1":
            await until(lambda: len(emulator.ledger.submissions) == 3)
            raise JournalError("no room")
        await intend(writer, entry, model, intent)

    monkeypatch.setattr(JournalWriter, "intend", no_room_for_one)
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
    """Its error is the item's, and the others go on."""

    def broken(error: TaskFailedError) -> bool:
        raise ZeroDivisionError

    inputs = [fails(n) for n in range(4)]
    async with wiro.batch(SLEEPER, inputs, concurrency=2, retries=1, retry_if=broken, order="input") as batch:
        items = await batch.results()
    assert [type(item.error) for item in items] == [ZeroDivisionError, *[type(None)] * 3]


async def test_a_predicate_that_is_awaited(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """What a coroutine function answers counts, not that it is true of a coroutine to be true."""

    async def never(error: TaskFailedError) -> bool:
        return False

    async with wiro.batch(SLEEPER, [fails(0)], retries=3, retry_if=never) as batch:
        await batch.results()
    assert len(emulator.ledger.submissions) == 1


async def test_generators_are_ended(wiro: AsyncWiro) -> None:
    """A synchronous one too, as is an iterator that was made for the batch."""
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


async def test_an_iterator_of_the_users_stays_open(wiro: AsyncWiro) -> None:
    """Only what was made here is ended here."""
    send, receive = anyio.create_memory_object_stream[dict[str, object]](3)
    async with send, receive:
        for n in range(3):
            send.send_nowait({"seconds": 5, "n": n})
        async with wiro.batch(SLEEPER, receive, concurrency=1) as batch:
            await anext(batch)
        send.send_nowait({})


async def test_the_window_holds_for_inputs_that_take_their_time(wiro: AsyncWiro) -> None:
    """In input order no more are ahead than wanted, however many workers wait for the next one."""
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
