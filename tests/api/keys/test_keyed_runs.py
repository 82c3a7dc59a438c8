"""Runs with keys: one key, one bill, whatever is cancelled, repeated or started again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest

from wiro_async import (
    AsyncWiro,
    InvalidInputError,
    JournalError,
    KeyConflictError,
    RunRequest,
    TaskFailedError,
    UsageError,
)
from wiro_async.testing import WiroEmulator

SLEEPER = "emulator/sleeper"
SHORT = {"seconds": 0.3}


async def test_one_key_makes_one_task(emulator: WiroEmulator, journal: Path) -> None:
    """At the same time, one after the other, and in the next session."""
    for _ in range(2):
        async with AsyncWiro(**emulator.options(), journal=journal) as wiro:
            results = await asyncio.gather(*(wiro.run(SLEEPER, SHORT, key="a") for _ in range(5)))
            again = await wiro.run(SLEEPER, SHORT, key="a")
            handle = await wiro.submit(SLEEPER, SHORT, key="a")
            assert {result.info.id for result in (*results, again, await handle)} == {results[0].info.id}
            assert again.replayed
    assert len(emulator.ledger.submissions) == 1


async def test_cancelling_stops_the_task_and_is_recorded(emulator: WiroEmulator, journal: Path) -> None:
    """The next call runs it again."""
    async with AsyncWiro(**emulator.options(), journal=journal) as wiro:
        running = asyncio.create_task(wiro.run(SLEEPER, {"seconds": 60}, key="a"))
        while not emulator.ledger.submissions:  # noqa: ASYNC110 - the emulator's thread sends no event
            await anyio.sleep(0.01)
        await anyio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        item = await wiro.journal.get("a")
        assert item is not None
        assert item.state == "cancelled"
        handle = await wiro.submit(SLEEPER, {"seconds": 60}, key="a")
        assert len(emulator.ledger.submissions) == 2
        await handle.cancel()


async def test_a_task_that_is_left_is_followed(emulator: WiroEmulator, journal: Path) -> None:
    """With `on_cancel="leave"`."""
    async with AsyncWiro(**emulator.options(), journal=journal) as wiro:
        with anyio.move_on_after(0.3):
            await wiro.run(SLEEPER, {"seconds": 30}, key="a", on_cancel="leave")
        assert (await wiro.run(SLEEPER, {"seconds": 30}, key="a")).replayed
    assert len(emulator.ledger.submissions) == 1


async def test_a_failed_run_runs_again(emulator: WiroEmulator, journal: Path) -> None:
    """It was not billed."""
    async with AsyncWiro(**emulator.options(), journal=journal) as wiro:
        for _ in range(2):
            with pytest.raises(TaskFailedError):
                await wiro.run(SLEEPER, {"seconds": 0.1, "fail": "true"}, key="a")
        assert await wiro.journal.counts() == {"failed": 1}
    assert len(emulator.ledger.submissions) == 2


async def test_a_key_of_another_request(emulator: WiroEmulator, journal: Path) -> None:
    """It is refused, and nothing is sent."""
    async with AsyncWiro(**emulator.options(), journal=journal) as wiro:
        await wiro.run(SLEEPER, SHORT, key="a")
        with pytest.raises(KeyConflictError, match="'a'"):
            await wiro.run(SLEEPER, {"seconds": 0.4}, key="a")
    assert len(emulator.ledger.submissions) == 1


async def test_wrong_uses(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """Each says what to do."""
    with pytest.raises(UsageError, match="journal="):
        await wiro.run(SLEEPER, SHORT, key="a")
    with pytest.raises(UsageError, match="journal="):
        _ = wiro.journal
    with pytest.raises(UsageError, match="journal="):
        wiro.batch(SLEEPER, [SHORT], journal=True)
    with pytest.raises(UsageError, match="no key"):
        wiro.stream(SLEEPER, SHORT, key="a")
    async with AsyncWiro(**emulator.options(), journal=journal) as first:
        with pytest.raises(InvalidInputError, match="key"):
            await first.run(SLEEPER, SHORT, key="")
        await first.journal.counts()
        async with AsyncWiro(**emulator.options(), journal=journal) as second:
            with pytest.raises(JournalError, match="in use"):
                await second.run(SLEEPER, SHORT, key="a")
    assert not emulator.ledger.submissions


async def test_waiting_for_what_others_submit(emulator: WiroEmulator, journal: Path) -> None:
    """`journal.result` submits nothing."""
    async with AsyncWiro(**emulator.options(), journal=journal) as wiro:
        waiting = asyncio.create_task(wiro.journal.result("a", timeout=20))
        await anyio.sleep(0.05)
        result = await wiro.run(SLEEPER, SHORT, key="a")
        assert (await waiting).info.id == result.info.id
    assert len(emulator.ledger.submissions) == 1


async def test_batches_share_the_journal_of_the_session(emulator: WiroEmulator, journal: Path) -> None:
    """A run with a key is an item with that key."""
    async with AsyncWiro(**emulator.options(), journal=journal) as wiro:
        await wiro.run(SLEEPER, SHORT, key="a")
        for place in (None, True, journal):
            async with wiro.batch([RunRequest(SLEEPER, SHORT, key="a")], journal=place) as batch:
                (item,) = await batch.results()
            assert item.replayed
    assert len(emulator.ledger.submissions) == 1
