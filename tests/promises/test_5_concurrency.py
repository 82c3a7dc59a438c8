"""Promise 5. Concurrency finds its level."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import anyio
import pytest

from wiro_async import AsyncWiro, EventStream, Tuning
from wiro_async.testing import Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until


SHORT = {"seconds": 5, "events": 9}  # a tenth of a second at the emulator's speed of 50
STUCK = "emulator/stuck"


@pytest.mark.tuning(window_other_probe=600.0)
async def test_5_a_limit_is_learned_and_kept(poor: WiroEmulator, short_timing: Tuning) -> None:
    """40 runs succeed with 5 slots. They wait for each other and not for a timer, with few refusals."""
    async with AsyncWiro(**poor.options()) as wiro:
        with anyio.fail_after(30):
            results = await asyncio.gather(*(wiro.run("emulator/sleeper", {**SHORT, "n": n}) for n in range(40)))
    assert [result.info.parameters["n"] for result in results] == [str(n) for n in range(40)]
    assert len(poor.ledger.submissions) == 40
    assert poor.ledger.count("Run/*") - 40 <= 50  # of the first 40 at once 35 are refused, then hardly any


async def test_5_tasks_of_others_are_waited_for(poor: WiroEmulator, short_timing: Tuning, until: Until) -> None:
    """When it has no task left to wait for, a session probes from time to time."""
    async with (
        AsyncWiro(**poor.options()) as other,
        AsyncWiro(**poor.options()) as wiro,
    ):
        taken = [await other.submit(STUCK) for _ in range(5)]
        running = asyncio.create_task(wiro.run("emulator/sleeper", SHORT))
        await until(lambda: poor.ledger.count("Run/*") >= 8 and wiro.statistics().waiting_submissions == 1)
        await taken[0].cancel()
        assert (await running).succeeded
    assert len(poor.ledger.submissions) == 6


@pytest.mark.tuning(window_other_probe=600.0)
async def test_5_the_end_of_unfollowed_tasks_is_noticed(poor: WiroEmulator, short_timing: Tuning) -> None:
    """Submitted tasks hold slots. The session notices when these are free again."""
    async with AsyncWiro(**poor.options()) as wiro:
        with anyio.fail_after(30):
            handles = [await wiro.submit("emulator/sleeper", SHORT) for _ in range(12)]
            assert [(await handle).succeeded for handle in handles] == [True] * 12
    assert len(poor.ledger.submissions) == 12


@pytest.mark.parametrize("limited", ["by the session", "by the service"])
async def test_5_submits_at_once_proceed(poor: WiroEmulator, short_timing: Tuning, limited: str) -> None:
    """The tasks are not followed, and each new one gets the slot of one that has ended."""
    most = 1 if limited == "by the session" else None
    async with AsyncWiro(**poor.options(), max_concurrency=most) as wiro:
        with anyio.fail_after(20):
            handles = await asyncio.gather(*(wiro.submit("emulator/sleeper", {**SHORT, "n": n}) for n in range(12)))
    assert len({handle.id for handle in handles}) == 12


@pytest.mark.parametrize("leaves", ["wait", "run", "events"])
async def test_5_followers_that_leave_free_the_slot(
    emulator: WiroEmulator, short_timing: Tuning, until: Until, leaves: str
) -> None:
    """A task that loses its last follower still frees its slot when it ends."""
    async with AsyncWiro(**emulator.options(), max_concurrency=1) as wiro:
        if leaves == "run":
            use: Awaitable[object] = wiro.run("emulator/sleeper", {"seconds": 25}, on_cancel="leave")
        else:
            task = await wiro.submit("emulator/sleeper", {"seconds": 25})
            use = task.result() if leaves == "wait" else _read(task.events())
        follower = asyncio.ensure_future(use)
        await until(lambda: wiro.statistics().watched_tasks == 1)
        later = asyncio.create_task(wiro.run("emulator/sleeper", SHORT))
        await until(lambda: wiro.statistics().waiting_submissions == 1)
        follower.cancel()
        with anyio.fail_after(20):
            assert (await later).succeeded
    await asyncio.wait([follower])


async def _read(events: EventStream) -> None:
    async with events:
        async for _ in events:
            pass


@pytest.mark.tuning(window_own_probe=0.1)
async def test_5_freed_slots_are_found_next_to_a_long_task(
    poor: WiroEmulator, short_timing: Tuning, until: Until
) -> None:
    """A session that waits for its own task notices when others free slots."""
    async with (
        AsyncWiro(**poor.options()) as other,
        AsyncWiro(**poor.options()) as wiro,
    ):
        taken = [await other.submit(STUCK) for _ in range(4)]
        await wiro.submit(STUCK)
        running = asyncio.create_task(wiro.run("emulator/sleeper", SHORT))
        await until(lambda: wiro.statistics().waiting_submissions == 1)
        await taken[0].cancel()
        with anyio.fail_after(20):
            assert (await running).succeeded
    assert len(poor.ledger.submissions) == 6


async def test_5_a_given_limit_is_never_exceeded(poor: WiroEmulator, short_timing: Tuning) -> None:
    """With max_concurrency there are no refusals. Runs, maps and views share the limit."""
    async with AsyncWiro(**poor.options(), max_concurrency=5) as wiro:
        view = wiro.with_options(timeout=60)
        results, _ = await asyncio.gather(
            wiro.map("emulator/sleeper", [SHORT] * 15),
            asyncio.gather(*(view.run("emulator/sleeper", SHORT) for _ in range(15))),
        )
    assert len(results) == 15
    assert poor.ledger.count("Run/*") == 30


async def test_5_a_429_pauses_the_session(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """After a 429 the session sends nothing until `Retry-After` has passed."""
    emulator.faults.http("Task/List", Respond(429, "{}", headers={"retry-after": "1"}))
    listing = asyncio.ensure_future(anext(aiter(wiro.tasks.list()), None))
    await until(lambda: [call.status for call in emulator.ledger.calls] == [429] and not wiro.statistics().requests)
    await wiro.submit("emulator/sleeper", SHORT)
    await listing
    first, *others = emulator.ledger.calls
    assert len(others) == 2
    assert all(call.at - first.at >= 0.98 for call in others)
