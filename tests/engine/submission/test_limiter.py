"""The limiter alone: no network, no service."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from wiro_async import Tuning
from wiro_async._engine.calls.limiter import Limiter, Slot
from wiro_async._protocol.submission.window import OPEN

if TYPE_CHECKING:
    from tests.conftest import Until


async def taken(limiter: Limiter, count: int) -> list[Slot]:
    """So many slots, each with a running task."""
    slots: list[Slot] = []
    for _ in range(count):
        slots.append(await limiter.acquire())
        limiter.start(slots[-1])
    return slots


async def refused(limiter: Limiter, limit: int | None) -> Slot:
    """One more is sent, and refused."""
    slot = await limiter.acquire()
    limiter.refuse(slot, limit)
    return slot


async def test_open_until_refused() -> None:
    """Without a limit everybody gets a slot as soon as those before are answered."""
    limiter = Limiter(Tuning())
    with anyio.fail_after(5):
        await taken(limiter, 1000)
    assert (limiter.level, limiter.in_flight, limiter.waiting) == (OPEN, 1000, 0)


async def test_a_named_limit_is_taken() -> None:
    """ "Up to 5 tasks" is the level then."""
    limiter = Limiter(Tuning())
    await taken(limiter, 5)
    await refused(limiter, 5)
    assert limiter.level == 5


@pytest.mark.parametrize("limit", [20, None])
async def test_a_refusal_never_raises_the_level(limit: int | None) -> None:
    """Refused with fewer tasks of one's own than the limit, or without a number: no more than what runs."""
    limiter = Limiter(Tuning())
    await taken(limiter, 8)
    await refused(limiter, limit)
    assert 1 <= limiter.level <= 8


async def test_never_below_one() -> None:
    """Somebody must be able to go on."""
    limiter = Limiter(Tuning())
    await refused(limiter, 0)
    assert limiter.level == 1


async def test_refusals_of_one_burst_count_once() -> None:
    """What was sent before the last decrease is old news."""
    limiter = Limiter(Tuning())
    await taken(limiter, 8)
    burst = [await limiter.acquire() for _ in range(3)]
    limiter.refuse(burst[0], None)
    level = limiter.level
    for slot in burst[1:]:
        limiter.refuse(slot, None)
    assert (limiter.level, limiter.in_flight) == (level, 8)


async def test_it_grows_again(until: Until) -> None:
    """As tasks end, and while somebody waits, more than the learnt level is tried."""
    limiter = Limiter(Tuning())
    slots = await taken(limiter, 3)
    await refused(limiter, None)
    level = limiter.level
    waiting = asyncio.create_task(use_many(limiter, 60))
    await until(lambda: limiter.waiting)
    for slot in slots:
        limiter.end(slot)
    await waiting
    assert limiter.level > level


async def use_many(limiter: Limiter, count: int) -> None:
    """Callers that each take a slot, run a while, and give it back."""

    async def use() -> None:
        slot = await limiter.acquire()
        limiter.start(slot)
        await asyncio.sleep(0)
        limiter.end(slot)

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(use)


async def test_a_given_limit_is_the_most() -> None:
    """It is never grown past."""
    limiter = Limiter(Tuning(), 2)
    for _ in range(10):
        for slot in await taken(limiter, 2):
            limiter.end(slot)
    assert limiter.level == 2


async def test_ending_twice_is_harmless() -> None:
    """A slot is given back once."""
    limiter = Limiter(Tuning(), 2)
    slot, _ = await taken(limiter, 2)
    limiter.end(slot)
    limiter.end(slot)
    assert limiter.in_flight == 1


async def test_first_come_first_served(until: Until) -> None:
    """Those in line are let in in their order, and nobody passes them."""
    limiter = Limiter(Tuning(), 1)
    (held,) = await taken(limiter, 1)
    order: list[int] = []

    async def use(number: int) -> None:
        slot = await limiter.acquire()
        order.append(number)
        limiter.start(slot)
        limiter.end(slot)

    def stands(count: int) -> bool:
        return limiter.waiting == count

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(use, number)
            await until(partial(stands, number + 1))
        limiter.end(held)
    assert order == [0, 1, 2, 3, 4]


async def test_a_refused_run_comes_first(until: Until) -> None:
    """It was its turn already."""
    limiter = Limiter(Tuning(), 1)
    (held,) = await taken(limiter, 1)
    order: list[str] = []

    async def use(name: str, instead_of: Slot | None) -> None:
        slot = await limiter.acquire(instead_of=instead_of)
        order.append(name)
        limiter.end(slot)

    async with anyio.create_task_group() as group:
        group.start_soon(use, "new", None)
        await until(lambda: limiter.waiting == 1)
        group.start_soon(use, "refused", held)
        await until(lambda: limiter.waiting == 2)
        limiter.end(held)
    assert order == ["refused", "new"]


async def test_refused_runs_keep_their_order(until: Until) -> None:
    """Several that were sent and refused come back in the order in which they first came."""
    limiter = Limiter(Tuning())
    sent = [await limiter.acquire() for _ in range(4)]
    order: list[int] = []

    async def come_again(number: int) -> None:
        limiter.refuse(sent[number], 1)
        slot = await limiter.acquire(instead_of=sent[number])
        order.append(number)
        limiter.start(slot)
        limiter.end(slot)

    def stands(count: int) -> bool:
        return limiter.waiting == count

    held = await limiter.acquire()
    limiter.start(held)
    async with anyio.create_task_group() as group:
        for place, number in enumerate([2, 0, 3, 1]):
            group.start_soon(come_again, number)
            await until(partial(stands, place + 1))
        limiter.end(held)
    assert order == [0, 1, 2, 3]


async def test_cancellation_leaves_the_queue(until: Until) -> None:
    """Who goes takes no slot with them, even if it was just being handed over."""
    limiter = Limiter(Tuning(), 1)
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


async def test_a_probe_finds_slots_of_others() -> None:
    """With nothing of its own in flight, the first waiter tries again after a while."""
    limiter = Limiter(Tuning(window_other_probe=0.02))
    first = await refused(limiter, 1)
    with anyio.fail_after(5):
        slot = await limiter.acquire(instead_of=first)
    assert limiter.in_flight == 1
    limiter.end(slot)


async def test_a_callback_hears_of_waiters() -> None:
    """So that tasks that nobody follows are checked."""
    calls: list[int] = []
    limiter = Limiter(Tuning(), 1, lambda: calls.append(limiter.waiting))
    (held,) = await taken(limiter, 1)
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    assert calls == [1]
    limiter.end(held)
    limiter.end(await waiting)


async def test_the_callback_is_called_again_while_somebody_waits(until: Until) -> None:
    """News may have been missed in between."""
    calls: list[int] = []
    limiter = Limiter(Tuning(window_recheck=0.01), 1, lambda: calls.append(limiter.waiting))
    (held,) = await taken(limiter, 1)
    waiting = [asyncio.create_task(limiter.acquire()) for _ in range(2)]
    await until(lambda: len(calls) >= 5)
    limiter.end(held)
    limiter.end(await waiting[0])
    limiter.end(await waiting[1])


async def test_the_end_lets_everybody_through(until: Until) -> None:
    """When the session closes nobody is kept in line."""
    limiter = Limiter(Tuning(), 1)
    await taken(limiter, 1)
    waiting = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
    await until(lambda: limiter.waiting == 3)
    limiter.open_wide()
    assert len(await asyncio.gather(*waiting)) == 3
