"""Limiters that share an account, in a loop whose clock jumps: how well they use it, and what it costs."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Mapping
from itertools import chain
from random import Random
from statistics import mean
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from wiro_async import Tuning
from wiro_async._engine.calls.limiter import Limiter, Slot

if TYPE_CHECKING:
    from tests.engine.conftest import Jump

SEEDS = range(4)
ROUND_TRIP, NEWS = 0.05, 0.05  # seconds until a run is answered, and until its end is known
TASK = 10.0
TUNING = Tuning()


@attrs.define
class Account:
    """What the service allows, and what it was asked."""

    limit: int
    dice: Random
    running: int = 0
    refusals: int = 0

    async def run(self, limiter: Limiter, seconds: float) -> None:
        """One task, submitted as often as it takes."""
        slot = await limiter.acquire()
        while not await self._is_taken(limiter, slot):
            slot = await limiter.acquire(instead_of=slot)
        await asyncio.sleep(seconds)
        self.running -= 1
        await asyncio.sleep(NEWS * self.dice.uniform(0.5, 1.5))
        limiter.end(slot)

    async def _is_taken(self, limiter: Limiter, slot: Slot) -> bool:
        await asyncio.sleep(ROUND_TRIP * self.dice.uniform(0.25, 0.75))
        taken = self.running < self.limit
        self.running += taken
        await asyncio.sleep(ROUND_TRIP / 2)
        if taken:
            limiter.start(slot)
        else:
            self.refusals += 1
            limiter.refuse(slot, self.limit)
        return taken


def ideal(tasks: list[float], limit: int) -> float:
    """Seconds for these tasks without a gap between them."""
    free = [0.0] * limit
    for task in tasks:
        heapq.heapreplace(free, free[0] + task)
    return max(free)


@attrs.define
class Trial:
    """So many sessions with so many tasks each, `apart` seconds one after the other, on one account."""

    sessions: int
    tasks: int
    limit: int = 20
    apart: float = 0.0
    shares: list[float] = attrs.field(factory=list[float])
    refusals: list[float] = attrs.field(factory=list[float])

    def play(self, jump: Jump) -> Trial:
        for seed in SEEDS:
            dice = Random(seed)
            jump(self._story(Account(self.limit, dice), dice))
        return self

    async def _story(self, account: Account, dice: Random) -> None:
        work = [[TASK * dice.uniform(0.8, 1.2) for _ in range(self.tasks)] for _ in range(self.sessions)]
        async with asyncio.TaskGroup() as group:
            for number, tasks in enumerate(work):
                group.create_task(self._session(account, tasks, number * self.apart))
        best = ideal(list(chain.from_iterable(zip(*work, strict=True))), self.limit)
        self.shares.append(best / asyncio.get_running_loop().time())
        self.refusals.append(account.refusals / (self.tasks * self.sessions))

    async def _session(self, account: Account, tasks: list[float], begin: float) -> None:
        await asyncio.sleep(begin)
        limiter = Limiter(Tuning(random=account.dice.random))
        async with asyncio.TaskGroup() as group:
            for seconds in tasks:
                group.create_task(account.run(limiter, seconds))


@pytest.mark.parametrize(
    "trial, share, refusals",
    [
        (Trial(1, 300), 0.97, 0.1),
        (Trial(3, 150), 0.93, 0.17),
        (Trial(3, 150, apart=0.5), 0.9, 0.18),
        (Trial(5, 90), 0.91, 0.26),
        (Trial(2, 400, limit=100), 0.9, 0.12),
        (Trial(3, 40, limit=3), 0.9, 1.0),
    ],
    ids=["alone", "three", "one after the other", "five", "many", "few"],
)
def test_the_account_is_used_without_asking_much(jump: Jump, trial: Trial, share: float, refusals: float) -> None:
    """Sessions that know nothing of each other use nearly all that is allowed, and are seldom refused."""
    trial.play(jump)
    assert mean(trial.shares) >= share
    assert mean(trial.refusals) <= refusals


async def _always(account: Account, limiter: Limiter, callers: int) -> None:
    async def use() -> None:
        while True:
            await account.run(limiter, TASK * account.dice.uniform(0.5, 1.5))

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(use())


def test_a_late_session_gets_a_share(jump: Jump) -> None:
    """An account that one session has filled is shared with a second one before long."""

    async def story() -> None:
        account = Account(20, Random(1))
        tuning = Tuning(random=Random(2).random)
        early, late = Limiter(tuning), Limiter(tuning)
        first = asyncio.create_task(_always(account, early, 40))
        await asyncio.sleep(5 * TASK)
        assert early.in_flight == 20
        second = asyncio.create_task(_always(account, late, 40))
        await asyncio.sleep(20 * TASK)
        held: list[int] = []
        for _ in range(100):
            await asyncio.sleep(TASK / 10)
            held.append(late.in_flight)
        assert 5 < mean(held) < 15
        assert not first.done()
        assert not second.done()

    jump(story())


async def taken(limiter: Limiter, count: int) -> list[Slot]:
    """So many running tasks."""
    slots: list[Slot] = []
    for _ in range(count):
        slots.append(await limiter.acquire())
        limiter.start(slots[-1])
    return slots


def told(story: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[Jump], None]:
    """A test told on a jumping clock."""

    def test(jump: Jump) -> None:
        jump(story())

    test.__doc__ = story.__doc__
    return test


@told
async def test_few_unanswered_at_first() -> None:
    """While no limit is known, few runs are sent unanswered; each answer, or a second, allows more."""
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


@told
async def test_a_refused_run_waits_for_an_end() -> None:
    """Nothing is sent into an account that is full, until a task of one's own ends."""
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


@told
async def test_probes_are_rare_beside_a_long_task() -> None:
    """Tasks of others may end while none of one's own does: one is sent to look, and less and less often in vain."""
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


@told
async def test_slots_of_others_are_found_beside_a_long_task() -> None:
    """Once one was found free the next is looked for soon, up to the limit that was named."""
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


@told
async def test_probes_are_frequent_without_own_tasks() -> None:
    """Others may have filled the account: only time helps, and one caller at a time is sent to look."""
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


@told
async def test_a_429_takes_a_quarter_and_regrows_fast() -> None:
    """Too many requests: fewer tasks at once, and from then on one more with each that ends."""
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


@told
async def test_the_services_number_is_not_passed_for_a_minute() -> None:
    """After that it may have changed."""
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
