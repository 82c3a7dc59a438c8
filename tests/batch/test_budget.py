"""Budgets: what does not fit is not submitted."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async import AsyncWiro, BudgetExceededError, Estimate, InvalidInputError, NotFoundError, RunRequest
from wiro_async._api.batch.budget import Budget
from wiro_async.testing import WiroEmulator

PAINTER = "emulator/painter"
SMALL = {"prompt": "A boat", "width": 16, "height": 16, "seconds": 0.1}
REQUEST = RunRequest("o/m")


def price(total: Decimal | int | str, *, exact: bool = True) -> Estimate:
    """What `models.estimate` says."""
    return Estimate(Decimal(total), "run", "cpr", exact, Decimal(total))


async def unpriced(request: RunRequest) -> Estimate:
    """No price is known."""
    raise NotFoundError(message="no such model")


async def test_so_many_as_the_price_allows(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """At 4 cents a picture, a budget of 22 cents is good for five; the rest is skipped."""
    async with wiro.batch(PAINTER, [SMALL] * 12, concurrency=6, budget=Decimal("0.22")) as batch:
        items = await batch.results()
    skipped = [item for item in items if isinstance(item.error, BudgetExceededError)]
    assert len(emulator.ledger.submissions) == 5
    assert (batch.stats.succeeded, batch.stats.failed, batch.stats.skipped) == (5, 0, 7)
    assert batch.stats.in_flight == 0
    assert batch.stats.cost == Decimal("0.20")
    assert len(skipped) == 7
    assert {item.attempts for item in skipped} == {0}
    assert "$0.22" in str(skipped[0].error)


async def test_failed_runs_give_their_room_back(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Failures are not billed: others may be tried for the same money."""
    requests = [RunRequest("emulator/failing", {"reason": "Out of memory."})] * 5
    requests += [RunRequest("emulator/sleeper", {"seconds": 0.1})] * 3
    async with wiro.batch(requests, concurrency=2, budget="0.002") as batch:
        await batch.results()
    assert (batch.stats.failed, batch.stats.succeeded, batch.stats.skipped) == (5, 2, 1)
    assert len(emulator.ledger.submissions) == 7


async def test_an_earlier_process_counts(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """With a journal, a second start has what the first one left."""
    journal = tmp_path / "run.sqlite"
    for count, succeeded, skipped in ((3, 3, 0), (8, 5, 3)):
        async with wiro.batch(PAINTER, [SMALL] * count, budget="0.20", journal=journal) as batch:
            await batch.results()
        assert (batch.stats.succeeded, batch.stats.skipped) == (succeeded, skipped)
    assert len(emulator.ledger.submissions) == 5


@pytest.mark.parametrize("budget", ["-1", "much", Decimal("NaN"), "inf"])
def test_budgets_that_are_none(budget: str | Decimal) -> None:
    """They are refused at once."""
    with pytest.raises(InvalidInputError, match="budget"):
        AsyncWiro("key").batch("o/m", [], budget=budget)


async def test_one_at_a_time_until_a_cost_is_known() -> None:
    """Without a price, the first run goes alone; the mean of what is known is the estimate then."""
    budget = Budget(Decimal(10), unpriced)
    first = await budget.reserve(REQUEST)
    entered: list[object] = []

    async def another() -> None:
        entered.append(await budget.reserve(REQUEST))

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(another)
        await anyio.wait_all_tasks_blocked()
        assert not entered
        budget.settle(first, True, Decimal(3))
    assert len(entered) == 2


@given(st.integers(0, 2**32), st.integers(1, 12), st.booleans())
def test_the_overshoot_is_bounded(seed: int, workers: int, priced: bool) -> None:
    """Whatever runs cost, what is spent exceeds the budget at most by what runs in flight cost beyond estimates."""
    dice = random.Random(seed)

    async def estimate(request: RunRequest) -> Estimate:
        if not priced:
            raise NotFoundError(message="none")
        return price(dice.randint(0, 40))

    budget = Budget(Decimal(200), estimate)
    beyond: list[Decimal] = []
    refused: list[int] = []

    async def work() -> None:
        for number in range(15):
            try:
                reserve = await budget.reserve(REQUEST)
            except BudgetExceededError:
                refused.append(number)
                continue
            assert not refused, "after the first refusal nothing is let through"
            assert budget.spent + budget._reserved <= budget.limit + sum(beyond)
            await anyio.lowlevel.checkpoint()
            cost = Decimal(dice.randint(0, 60))
            succeeded = dice.random() < 0.8
            beyond.append(max(Decimal(0), cost - reserve.amount) if succeeded else Decimal(0))
            budget.settle(reserve, succeeded, cost)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(workers):
                group.start_soon(work)

    anyio.run(main)
    assert budget.spent <= budget.limit + sum(beyond)
    assert budget._reserved == budget._in_flight == 0


async def test_a_cost_that_is_not_told() -> None:
    """The estimate counts as spent."""

    async def two(request: RunRequest) -> Estimate:
        return price(2)

    budget = Budget(Decimal(3), two)
    budget.settle(await budget.reserve(REQUEST), True, None)
    assert budget.spent == 2
    with pytest.raises(BudgetExceededError):
        await budget.reserve(REQUEST)


async def test_no_money_at_all() -> None:
    """A budget of nothing lets nothing through whose price is unknown."""
    with pytest.raises(BudgetExceededError):
        await Budget(Decimal(0), unpriced).reserve(REQUEST)
