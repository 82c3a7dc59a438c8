"""What a report shows of a batch, kept in bounded space.

A batch may have a million items, and nobody knows before its end. So times are counted in buckets that double their
width when they are full, and of the items every second one is dropped whenever there are too many.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import attrs

from wiro_async._errors import BudgetExceededError, TaskFailedError

if TYPE_CHECKING:
    from wiro_async._api.results.batch_items import BatchItem

MOST_SPANS = 4000
MOST_PICTURES = 60
MOST_REASONS = 30
BUCKETS = 480
STEPS_PER_DOUBLING = 4
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif")


@attrs.frozen
class Span:
    """One item's time, in seconds since the batch began.

    Attributes:
        submitted, ended: of its run.
        running: when the model began to work, as far as the service reports it.
        done: when its outputs were saved.
    """

    index: int
    key: str
    submitted: float
    running: float
    ended: float
    done: float
    succeeded: bool


@attrs.define
class Flow:
    """Tasks in flight over time: submits and ends, counted in buckets that grow with the batch."""

    width: float = 0.05
    starts: list[int] = attrs.field(factory=lambda: [0] * BUCKETS)
    ends: list[int] = attrs.field(factory=lambda: [0] * BUCKETS)

    def add(self, start: float, end: float) -> None:
        """Count one run; its times are in seconds since the batch began."""
        while end >= self.width * BUCKETS:
            self.starts, self.ends = _halved(self.starts), _halved(self.ends)
            self.width *= 2
        self.starts[int(start / self.width)] += 1
        self.ends[int(end / self.width)] += 1

    def levels(self) -> list[int]:
        """Return how many were in flight in each bucket, as exactly as buckets can show it."""
        levels: list[int] = []
        present = 0
        for starts, ends in zip(self.starts, self.ends, strict=True):
            before, present = present, present + starts - ends
            levels.append(max(before, present, min(1, starts)))
        return levels


class History:
    """Counts, samples and groups the ended items of a batch.

    Args:
        clock: returns a time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._start = 0.0
        self._every = 1
        self.spans: list[Span] = []  # the times of some items; of all, while there are few
        self.flow = Flow()  # tasks in flight over time
        self.durations: Counter[int] = Counter()  # ended runs by their length, in steps of a quarter of a doubling
        self.reasons: Counter[str] = Counter()  # failures by their messages
        self.models: dict[str, tuple[int, Decimal]] = {}  # how many runs succeeded, and what they cost, by model
        self.pictures: list[tuple[str, Path]] = []  # the first saved ones, with their items' keys

    def begin(self) -> None:
        self._start = self._clock()

    def add(self, item: BatchItem, began: float | None, ended: float) -> None:
        """Add an item that has ended.

        Args:
            began, ended: the times of its run. `began` is None if it came from the journal, or was skipped.
        """
        if item.result is not None:
            count, cost = self.models.get(item.request.model, (0, Decimal(0)))
            if count or len(self.models) < MOST_REASONS:
                self.models[item.request.model] = count + 1, cost + (item.result.cost or 0)
        elif not isinstance(item.error, BudgetExceededError):
            reason = reason_of(item.error)
            known = reason in self.reasons or len(self.reasons) < MOST_REASONS
            self.reasons[reason if known else "other reasons"] += 1
        if began is not None:
            self._add_times(item, began - self._start, ended - self._start)
        for path in item.saved:
            if path.suffix.lower() in PICTURES and len(self.pictures) < MOST_PICTURES:
                self.pictures.append((item.key, path))

    def _add_times(self, item: BatchItem, submitted: float, ended: float) -> None:
        self.flow.add(submitted, ended)
        self.durations[step_of(ended - submitted)] += 1
        if item.index % self._every:
            return
        elapsed = (item.result.elapsed if item.result is not None else None) or 0.0
        running = max(submitted, ended - elapsed) if elapsed else submitted
        done = self._clock() - self._start if item.saved else ended
        succeeded = item.result is not None
        self.spans.append(Span(item.index, item.key, submitted, running, ended, done, succeeded))
        if len(self.spans) > MOST_SPANS:
            self._every *= 2
            self.spans = [span for span in self.spans if span.index % self._every == 0]


def reason_of(error: Exception | None) -> str:
    """Return what an error says, shortened so that equal failures have equal reasons."""
    if isinstance(error, TaskFailedError):
        lines = (error.info.error_log or error.info.log).strip().splitlines()
        return lines[-1][:200] if lines else "failed without a reason"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def step_of(seconds: float) -> int:
    """Return the step of the histogram that a duration belongs to."""
    return math.floor(math.log2(max(seconds, 1e-3)) * STEPS_PER_DOUBLING)


def seconds_of(step: int) -> float:
    return float(2 ** (step / STEPS_PER_DOUBLING))


def _halved(counts: list[int]) -> list[int]:
    pairs = [counts[i] + counts[i + 1] for i in range(0, BUCKETS, 2)]
    return pairs + [0] * (BUCKETS - len(pairs))
