"""The limiter alone: no network, no service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import pytest

from wiro_async._engine import limiter as module
from wiro_async._engine.limiter import OPEN, Limiter, Slot

if TYPE_CHECKING:
    from tests.conftest import Until


async def taken(limiter: Limiter, count: int) -> list[Slot]:
    """So many slots, each with a running task."""
    slots = [await limiter.acquire() for _ in range(count)]
    for slot in slots:
        limiter.start(slot)
    return slots


async def refused(limiter: Limiter, limit: int | None) -> None:
    """One more is sent, and refused."""
    limiter.refuse(await limiter.acquire(), limit)


async def test_open_until_refused() -> None:
    """Without a limit everybody gets a slot at once."""
    limiter = Limiter()
    await taken(limiter, 1000)
    assert (limiter.level, limiter.in_flight, limiter.waiting) == (OPEN, 1000, 0)


async def test_a_named_limit_is_taken() -> None:
    """ "Up to 5 tasks" is the level then."""
    limiter = Limiter()
    await taken(limiter, 5)
    await refused(limiter, 5)
    assert limiter.level == 5


async def test_a_limit_shared_with_others_leaves_them_room() -> None:
    """Refused with fewer tasks of one's own than the limit: others have some, so take less."""
    limiter = Limiter()
    await taken(limiter, 5)
    await refused(limiter, 20)
    await refused(limiter, 20) if limiter.level > 5 else None
    limiter.level = 20
    slot = await limiter.acquire()
    limiter.refuse(slot, 20)
    assert limiter.level == 3


async def test_a_rate_limit_decreases_by_a_share() -> None:
    """429 names no number: three quarters of what runs."""
    limiter = Limiter()
    await taken(limiter, 8)
    await refused(limiter, None)
    assert limiter.level == 6


async def test_never_below_one() -> None:
    """Somebody must be able to go on."""
    limiter = Limiter()
    await refused(limiter, 0)
    assert limiter.level == 1
    await refused(limiter, None)
    assert limiter.level == 1


async def test_refusals_of_one_burst_count_once() -> None:
    """What was sent before the last decrease is old news."""
    limiter = Limiter()
    running = await taken(limiter, 8)
    burst = [await limiter.acquire() for _ in range(10)]
    for slot in burst:
        limiter.refuse(slot, None)
    assert limiter.level == 6
    assert limiter.in_flight == len(running)


async def test_it_grows_by_one_for_each_window() -> None:
    """After as many ends as there are slots, one more is tried, up to what the service named."""
    limiter = Limiter()
    slots = await taken(limiter, 8)
    await refused(limiter, None)
    limiter._fast_until = 0.0
    for slot in slots[:6]:
        limiter.end(slot)
    assert limiter.level == 7


async def test_it_regrows_fast_to_where_it_was() -> None:
    """After a 429 every end gives one more, up to three quarters of what there was."""
    limiter = Limiter()
    slots = await taken(limiter, 16)
    await refused(limiter, None)
    level = limiter.level
    for slot in slots:
        limiter.end(slot)
    assert limiter.level > level


async def test_the_services_number_is_not_passed_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays the ceiling for a minute, then more is tried."""
    now = 1000.0
    monkeypatch.setattr(module.anyio, "current_time", lambda: now)
    limiter = Limiter()
    slots = await taken(limiter, 3)
    await refused(limiter, 3)
    for slot in slots:
        limiter.end(slot)
    assert limiter.level == 3
    now += module.CEILING_SECONDS
    for slot in await taken(limiter, 3):
        limiter.end(slot)
    assert limiter.level == 4


async def test_a_given_limit_is_the_most() -> None:
    """It is never grown past."""
    limiter = Limiter(2)
    for _ in range(10):
        for slot in await taken(limiter, 2):
            limiter.end(slot)
    assert limiter.level == 2


async def test_ending_twice_is_harmless() -> None:
    """A slot is given back once."""
    limiter = Limiter(2)
    slot, _ = await taken(limiter, 2)
    limiter.end(slot)
    limiter.end(slot)
    limiter.refuse(slot, None)
    assert limiter.in_flight == 1


async def test_first_come_first_served(until: Until) -> None:
    """Those in line are let in in their order, and nobody passes them."""
    limiter = Limiter(1)
    (held,) = await taken(limiter, 1)
    order: list[int] = []

    async def use(number: int) -> None:
        slot = await limiter.acquire()
        order.append(number)
        limiter.start(slot)
        limiter.end(slot)

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(use, number)
            await until(lambda number=number: limiter.waiting == number + 1)  # type: ignore[misc]
        limiter.end(held)
    assert order == [0, 1, 2, 3, 4]


async def test_who_was_refused_stands_first(until: Until) -> None:
    """It was its turn already."""
    limiter = Limiter(1)
    (held,) = await taken(limiter, 1)
    order: list[str] = []

    async def use(name: str, again: bool) -> None:
        slot = await limiter.acquire(refused=again)
        order.append(name)
        limiter.end(slot)

    async with anyio.create_task_group() as group:
        group.start_soon(use, "new", False)
        await until(lambda: limiter.waiting == 1)
        group.start_soon(use, "refused", True)
        await until(lambda: limiter.waiting == 2)
        limiter.end(held)
    assert order == ["refused", "new"]


async def test_leaving_the_line_by_cancellation(until: Until) -> None:
    """Who goes takes no slot with them, even if it was just being handed over."""
    limiter = Limiter(1)
    (held,) = await taken(limiter, 1)
    waiting = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
    await until(lambda: limiter.waiting == 3)
    waiting[1].cancel()
    await asyncio.wait([waiting[1]])
    assert limiter.waiting == 2
    limiter.end(held)
    waiting[0].cancel()
    await asyncio.wait([waiting[0]])
    slot = await waiting[2]
    assert (limiter.waiting, limiter.in_flight) == (0, 1)
    limiter.end(slot)
    assert limiter.in_flight == 0


async def test_tasks_of_others_are_looked_for_again(until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing of its own in flight, one in line tries again after a while."""
    monkeypatch.setattr(module, "OTHERS_SECONDS", 0.02)
    limiter = Limiter()
    await refused(limiter, 1)
    with anyio.fail_after(5):
        slot = await limiter.acquire(refused=True)
    assert limiter.in_flight == 1
    limiter.end(slot)


async def test_whoever_begins_to_wait_is_told_of() -> None:
    """So that tasks which nobody follows are looked after."""
    limiter = Limiter(1)
    calls: list[int] = []
    limiter.on_line = lambda: calls.append(limiter.waiting)
    (held,) = await taken(limiter, 1)
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    assert calls == [1]
    limiter.end(held)
    limiter.end(await waiting)


async def test_the_end_lets_everybody_through(until: Until) -> None:
    """When the session closes nobody is kept in line."""
    limiter = Limiter(1)
    await taken(limiter, 1)
    waiting = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
    await until(lambda: limiter.waiting == 3)
    limiter.open_wide()
    assert len(await asyncio.gather(*waiting)) == 3
