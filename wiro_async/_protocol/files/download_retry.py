"""Decide whether and when a download is attempted again."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, assert_never

import attrs

from wiro_async._protocol.files.transfer import Broken, Complete, Failure, Late, Refused, Wrong

if TYPE_CHECKING:
    from wiro_async._tuning import Tuning


@attrs.frozen
class Done:
    """The file is complete."""


@attrs.frozen
class RetryDownload:
    """Send another request."""

    reason: str
    wait: float  # seconds until then


@attrs.frozen
class GiveUp:
    """The file cannot be had."""

    problem: str  # the end of a sentence that begins with the file's URL


Action: TypeAlias = Done | RetryDownload | GiveUp


@attrs.define
class RetryBudget:
    """How long, and how often, a download may go on without progress.

    Two things run out: the time in which a file may be late, and the number of failures. Both start again whenever
    clearly more of the file has arrived than ever before: a long download over a bad network is finished, one that
    gets nowhere is given up.
    """

    tuning: Tuning
    since: float  # the time of the first request
    _furthest: int = attrs.field(default=0, init=False)
    _attempts: int = attrs.field(default=0, init=False)
    _failures: int = attrs.field(default=0, init=False)

    def extend(self, seconds: float) -> None:
        """Do not count so much time: the download waited for its turn and sent no request."""
        self.since += seconds

    def is_too_slow(self, received: int, total: int | None, now: float) -> bool:
        """Count what has arrived by now. Whether it is too little for the time that it took."""
        if received - self._furthest >= self._step(total):
            self.since, self._furthest, self._attempts, self._failures = now, received, 0, 0
        return now - self.since > self.tuning.download_lag

    def decide(
        self, outcome: Complete | Failure, received: int, total: int | None, now: float, random: float
    ) -> Action:
        """Decide what follows an attempt.

        Args:
            received: bytes of the file that have arrived.
            total: bytes that it has, if known.
            now: the time, by the clock of `since`.
            random: from 0 to 1, for the jitter of the wait.
        """
        match outcome:
            case Complete():
                return Done()
            case Refused(problem):
                return GiveUp(problem)
            case Late(reason, retry_after):
                cost, least_wait = 0, retry_after or 0.0
            case Broken(reason):
                cost, least_wait = 1, 0.0
            case Wrong(reason):  # a server that names wrong sizes seldom comes to name the right ones
                cost, least_wait = 3, 0.0
            case _:
                assert_never(outcome)
        if received - self._furthest >= self._step(total):
            self.since, self._furthest, self._attempts, self._failures = now, received, 0, 0
            return RetryDownload(reason, 0.0)
        self._attempts += 1
        self._failures += cost
        left = self.since + self.tuning.download_lag - now
        if left <= 0 or self._failures >= self.tuning.download_failures:
            return GiveUp(f"could not be fetched whole: {reason}; try the download again later")
        backoff = min(self.tuning.download_max_pause, self.tuning.download_pause * 2.0 ** min(self._attempts - 1, 30))
        backoff *= 1 - random / 2
        return RetryDownload(reason, min(left, max(backoff, least_wait)))

    def _step(self, total: int | None) -> float:
        """How many bytes are progress."""
        return max(1.0, min(self.tuning.download_step_bytes, self.tuning.download_step_share * (total or 0)))
