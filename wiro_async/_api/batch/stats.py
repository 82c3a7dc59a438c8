"""How a batch stands."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from time import monotonic

import attrs


@attrs.frozen
class BatchStats:
    """How a batch stands.

    Attributes:
        total: how many inputs there are, None while unknown.
        submitted: items that were sent or taken up again, those that came back from the journal included.
        in_flight: items that are neither ended nor skipped yet, from their submit on.
        succeeded, failed: ended items.
        skipped: items that were not tried, for want of budget.
        cost: US dollars billed for the items that ended, in an earlier process included.
        elapsed: seconds since it began.
        rate: items ended per second, those from the journal not counted.
        eta: seconds left by that rate, None while unknown.
        queued: items in flight whose task has not started yet.
        budget: US dollars it may spend, None without a budget.
    """

    total: int | None
    submitted: int
    in_flight: int
    succeeded: int
    failed: int
    skipped: int
    cost: Decimal
    elapsed: float
    rate: float
    eta: float | None
    queued: int = 0
    budget: Decimal | None = None


class Tally:
    """Counts what becomes of the items."""

    def __init__(self, total: int | None, budget: Decimal | None, queued: Callable[[], int]) -> None:
        self._total = total
        self._budget = budget
        self._queued = queued
        self._start: float | None = None
        self._end: float | None = None
        self._restored = 0
        self.submitted = self.succeeded = self.failed = self.skipped = 0
        self.cost = Decimal(0)

    def begin(self) -> None:
        """The batch begins."""
        self._start = monotonic()

    def finish(self) -> None:
        """The batch is over; its clock stops."""
        self._end = monotonic()

    @property
    def ended(self) -> int:
        """Items that are over, skipped ones included."""
        return self.succeeded + self.failed + self.skipped

    def end(self, succeeded: bool, cost: Decimal | None) -> None:
        """A submitted item has ended."""
        if succeeded:
            self.succeeded += 1
        else:
            self.failed += 1
        if cost:
            self.cost += cost

    def restore(self, succeeded: bool, cost: Decimal | None) -> None:
        """An item that ended in an earlier process was read from the journal."""
        self._restored += 1
        self.submitted += 1
        self.end(succeeded, cost)

    def stats(self) -> BatchStats:
        """What has been counted so far."""
        elapsed = 0.0
        if self._start is not None:
            elapsed = (self._end or monotonic()) - self._start
        in_flight = self.submitted - self.succeeded - self.failed
        rate = (self.succeeded + self.failed - self._restored) / elapsed if elapsed else 0.0
        left = None if self._total is None else max(0, self._total - self.ended)
        eta = 0.0 if left == 0 else left / rate if left is not None and rate else None
        return BatchStats(
            self._total,
            self.submitted,
            in_flight,
            self.succeeded,
            self.failed,
            self.skipped,
            self.cost,
            elapsed,
            rate,
            eta,
            min(in_flight, self._queued()),
            self._budget,
        )
