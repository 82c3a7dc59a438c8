"""The limiter alone: no network, no service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from wiro_async import Tuning
from wiro_async._engine.calls.limiter import Limiter, Slot
from wiro_async._protocol.submission.window import OPEN

if TYPE_CHECKING:
    from tests.conftest import Until
    from tests.engine.conftest import Jump

TUNING = Tuning()


async def taken(limiter: Limiter, count: int) -> list[Slot]:
    """Return slots with running tasks."""
    slots: list[Slot] = []
    for _ in range(count):
        slots.append(await limiter.acquire())
        limiter.start(slots[-1])
    return slots


async def refused(limiter: Limiter, limit: int | None) -> Slot:
    """Send one more run, which is refused."""
    slot = await limiter.acquire()
    limiter.refuse(slot, limit)
    return slot


async def test_open_until_refused() -> None:
    """Without a limit, every caller gets a slot as soon as the earlier ones have a response."""
    limiter = Limiter(Tuning())
    with anyio.fail_after(5):
        await taken(limiter, 1000)
    assert (limiter.level, limiter.in_flight, limiter.waiting) == (OPEN, 1000, 0)


async def test_a_named_limit_is_used() -> None:
    """ "Up to 5 tasks" sets the level."""
    limiter = Limiter(Tuning())
    await taken(limiter, 5)
    await refused(limiter, 5)
    assert limiter.level == 5


@pytest.mark.parametrize("limit", [20, None])
async def test_a_refusal_never_raises_the_level(limit: int | None) -> None:
    """A refusal below the limit, or without a number, allows no more than what runs."""
    limiter = Limiter(Tuning())
    await taken(limiter, 8)
    await refused(limiter, limit)
    assert 1 <= limiter.level <= 8


async def test_never_below_one() -> None:
    """One run must always be possible."""
    limiter = Limiter(Tuning())
    await refused(limiter, 0)
    assert limiter.level == 1


async def test_refusals_of_one_burst_count_once() -> None:
    """Refusals of runs sent before the last decrease are ignored."""
    limiter = Limiter(Tuning())
    await taken(limiter, 8)
    burst = [await limiter.acquire() for _ in range(3)]
    limiter.refuse(burst[0], None)
    level = limiter.level
    for slot in burst[1:]:
        limiter.refuse(slot, None)
    assert (limiter.level, limiter.in_flight) == (level, 8)


async def test_it_grows_again(until: Until) -> None:
    """As tasks end and runs wait, the limiter tries more than the learnt level."""
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
    """Callers that each hold a slot for a while."""

    async def use() -> None:
        slot = await limiter.acquire()
        limiter.start(slot)
        await asyncio.sleep(0)
        limiter.end(slot)

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(use)


async def test_a_given_limit_is_the_maximum() -> None:
    """The level never exceeds it."""
    limiter = Limiter(Tuning(), 2)
    for _ in range(10):
        for slot in await taken(limiter, 2):
            limiter.end(slot)
    assert limiter.level == 2


async def test_ending_twice_is_idempotent() -> None:
    """A slot is released once."""
    limiter = Limiter(Tuning(), 2)
    slot, _ = await taken(limiter, 2)
    limiter.end(slot)
    limiter.end(slot)
    assert limiter.in_flight == 1


async def test_first_come_first_served(until: Until) -> None:
    """Waiting callers are admitted in order, and no caller passes them."""
    limiter = Limiter(Tuning(), 1)
    (held,) = await taken(limiter, 1)
    order: list[int] = []

    async def use(number: int) -> None:
        slot = await limiter.acquire()
        order.append(number)
        limiter.start(slot)
        limiter.end(slot)

    def is_waiting(count: int) -> bool:
        return limiter.waiting == count

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(use, number)
            await until(partial(is_waiting, number + 1))
        limiter.end(held)
    assert order == [0, 1, 2, 3, 4]


async def test_a_refused_run_comes_first(until: Until) -> None:
    """A refused run keeps its turn."""
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
    """Several refused runs are admitted in their first order."""
    limiter = Limiter(Tuning())
    sent = [await limiter.acquire() for _ in range(4)]
    order: list[int] = []

    async def come_again(number: int) -> None:
        limiter.refuse(sent[number], 1)
        slot = await limiter.acquire(instead_of=sent[number])
        order.append(number)
        limiter.start(slot)
        limiter.end(slot)

    def is_waiting(count: int) -> bool:
        return limiter.waiting == count

    held = await limiter.acquire()
    limiter.start(held)
    async with anyio.create_task_group() as group:
        for place, number in enumerate([2, 0, 3, 1]):
            group.start_soon(come_again, number)
            await until(partial(is_waiting, place + 1))
        limiter.end(held)
    assert order == [0, 1, 2, 3]


async def test_cancellation_leaves_the_queue(until: Until) -> None:
    """A cancelled caller keeps no slot, even if the slot was being handed over."""
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
    """Without tasks of its own, the first waiting run tries again after a while."""
    limiter = Limiter(Tuning(window_other_probe=0.02))
    first = await refused(limiter, 1)
    with anyio.fail_after(5):
        slot = await limiter.acquire(instead_of=first)
    assert limiter.in_flight == 1
    limiter.end(slot)


async def test_a_callback_is_called_for_waiting_runs() -> None:
    """So that unfollowed tasks are checked."""
    calls: list[int] = []
    limiter = Limiter(Tuning(), 1, lambda: calls.append(limiter.waiting))
    (held,) = await taken(limiter, 1)
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    assert calls == [1]
    limiter.end(held)
    limiter.end(await waiting)


async def test_the_callback_is_called_again_while_a_run_waits(until: Until) -> None:
    """An end may have been missed in between."""
    calls: list[int] = []
    limiter = Limiter(Tuning(window_recheck=0.01), 1, lambda: calls.append(limiter.waiting))
    (held,) = await taken(limiter, 1)
    waiting = [asyncio.create_task(limiter.acquire()) for _ in range(2)]
    await until(lambda: len(calls) >= 5)
    limiter.end(held)
    limiter.end(await waiting[0])
    limiter.end(await waiting[1])


async def test_closing_admits_all(until: Until) -> None:
    """When the session closes, no caller keeps waiting."""
    limiter = Limiter(Tuning(), 1)
    await taken(limiter, 1)
    waiting = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
    await until(lambda: limiter.waiting == 3)
    limiter.open_wide()
    assert len(await asyncio.gather(*waiting)) == 3


def jumping(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[Jump], None]:
    """Make a test of a scenario on a jumping clock."""

    def test(jump: Jump) -> None:
        jump(scenario())

    test.__doc__ = scenario.__doc__
    return test


@jumping
async def test_few_unanswered_at_first() -> None:
    """While no limit is known, few runs are sent without a response. Each response, or a second, allows more."""
    limiter = Limiter(TUNING)
    callers = [asyncio.create_task(limiter.acquire()) for _ in range(50)]
    await asyncio.sleep(0.5)
    assert limiter.in_flight == TUNING.window_opening
    for caller in callers[: int(TUNING.window_opening)]:
        limiter.start(caller.result())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert limiter.in_flight == TUNING.window_opening + 1.5 * TUNING.window_opening
    await asyncio.sleep(60)
    assert limiter.in_flight == 50


@jumping
async def test_a_refused_run_waits_for_an_end() -> None:
    """Nothing is sent to a full account until a task of the session ends."""
    limiter = Limiter(TUNING)
    running = await taken(limiter, 3)
    refused = await limiter.acquire()
    limiter.refuse(refused, 20)
    caller = asyncio.create_task(limiter.acquire(instead_of=refused))
    await asyncio.sleep(TUNING.window_own_probe / 2 - 0.1)
    assert not caller.done()
    limiter.end(running[0])
    await asyncio.sleep(0.1)
    assert caller.done()


@jumping
async def test_probes_are_rare_beside_a_long_task() -> None:
    """Other users' tasks may end first, so probes are sent, and less often after each failed one."""
    limiter = Limiter(TUNING)
    await taken(limiter, 3)
    slot = await limiter.acquire()
    limiter.refuse(slot, 20)
    level, looks = limiter.level, 0
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < began + 3600:
        slot = await limiter.acquire(instead_of=slot)
        looks += 1
        limiter.refuse(slot, 20)
        assert (limiter.level, limiter.in_flight) == (level, 3)
    assert 3600 / TUNING.window_own_probe_max <= looks <= 2 * 3600 / TUNING.window_own_probe_max + 10


