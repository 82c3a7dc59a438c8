"""Limiters that share an account, on a jumping clock: how well they use it, and at what cost."""

from __future__ import annotations

import asyncio
import heapq
from itertools import chain
from random import Random
from statistics import mean
from typing import TYPE_CHECKING

import attrs
import pytest

from wiro_async import Tuning
from wiro_async._engine.calls.limiter import Limiter, Slot

if TYPE_CHECKING:
    from tests.engine.conftest import Jump

SEEDS = range(4)
ROUND_TRIP, NEWS = 0.05, 0.05  # seconds until a run is answered, and until its end is known
TASK = 10.0


@attrs.define
class Account:
    """The limits of the service, and the requests it got."""

    limit: int
    dice: Random
    running: int = 0
    refusals: int = 0

    async def run(self, limiter: Limiter, seconds: float) -> None:
        """Submit one task, as often as necessary."""
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
    """Return the seconds for these tasks without gaps."""
    free = [0.0] * limit
    for task in tasks:
        heapq.heapreplace(free, free[0] + task)
    return max(free)


@attrs.define
class Trial:
    """Sessions with a number of tasks each, started `apart` seconds after each other, on one account."""

    sessions: int
    tasks: int
    limit: int = 20
    apart: float = 0.0
    shares: list[float] = attrs.field(factory=list[float])
    refusals: list[float] = attrs.field(factory=list[float])

    def play(self, jump: Jump) -> Trial:
        for seed in SEEDS:
            dice = Random(seed)
            jump(self._scenario(Account(self.limit, dice), dice))
        return self

    async def _scenario(self, account: Account, dice: Random) -> None:
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
def test_the_account_is_used_with_few_refusals(jump: Jump, trial: Trial, share: float, refusals: float) -> None:
    """Independent sessions use nearly all that is allowed, and are seldom refused."""
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
    """An account that one session fills is soon shared with a second one."""

    async def scenario() -> None:
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

    jump(scenario())
