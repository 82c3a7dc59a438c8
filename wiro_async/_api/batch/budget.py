"""A batch's budget: room is reserved before every run, and given back when its cost is known.

The cost of a run is known only after it. So a run is let through if money spent, money reserved for the runs in flight
and its own estimate fit. The estimate is the model's price, where that is exact. Otherwise it is the mean cost of the
model's runs so far, or the price, whichever is more. Where neither is known, one run goes alone and reserves all.
A run may cost more than its estimate, so the budget can be exceeded by what the runs in flight cost beyond theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from decimal import ROUND_UP, Decimal
from typing import TypeAlias

import attrs

from wiro_async._api.results.batch_items import RunRequest
from wiro_async._engine.background.change import Change
from wiro_async._errors import BudgetExceededError, NotFoundError
from wiro_async._protocol.journal.record import Spending
from wiro_async._protocol.models.pricing import Estimate

logger = logging.getLogger("wiro_async")
FINEST = Decimal("1E-9")  # a mean is no finer than this, so that what is reserved is given back exactly
Estimator: TypeAlias = Callable[[RunRequest], Awaitable[Estimate]]


@attrs.frozen(eq=False)
class Reserve:
    """Money kept for one run."""

    model: str
    amount: Decimal
    is_guess: bool  # whether nothing is known of its cost, so that all the rest is reserved


class Budget:
    """Lets runs through while they fit."""

    def __init__(self, limit: Decimal, estimator: Estimator) -> None:
        self.limit = limit  # US dollars
        self.spent = Decimal(0)  # US dollars billed. A run whose end was not seen counts with what was reserved for it.
        self.reserved = Decimal(0)  # US dollars reserved for the runs in flight
        self.in_flight = 0  # how many runs these are
        self._estimator = estimator
        self._is_exhausted = False
        self._spendings: dict[str, Spending] = {}
        self._unpriced: set[str] = set()
        self._changed = Change()

    def resume(self, spendings: Mapping[str, Spending]) -> None:
        """Add what earlier processes have spent, by model."""
        self._spendings = dict(spendings)
        self.spent = sum((spending.total for spending in spendings.values()), Decimal(0))

    async def reserve(self, request: RunRequest) -> Reserve:
        """Wait until there is room for a run, or until no run in flight can free any.

        Raises:
            BudgetExceededError: there is no room, and from now on there is none for any run.
        """
        estimate = None if self._is_exhausted else await self._estimate(request)
        while not self._is_exhausted:
            reserve = self._wanted(request.model, estimate)
            # A guess reserves all: it goes alone, and not for a budget of nothing.
            goes_alone = not self.in_flight and reserve.amount
            if (goes_alone or not reserve.is_guess) and self.spent + self.reserved + reserve.amount <= self.limit:
                return self._take(reserve)
            if not self.in_flight:
                self._is_exhausted = True
                self._changed.notify()
                break
            await self._changed.wait()
        raise BudgetExceededError(
            f"the budget of ${self.limit} leaves no room for this run: ${self.spent.normalize():f} are spent. "
            "It was not submitted; run it with another budget"
        )

    async def resume_run(self, request: RunRequest) -> Reserve:
        """Reserve for a run that an earlier process made, even if there is no room."""
        return self._take(self._wanted(request.model, await self._estimate(request)))

    def settle(self, reserve: Reserve, succeeded: bool, cost: Decimal | None) -> None:
        """End a reserve: its run has ended. Only runs that succeeded are billed."""
        if succeeded and cost is not None:
            self._spendings[reserve.model] = self._spendings.get(reserve.model, Spending()) + Spending(cost, 1)
            self.spent += cost
        elif succeeded and not reserve.is_guess:  # the service did not say what it cost
            self.spent += reserve.amount
        self._give_back(reserve)

    def lose(self, reserve: Reserve) -> None:
        """End a reserve of whose run it will never be known whether it was billed."""
        self.spent += reserve.amount
        self._give_back(reserve)

    def _wanted(self, model: str, estimate: Estimate | None) -> Reserve:
        if estimate is not None and estimate.exact:
            return Reserve(model, estimate.total, False)
        known = self._spendings.get(model)
        mean = (known.total / known.runs).quantize(FINEST, ROUND_UP) if known is not None else Decimal(0)
        amount = mean if estimate is None else max(mean, estimate.total)
        if known is None and not amount:
            return Reserve(model, max(Decimal(0), self.limit - self.spent - self.reserved), True)
        return Reserve(model, amount, False)

    def _take(self, reserve: Reserve) -> Reserve:
        self.reserved += reserve.amount
        self.in_flight += 1
        return reserve

    def _give_back(self, reserve: Reserve) -> None:
        self.reserved -= reserve.amount
        self.in_flight -= 1
        self._changed.notify()

    async def _estimate(self, request: RunRequest) -> Estimate | None:
        if request.model in self._unpriced:
            return None
        try:
            return await self._estimator(request)
        except NotFoundError:
            self._unpriced.add(request.model)
        except Exception as error:  # if the request itself is wrong, sending it says so
            logger.debug("the cost of a run of %s is unknown: %s", request.model, error)
        return None
