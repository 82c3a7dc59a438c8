"""When Task/Detail is read for one task, and when that has failed for long enough.

Reads cost the service work and the caller latency, so they follow what is known of the task. A message that says the
end has come is a report: it is checked at once, then every half second, and less eagerly once reports were false.
A task with a live feed needs no polls while the feed speaks, and a read now and then while it is silent. A task without
a feed is polled the less often the longer it has run. https://wiro.ai/docs/tasks
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

import attrs

if TYPE_CHECKING:  # at run time it imports `random`, and the protocol is pure
    from wiro_async._tuning import Tuning

# What the next read is for
Purpose: TypeAlias = Literal["confirm", "check report", "first read", "silent feed", "no feed"]
# Why a read brought no state of the task
Failure: TypeAlias = Literal["unknown", "denied", "unlisted", "failed"]
NEVER = float("inf")


@attrs.define
class PollSchedule:
    """The polling of one task. Times are those of the event loop, in seconds; randoms are between 0 and 1."""

    _tuning: Tuning = attrs.field(repr=False)
    since: float  # when following began
    read_at: float = attrs.field(init=False)  # when the last read ended; at first `since`
    moved_at: float = attrs.field(init=False)  # when a message last reported something about the run
    has_feed: bool = False  # whether an open feed is to bring its messages
    was_heard: bool = False  # whether a feed has brought any
    due: float = NEVER  # when the next read is planned
    is_reading: bool = False  # whether a read is in flight
    _polls: int = 0
    _confirmations: int = 0
    _false_reports: int = 0
    _failing_since: float | None = None
    _refusals: int = 0
    _refused_since: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.read_at = self.moved_at = self.since

    @property
    def is_confirming(self) -> bool:
        """Whether a report is being checked by repeated reads."""
        return self._confirmations > 0

    @property
    def false_reports(self) -> int:
        """How often the task was reported over and was not."""
        return self._false_reports

    def interval(self, now: float, reported: bool, random: float) -> float:
        """Seconds until the next read, with jitter.

        Args:
            reported: whether a message said that the task is over.
        """
        jitter = 1 + self._tuning.poll_jitter * (random - 0.5)
        return min(self._tuning.poll_max_silence, self._seconds(now, reported) * jitter)

    def quiet_until(self, now: float, reported: bool) -> float:
        """Until when no read is needed, because the feed has brought something not long ago."""
        if reported or not (self.has_feed and self.was_heard):
            return 0.0
        pause = (1 - self._tuning.poll_jitter / 2) * self._seconds(now, reported)
        # A feed may chatter and yet never mention the end, so a read comes at least this often.
        return min(self.moved_at + pause, self.read_at + self._tuning.poll_max_silence)

    def set_feed(self, has_feed: bool) -> None:
        self.has_feed = has_feed

    def hear(self) -> None:
        self.was_heard = True

    def move(self, now: float) -> None:
        """A message has reported something about the run."""
        self.moved_at = now

    def plan(self, due: float) -> None:
        """The next read is planned for this time; `NEVER` plans none."""
        self.due = due

    def restart(self) -> None:
        """The feed was lost: poll as often as at the beginning."""
        self._polls = 0

    def slow_down(self) -> None:
        """A callback will report the end: poll as rarely as after many polls."""
        self._polls = self._tuning.callback_polls

    def begin_read(self, reported: bool) -> bool:
        """A read begins. Returns whether a finished task without an exit code is worth another read."""
        self.is_reading = True
        if reported:
            self._confirmations += 1
        else:
            self._polls += 1
        return self._confirmations < self._max_confirmations

    def check_report(self) -> bool:
        """A read has shown that the task is not over. Returns whether the report that it is over was false."""
        if self._confirmations < self._max_confirmations:
            return False
        self._confirmations = 0
        self._false_reports += 1
        self._polls += 1
        return True

    def end_read(self, now: float) -> None:
        """A read is no longer in flight, whatever came of it."""
        self.is_reading = False
        self.read_at = now

    def succeeded(self) -> None:
        """A read brought the state of the task."""
        self._failing_since, self._refusals = None, 0

    def gives_up(self, now: float, failure: Failure, exists: bool) -> bool:
        """A read failed. Returns whether it has failed so for long enough to end the wait.

        Args:
            exists: whether the task certainly exists: it was made here, or somebody has spoken of it.
        """
        tuning = self._tuning
        if failure == "failed":
            self._failing_since = self._failing_since or now
            return now - self._failing_since >= tuning.failing_grace
        # One refusal may be an accident of the service; several in a row, for a while, are none.
        self._refused_since = self._refused_since if self._refusals else now
        self._refusals += 1
        enough = tuning.refusals_known if exists else tuning.refusals
        match failure:
            case "unknown":
                grace = tuning.failing_grace if exists else tuning.refusal_grace
            case "denied":
                grace = tuning.refusal_grace_known if exists else tuning.refusal_grace
            case "unlisted":
                grace = tuning.failing_grace if exists else tuning.refusal_grace_known
            case _:
                assert_never(failure)
        return self._refusals >= enough and now - self._refused_since >= grace

    @property
    def _max_confirmations(self) -> int:
        tuning = self._tuning
        return tuning.poll_confirmations_doubted if self._false_reports else tuning.poll_confirmations

    def _purpose(self, reported: bool) -> Purpose:
        if self._confirmations:
            return "confirm"
        if reported:
            return "check report"
        if self.has_feed:
            # Before anything was heard, one read comes early: a short run may end before its registration arrives.
            return "silent feed" if self.was_heard or self._polls else "first read"
        return "no feed"

    def _seconds(self, now: float, reported: bool) -> float:
        tuning = self._tuning
        purpose = self._purpose(reported)
        match purpose:
            case "confirm":
                return tuning.poll_confirm
            case "check report":
                return self._doubled(self._false_reports) if self._false_reports else 0.0
            case "first read":
                return tuning.poll_first
            case "silent feed":
                return self._doubled(self._polls if self.was_heard else self._polls - 1)
            case "no feed":
                return min(tuning.poll_max, max(tuning.poll_min, tuning.poll_share * (now - self.since)))
            case _:
                assert_never(purpose)

    def _doubled(self, times: int) -> float:
        return min(self._tuning.poll_max_silence, self._tuning.poll_silence * 2.0 ** min(times, 10))