@jumping
async def test_slots_of_others_are_found_beside_a_long_task() -> None:
    """After a free slot, the next probe follows soon, up to the reported limit."""
    limiter = Limiter(TUNING)
    await taken(limiter, 1)
    limiter.refuse(await limiter.acquire(), 5)

    async def run() -> None:
        limiter.start(await limiter.acquire())

    callers = [asyncio.create_task(run()) for _ in range(10)]
    await asyncio.sleep(TUNING.window_own_probe + 4 * TUNING.window_other_probe)
    assert limiter.in_flight == 5
    for caller in callers:
        caller.cancel()


@jumping
async def test_probes_are_frequent_without_own_tasks() -> None:
    """Other users may have filled the account. One caller at a time probes."""
    limiter = Limiter(TUNING)
    refused = await limiter.acquire()
    limiter.refuse(refused, 20)
    callers = [asyncio.create_task(limiter.acquire(instead_of=refused)) for _ in range(5)]
    await asyncio.sleep(0.4)
    assert limiter.in_flight == 0
    await asyncio.sleep(TUNING.window_other_probe_max)
    assert limiter.in_flight == 1
    first = next(caller for caller in callers if caller.done())
    limiter.refuse(first.result(), 20)
    callers.remove(first)
    callers.pop().cancel()
    await asyncio.sleep(2 * TUNING.window_other_probe_max)
    assert limiter.in_flight == 1


@jumping
async def test_a_429_takes_a_quarter_and_regrows_fast() -> None:
    """After 429, a quarter fewer tasks are allowed, and one more for each task that ends."""
    limiter = Limiter(TUNING)
    running = await taken(limiter, 8)
    limiter.slow_down(await limiter.acquire())
    assert limiter.level == 6
    callers = [asyncio.create_task(limiter.acquire()) for _ in range(10)]
    await asyncio.sleep(1)
    for slot in running[:3]:
        limiter.end(slot)
    assert limiter.level == 9
    await asyncio.sleep(0.1)
    assert sum(caller.done() for caller in callers) == 4  # next to five that still run


@jumping
async def test_the_services_limit_is_not_exceeded_for_a_minute() -> None:
    """After a minute the limit may have changed."""
    limiter = Limiter(TUNING)
    levels: Mapping[str, list[float]] = {"soon": [], "later": []}
    running = await taken(limiter, 3)
    limiter.refuse(await limiter.acquire(), 3)
    callers = [asyncio.create_task(limiter.acquire()) for _ in range(60)]
    for when in levels:
        for _ in range(20):
            limiter.end(running.pop(0))
            await asyncio.sleep(0.1)
            levels[when].append(limiter.level)
            for caller in [caller for caller in callers if caller.done()]:
                callers.remove(caller)
                limiter.start(caller.result())
                running.append(caller.result())
        await asyncio.sleep(TUNING.window_ceiling)
    assert max(levels["soon"]) == 3
    assert max(levels["later"]) > 3
