"""How a batch stands."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from time import monotonic

import attrs

from wiro_async._public import public


@public
@attrs.frozen
class BatchStats:
    """How a batch stands.

    Attributes:
        total: how many inputs there are, None while unknown.
        submitted: items that were sent or taken up again, or ended otherwise, those that came back from the journal
            included. What waits for a slot is not.
        in_flight: submitted items that have not ended yet; none, once the batch was left.
        succeeded, failed: ended items.
        skipped: items that were not tried, for want of budget.
        cost: US dollars billed for the items that ended, in an earlier process included.
        elapsed: seconds since it began.
        rate: items ended, and saved, if they are to be, per second; those from the journal not counted.
        eta: seconds left by that rate, None while unknown. Where no more is submitted, until what is in flight ends.
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
        self._done = 0
        self._is_stopped = False
        self.submitted = self.succeeded = self.failed = self.skipped = 0
        self.cost = Decimal(0)

    def begin(self) -> None:
        """The batch begins."""
        self._start = monotonic()

    def finish(self) -> None:
        """The batch is over; its clock stops."""
        self._end = monotonic()

    def stop(self) -> None:
        """Nothing more will be submitted."""
        self._is_stopped = True

    def give(self) -> None:
        """An item is ready to be given."""
        self._done += 1

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

    def _left(self) -> int | None:
        """How many items are not ready yet."""
        if self._is_stopped:
            return self.submitted + self.skipped - self._done
        return None if self._total is None else max(0, self._total - self._done)

    def stats(self) -> BatchStats:
        """What has been counted so far."""
        elapsed = 0.0
        if self._start is not None:
            elapsed = (self._end or monotonic()) - self._start
        is_over = self._end is not None
        in_flight = 0 if is_over else self.submitted - self.succeeded - self.failed
        rate = max(0, self._done - self._restored) / elapsed if elapsed else 0.0
        left = 0 if is_over else self._left()
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
