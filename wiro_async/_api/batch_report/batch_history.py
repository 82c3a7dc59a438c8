"""What a report tells of a batch, kept in a bounded space however many items there are."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from pathlib import Path
from time import monotonic

import attrs

from wiro_async._api.batch.batch_items import BatchItem
from wiro_async._errors import BudgetExceededError, TaskFailedError

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
        submitted, ended: its run.
        running: when the model began to work, as far as the service told.
        done: when its outputs were saved, too.
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
        """Count one run."""
        while end >= self.width * BUCKETS:
            self.starts, self.ends = _halved(self.starts), _halved(self.ends)
            self.width *= 2
        self.starts[int(start / self.width)] += 1
        self.ends[int(end / self.width)] += 1

    def levels(self) -> list[int]:
        """How many were in flight in each bucket, as far as buckets can tell."""
        levels: list[int] = []
        present = 0
        for starts, ends in zip(self.starts, self.ends, strict=True):
            before, present = present, present + starts - ends
            levels.append(max(before, present, min(1, starts)))
        return levels


class History:
    """Counts, samples and groups the ended items of a batch.

    Attributes:
        spans: some items' times; all, while there are few.
        durations: ended runs by their length, in steps of a quarter of a doubling.
        reasons: failures by what they say.
        models: how many succeeded, and what they cost, by model.
        pictures: the first saved ones, with their items' keys.
    """

    def __init__(self) -> None:
        self._start = 0.0
        self._every = 1
        self.spans: list[Span] = []
        self.flow = Flow()
        self.durations: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()
        self.models: dict[str, tuple[int, Decimal]] = {}
        self.pictures: list[tuple[str, Path]] = []

    def begin(self) -> None:
        """The batch begins."""
        self._start = monotonic()

    def add(self, item: BatchItem, began: float | None, ended: float) -> None:
        """An item is over.

        Args:
            began, ended: loop times of its run; None for one that was read from the journal, or skipped.
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
            self._add_time(item, began - self._start, ended - self._start)
        for path in item.saved:
            if path.suffix.lower() in PICTURES and len(self.pictures) < MOST_PICTURES:
                self.pictures.append((item.key, path))

    def _add_time(self, item: BatchItem, submitted: float, ended: float) -> None:
        self.flow.add(submitted, ended)
        self.durations[step_of(ended - submitted)] += 1
        if item.index % self._every:
            return
        elapsed = (item.result.elapsed if item.result is not None else None) or 0.0
        running = max(submitted, ended - elapsed) if elapsed else submitted
        done = monotonic() - self._start if item.saved else ended
        succeeded = item.result is not None
        self.spans.append(Span(item.index, item.key, submitted, running, ended, done, succeeded))
        if len(self.spans) > MOST_SPANS:
            self._every *= 2
            self.spans = [span for span in self.spans if span.index % self._every == 0]


def reason_of(error: Exception | None) -> str:
    """What an error says, without what makes it different from its like."""
    if isinstance(error, TaskFailedError):
        lines = (error.info.error_log or error.info.log).strip().splitlines()
        return lines[-1][:200] if lines else "failed without saying why"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def step_of(seconds: float) -> int:
    """Which step of the histogram a duration falls into."""
    return math.floor(math.log2(max(seconds, 1e-3)) * STEPS_PER_DOUBLING)


def seconds_of(step: int) -> float:
    """Where a step begins."""
    return float(2 ** (step / STEPS_PER_DOUBLING))


def _halved(counts: list[int]) -> list[int]:
    pairs = [counts[i] + counts[i + 1] for i in range(0, BUCKETS, 2)]
    return pairs + [0] * (BUCKETS - len(pairs))
