"""Budgets: runs that do not fit are not submitted."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async import (
    AsyncWiro,
    BudgetExceededError,
    ConnectionFailedError,
    Estimate,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    RunRequest,
    SubmissionUnknownError,
    TaskCancelledError,
    TaskFailedError,
    TaskTimeoutError,
    Timeouts,
)
from wiro_async._api.batch.budget import Budget, Estimator
from wiro_async._api.batch.item_run import Attempted, may_be_billed
from wiro_async._api.batch.workers import Halted
from wiro_async._protocol.journal.record import Spending
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._types import OnCancel
from wiro_async.testing import Json, ModelScript, ResetAfter, Respond, Script, WiroEmulator, timeline

PAINTER = "emulator/painter"
SMALL = {"prompt": "A boat", "width": 16, "height": 16, "seconds": 0.1}
REQUEST = RunRequest("o/m")
BRIEF = Timeouts(request=0.5)


def price(total: Decimal | int | str, *, exact: bool = True) -> Estimate:
    """What `models.estimate` says."""
    return Estimate(Decimal(total), "run", "cpr", exact, Decimal(total))


async def unpriced(request: RunRequest) -> Estimate:
    """No price is known."""
    raise NotFoundError(message="no such model")


async def test_the_price_decides_how_many_run(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """At 4 cents a picture, a budget of 22 cents pays for five. The rest is skipped."""
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


async def test_failed_runs_free_their_reserve(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Failures are not billed: others may be tried for the same money."""
    requests = [RunRequest("emulator/failing", {"reason": "Out of memory."})] * 5
    requests += [RunRequest("emulator/sleeper", {"seconds": 0.1})] * 3
    async with wiro.batch(requests, concurrency=2, budget="0.002") as batch:
        await batch.results()
    assert (batch.stats.failed, batch.stats.succeeded, batch.stats.skipped) == (5, 2, 1)
    assert len(emulator.ledger.submissions) == 7


