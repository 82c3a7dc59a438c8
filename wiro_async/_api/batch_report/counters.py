"""Counts how far a batch has come."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from time import monotonic

import attrs

from wiro_async._public import public


@public
@attrs.frozen
class BatchStats:
    """How far a batch has come.

    Attributes:
        total: how many inputs there are, None while unknown.
        submitted: items that were sent or resumed, or ended otherwise, also those that came from the journal. Items
            that wait for a slot do not count.
        in_flight: submitted items that have not ended yet; 0 once the batch was left.
        succeeded, failed: ended items.
        skipped: items that were not tried because the budget was used up.
        cost: US dollars billed for the ended items, also in earlier processes.
        elapsed: seconds since it began.
        rate: items ended, and saved if they are to be saved, per second. Items from the journal do not count.
        eta: seconds left at that rate, None while unknown. If no more is submitted: until the runs in flight end.
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


class Counters:
    """Counts what becomes of the items.

    An item is first sent or not, then ends in one of four ways: ended, restored, skipped or dropped.

    Args:
        queued: returns how many tasks in flight have not started yet.
    """

    def __init__(self, total: int | None, budget: Decimal | None, queued: Callable[[], int]) -> None:
        self._total = total
        self._budget = budget
        self._queued = queued
        self._start: float | None = None
        self._end: float | None = None
        self._restored = 0
        self._ready = 0
        self._is_stopped = False
        self._submitted = self._succeeded = self._failed = self._skipped = 0
        self._cost = Decimal(0)

    def begin(self) -> None:
        self._start = monotonic()

    def finish(self) -> None:
        """Stop the clock: the batch is over."""
        self._end = monotonic()

    def stop(self) -> None:
        """Expect no more submissions."""
        self._is_stopped = True

    def send(self) -> None:
        self._submitted += 1

    def end(self, was_sent: bool, succeeded: bool, cost: Decimal | None) -> None:
        self._submitted += not was_sent
        self._succeeded += succeeded
        self._failed += not succeeded
        if cost:
            self._cost += cost

    def restore(self, succeeded: bool, cost: Decimal | None) -> None:
        """Count an item that ended in an earlier process and was read from the journal."""
        self._restored += 1
        self.end(False, succeeded, cost)

    def skip(self, was_sent: bool) -> None:
        """Count an item that the budget has no room for. A task that an earlier process made for it has no result."""
        self._skipped += 1
        self.drop(was_sent)

    def drop(self, was_sent: bool) -> None:
        """Forget an item that will not be returned."""
        self._submitted -= was_sent

    def ready(self) -> None:
        """Count an item that can be returned to the user."""
        self._ready += 1

    def stats(self) -> BatchStats:
        elapsed = 0.0
        if self._start is not None:
            elapsed = (self._end or monotonic()) - self._start
        is_over = self._end is not None
        in_flight = 0 if is_over else self._submitted - self._succeeded - self._failed
        rate = max(0, self._ready - self._restored) / elapsed if elapsed else 0.0
        left: int | None
        if is_over:
            left = 0
        elif self._is_stopped:
            left = self._submitted + self._skipped - self._ready
        else:
            left = None if self._total is None else max(0, self._total - self._ready)
        eta = 0.0 if left == 0 else left / rate if left is not None and rate else None
        return BatchStats(
            self._total,
            self._submitted,
            in_flight,
            self._succeeded,
            self._failed,
            self._skipped,
            self._cost,
            elapsed,
            rate,
            eta,
            min(in_flight, self._queued()),
            self._budget,
        )
