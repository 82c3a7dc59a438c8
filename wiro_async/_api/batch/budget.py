"""A batch's budget: room is reserved before every run, and given back when its cost is known."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from decimal import ROUND_UP, Decimal
from typing import TypeAlias

import anyio
import attrs

from wiro_async._api.batch.batch_items import RunRequest
from wiro_async._api.journal import Spending
from wiro_async._errors import BudgetExceededError, NotFoundError
from wiro_async._protocol.models.pricing import Estimate

logger = logging.getLogger("wiro_async")
FINEST = Decimal("1E-9")  # a mean is no finer than this, so that what is reserved is given back exactly
Estimator: TypeAlias = Callable[[RunRequest], Awaitable[Estimate]]


@attrs.define(eq=False)
class Reserve:
    """Money kept for one run.

    Attributes:
        is_guess: whether nothing is known of its cost, so that all that was left is kept.
    """

    model: str
    amount: Decimal
    is_guess: bool


class Budget:
    """Lets runs through while what is spent, what is reserved for runs in flight, and the next estimate fit.

    The estimate is the model's price, where that is exact; else what its runs have cost so far on average, or its
    price, whichever is more. Where neither is known, one run goes alone. A run whose end was not seen counts as if
    it had cost what was reserved for it. A run may cost more than its estimate: the budget can be overrun by as much
    as the estimates of the runs in flight were too low, and by nothing else.

    Attributes:
        limit: US dollars.
        spent: US dollars billed.
    """

    def __init__(self, limit: Decimal, estimator: Estimator) -> None:
        self.limit = limit
        self.spent = Decimal(0)
        self._estimator = estimator
        self._reserved = Decimal(0)
        self._in_flight = 0
        self._is_exhausted = False
        self._spendings: dict[str, Spending] = {}
        self._unpriced: set[str] = set()
        self._changed = anyio.Event()

    def resume(self, spendings: Mapping[str, Spending]) -> None:
        """Take over what earlier processes have spent, by model."""
        self._spendings = dict(spendings)
        self.spent = sum((spending.total for spending in spendings.values()), Decimal(0))

    async def reserve(self, request: RunRequest) -> Reserve:
        """Wait until there is room for a run, or until none can be freed any more.

        Raises:
            BudgetExceededError: there is no room; from now on there is none for any run.
        """
        estimate = None if self._is_exhausted else await self._estimate(request)
        while not self._is_exhausted:
            reserve = self._wanted(request.model, estimate)
            if self._fits(reserve):
                return self._take(reserve)
            if not self._in_flight:
                self._is_exhausted = True
                self._tell()
                break
            await self._changed.wait()
        raise BudgetExceededError(
            f"the budget of ${self.limit} leaves no room for this run: ${self.spent.normalize():f} are spent"
        )

    async def take_up(self, request: RunRequest) -> Reserve:
        """Reserve for a run that was made before, whether there is room or not."""
        return self._take(self._wanted(request.model, await self._estimate(request)))

    def settle(self, reserve: Reserve, succeeded: bool, cost: Decimal | None) -> None:
        """A run has ended: only those that succeeded are billed."""
        if succeeded and cost is not None:
            self._spendings[reserve.model] = self._spendings.get(reserve.model, Spending()) + Spending(cost, 1)
            self.spent += cost
        elif succeeded and not reserve.is_guess:  # the service did not tell
            self.spent += reserve.amount
        self._give_back(reserve)

    def lose(self, reserve: Reserve) -> None:
        """Whether a run has ended, and for how much, will not be known."""
        self.spent += reserve.amount
        self._give_back(reserve)

    def _wanted(self, model: str, estimate: Estimate | None) -> Reserve:
        if estimate is not None and estimate.exact:
            return Reserve(model, estimate.total, False)
        known = self._spendings.get(model)
        mean = (known.total / known.runs).quantize(FINEST, ROUND_UP) if known is not None else Decimal(0)
        amount = mean if estimate is None else max(mean, estimate.total)
        if known is None and not amount:
            return Reserve(model, max(Decimal(0), self.limit - self.spent - self._reserved), True)
        return Reserve(model, amount, False)

    def _fits(self, reserve: Reserve) -> bool:
        if reserve.is_guess and (self._in_flight or not reserve.amount):
            return False
        return self.spent + self._reserved + reserve.amount <= self.limit

    def _take(self, reserve: Reserve) -> Reserve:
        self._reserved += reserve.amount
        self._in_flight += 1
        return reserve

    def _give_back(self, reserve: Reserve) -> None:
        self._reserved -= reserve.amount
        self._in_flight -= 1
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _estimate(self, request: RunRequest) -> Estimate | None:
        if request.model in self._unpriced:
            return None
        try:
            return await self._estimator(request)
        except NotFoundError:
            self._unpriced.add(request.model)
        except Exception as error:  # what is wrong with the request is told when it is sent
            logger.debug("what a run of %s may cost is not known: %s", request.model, error)
        return None