async def test_an_earlier_process_counts(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """With a journal, a second start may spend what the first one left."""
    journal = tmp_path / "run.sqlite"
    for count, succeeded, skipped in ((3, 3, 0), (8, 5, 3)):
        async with wiro.batch(PAINTER, [SMALL] * count, budget="0.20", journal=journal) as batch:
            await batch.results()
        assert (batch.stats.succeeded, batch.stats.skipped) == (succeeded, skipped)
    assert len(emulator.ledger.submissions) == 5


@pytest.mark.parametrize("budget", ["-1", "much", Decimal("NaN"), "inf"])
def test_invalid_budgets(budget: str | Decimal) -> None:
    """They are refused at once."""
    with pytest.raises(InvalidInputError, match="budget"):
        AsyncWiro("key").batch("o/m", [], budget=budget)


async def unknown(request: RunRequest) -> Estimate:
    """The service has neither a price nor a mean cost."""
    return price(0, exact=False)


async def forbidden(request: RunRequest) -> Estimate:
    """The price cannot be read at this moment."""
    raise PermissionDeniedError(message="no")


@pytest.mark.parametrize("estimator", [unpriced, unknown, forbidden], ids=lambda estimator: estimator.__name__)
async def test_one_at_a_time_until_a_cost_is_known(estimator: Estimator) -> None:
    """Without a price, the first run goes alone. Then the mean of the known costs is the estimate."""
    budget = Budget(Decimal(10), estimator)
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
    """The budget is exceeded at most by what the runs in flight cost beyond their estimates."""
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
            assert budget.spent + budget.reserved <= budget.limit + sum(beyond)
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
    assert budget.reserved == budget.in_flight == 0


async def test_a_run_of_unknown_cost() -> None:
    """The estimate counts as a cost."""

    async def two(request: RunRequest) -> Estimate:
        return price(2)

    budget = Budget(Decimal(3), two)
    budget.settle(await budget.reserve(REQUEST), True, None)
    assert budget.spent == 2
    with pytest.raises(BudgetExceededError):
        await budget.reserve(REQUEST)


async def test_an_estimate_that_was_too_low() -> None:
    """If the price is not exact, the mean cost so far is reserved, if that is more."""

    async def cheap(request: RunRequest) -> Estimate:
        return price(1, exact=False)

    budget = Budget(Decimal(20), cheap)
    first = await budget.reserve(REQUEST)
    budget.settle(first, True, Decimal(7))
    assert first.amount == 1
    assert (await budget.reserve(REQUEST)).amount == 7


async def test_an_exact_price_is_the_estimate() -> None:
    """It is reserved even if runs have cost more so far."""

    async def one(request: RunRequest) -> Estimate:
        return price(1)

    budget = Budget(Decimal(20), one)
    budget.settle(await budget.reserve(REQUEST), True, Decimal(7))
    assert (await budget.reserve(REQUEST)).amount == 1


async def test_a_run_whose_end_was_not_seen() -> None:
    """Its reserve counts as a cost."""

    async def two(request: RunRequest) -> Estimate:
        return price(2)

    budget = Budget(Decimal(3), two)
    budget.lose(await budget.reserve(REQUEST))
    assert budget.spent == 2
    with pytest.raises(BudgetExceededError):
        await budget.reserve(REQUEST)


async def test_nothing_goes_beside_a_run_of_unknown_cost() -> None:
    """Not even beside one that an earlier process made."""
    budget = Budget(Decimal("0.12"), unpriced)
    made = [await budget.resume_run(REQUEST) for _ in range(2)]
    entered: list[object] = []

    async def another() -> None:
        entered.append(await budget.reserve(REQUEST))

    async with anyio.create_task_group() as group:
        group.start_soon(another)
        await anyio.wait_all_tasks_blocked()
        assert not entered
        budget.settle(made[0], True, Decimal("0.04"))
        await anyio.wait_all_tasks_blocked()
        budget.settle(made[1], True, Decimal("0.04"))
    assert len(entered) == 1


async def test_earlier_costs_are_known_by_model() -> None:
    """A resumed budget estimates each model by its own costs."""
    budget = Budget(Decimal(10), unpriced)
    budget.resume({"o/m": Spending(Decimal(3), 2)})
    assert budget.spent == 3
    assert [(await budget.reserve(REQUEST)).amount for _ in range(2)] == [Decimal("1.5")] * 2


async def test_models_of_unknown_price_keep_the_budget() -> None:
    """Ten workers and twenty inputs of 4 cents each: 12 cents pay for three."""
    script = Script(timeline(0.5), cost=Decimal("0.04"))
    tool: dict[str, Json] = {
        "id": "901",
        "title": "x",
        "description": "",
        "categories": [],
        "cps": None,
        "approximatelycost": None,
    }
    model = ModelScript("x/unpriced", lambda given: script, tool=tool)
    with WiroEmulator(speed=50, models=[model]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro:
            inputs = [{"n": n} for n in range(20)]
            async with wiro.batch("x/unpriced", inputs, budget="0.12", concurrency=10) as batch:
                await batch.results()
    assert batch.stats.cost == Decimal("0.12")
    assert len(emulator.ledger.submissions) == 3


@pytest.mark.parametrize("on_exit, sent", [("leave", 3), ("stop", 9)])
async def test_runs_that_are_left_running_count(
    emulator: WiroEmulator, wiro: AsyncWiro, on_exit: OnCancel, sent: int
) -> None:
    """Runs that time out and are left count with their estimates. Stopped ones are not billed."""
    requests = [RunRequest("emulator/sleeper", {"seconds": 500, "n": n}, timeout=0.5) for n in range(9)]
    async with wiro.batch(requests, budget="0.003", concurrency=3, on_exit=on_exit) as batch:
        items = await batch.results()
    assert len(emulator.ledger.submissions) == sum(isinstance(item.error, TaskTimeoutError) for item in items) == sent


async def test_runs_with_lost_responses_count(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Responses are lost, and the list cannot be read: runs that may be billed count."""
    emulator.faults.http("Run/*", ResetAfter(), times=None)
    emulator.faults.http("Task/List", Respond(403), times=None)
    inputs = [{"seconds": 0.1, "n": n} for n in range(8)]
    async with wiro.batch("emulator/sleeper", inputs, budget="0.003", concurrency=8, timeout=BRIEF) as batch:
        items = await batch.results()
    kinds = [type(item.error) for item in items]
    assert (kinds.count(SubmissionUnknownError), kinds.count(BudgetExceededError)) == (3, 5)
    assert len(emulator.ledger.submissions) == 3


async def test_endless_inputs_end_with_the_budget(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """If the number of inputs is unknown, no more are taken, even while one is awaited."""
    taken = 0

    async def inputs() -> AsyncIterator[dict[str, object]]:
        nonlocal taken
        for taken in range(1, 6):
            yield {"seconds": 0.1, "n": taken}
        await anyio.sleep_forever()

    async with wiro.batch("emulator/sleeper", inputs(), budget="0.003", concurrency=8) as batch:
        with anyio.fail_after(20):
            items = await batch.results()
    assert sum(item.error is None for item in items) == len(emulator.ledger.submissions) == 3
    assert len(items) == taken == 5


async def test_skipped_items_do_not_stop_a_batch(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """on_error="stop" is about failures. Each skipped item is returned."""
    inputs = [{"seconds": 0.1, "n": n} for n in range(20)]
    async with wiro.batch("emulator/sleeper", inputs, budget="0.003", concurrency=2, on_error="stop") as batch:
        assert len(await batch.results()) == 20
    assert (batch.stats.succeeded, batch.stats.skipped) == (3, 17)


async def test_a_wrong_input_leaves_the_price_of_its_model(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """An item with a wrong input does not spoil the price of its model for the others."""
    bad: Any = "text"
    requests = [RunRequest(PAINTER, bad), *(RunRequest(PAINTER, {**SMALL, "n": n}) for n in range(3))]
    async with wiro.batch(requests, budget="1", concurrency=1) as batch:
        items = await batch.results()
    assert [type(item.error) for item in items] == [InvalidInputError, *[type(None)] * 3]


async def test_the_next_request_asks_for_the_price_again() -> None:
    """Only a model that does not exist stays without a price."""
    answers: Iterator[Exception | Estimate] = iter(
        [InvalidInputError(message="no"), PermissionDeniedError(message="no"), price(2)]
    )

    async def asked(request: RunRequest) -> Estimate:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    budget = Budget(Decimal(10), asked)
    for amount in (10, 10, 2):
        reserve = await budget.reserve(REQUEST)
        assert reserve.amount == amount
        budget.settle(reserve, False, None)


TASK = parse_task({"id": "1"})


@pytest.mark.parametrize(
    "error, attempted, on_exit, expected",
    [
        (SubmissionUnknownError(), "nothing", "stop", False),
        (TaskFailedError(TASK), "task known", "stop", False),
        (TaskCancelledError(TASK), "task known", "stop", False),
        (Halted(), "sent", "stop", False),
        (TaskTimeoutError("run", 1.0), "task known", "stop", False),
        (TaskTimeoutError("run", 1.0), "task known", "leave", True),
        (SubmissionUnknownError(), "sent", "stop", True),
        (InvalidInputError(message="no"), "sent", "stop", False),
        (InvalidInputError(message="no"), "task known", "stop", True),
        (ConnectionFailedError("refused", sent=False), "sent", "stop", False),
        (ConnectionFailedError("reset"), "sent", "stop", True),
        (ZeroDivisionError(), "task known", "stop", True),
    ],
    ids=repr,
)
def test_errors_of_runs_that_may_be_billed(
    error: Exception, attempted: Attempted, on_exit: OnCancel, expected: bool
) -> None:
    """Refused, failed and stopped runs are not billed. Any other sent run may be."""
    assert may_be_billed(error, attempted, on_exit) is expected


async def test_a_budget_of_zero() -> None:
    """A budget of 0 lets no run through whose price is unknown."""
    with pytest.raises(BudgetExceededError):
        await Budget(Decimal(0), unpriced).reserve(REQUEST)
