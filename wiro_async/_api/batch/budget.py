"""A batch's budget: room is reserved before every run, and given back when its cost is known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import ROUND_UP, Decimal
from typing import TypeAlias

import anyio
import attrs

from wiro_async._api.batch.items import RunRequest
from wiro_async._errors import BudgetExceededError, WiroError

FINEST = Decimal("1E-9")  # a mean is no finer than this, so that what is reserved is given back exactly
Estimator: TypeAlias = Callable[[RunRequest], Awaitable[Decimal]]


@attrs.define(eq=False)
class Reserve:
    """Money kept for one run.

    Attributes:
        is_guess: whether nothing is known of its cost, so that all that was left is kept.
    """

    model: str
    amount: Decimal
    is_guess: bool


@attrs.define
class _Mean:
    total: Decimal = Decimal(0)
    count: int = 0


class Budget:
    """Lets runs through while what is spent, what is reserved for runs in flight, and the next estimate fit.

    The estimate is the model's price, else the mean of what its runs have cost so far. Where neither is known, one
    run goes alone. A run may cost more than its estimate: the budget can be overrun by as much as the estimates of
    the runs in flight were too low, and by nothing else.

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
        self._means: dict[str, _Mean] = {}
        self._unpriced: set[str] = set()
        self._changed = anyio.Event()

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
        known = self._wanted(request.model, await self._estimate(request))
        return self._take(Reserve(request.model, Decimal(0) if known.is_guess else known.amount, False))

    def settle(self, reserve: Reserve, succeeded: bool, cost: Decimal | None) -> None:
        """A run has ended: only those that succeeded are billed."""
        self._reserved -= reserve.amount
        self._in_flight -= 1
        if succeeded and cost is not None:
            mean = self._means.setdefault(reserve.model, _Mean())
            mean.total += cost
            mean.count += 1
            self.spent += cost
        elif succeeded and not reserve.is_guess:  # the service did not tell
            self.spent += reserve.amount
        self._tell()

    def _wanted(self, model: str, estimate: Decimal | None) -> Reserve:
        if estimate is not None:
            return Reserve(model, estimate, False)
        mean = self._means.get(model)
        if mean is not None:
            return Reserve(model, (mean.total / mean.count).quantize(FINEST, ROUND_UP), False)
        return Reserve(model, self.limit - self.spent, True)

    def _fits(self, reserve: Reserve) -> bool:
        if reserve.amount < 0 or (reserve.is_guess and not reserve.amount):
            return False
        return self.spent + self._reserved + reserve.amount <= self.limit

    def _take(self, reserve: Reserve) -> Reserve:
        self._reserved += reserve.amount
        self._in_flight += 1
        return reserve

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _estimate(self, request: RunRequest) -> Decimal | None:
        if request.model in self._unpriced:
            return None
        try:
            return await self._estimator(request)
        except WiroError:
            self._unpriced.add(request.model)
            return None
