"""How many tasks of this session may be in flight: the numbers, without the callers who wait.

A refusal says that the account is full. Then the session keeps as many tasks as it has, and sends the next one when one
ends. Now and then it tries one more. If that is refused it gives up some slots, the more of them the greater its part
of the account is, so that processes find fair shares without knowing of each other (additive increase, multiplicative
decrease: Chiu and Jain 1989, doi.org/10.1016/0169-7552(89)90019-6). If none of its own tasks ends for a while it probes
whether those of others have ended.

Times are those of the event loop; every `random` is from 0 to 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wiro_async._tuning import Tuning

OPEN = float("inf")


class Window:
    """Counts slots and tasks, and knows whether one more may start.

    Args:
        most: never more slots than this; None leaves it to the service.
    """

    def __init__(self, tuning: Tuning, most: int | None = None) -> None:
        self._tuning = tuning
        self._most = OPEN if most is None else float(most)
        self.level = self._most  # how many slots there are now; infinite while no limit is known
        self.used = 0  # slots that are taken, with or without a task
        self.running = 0  # those with a task
        self._unanswered = tuning.window_opening  # runs without a response that are allowed while no limit is known
        self._ceiling, self._ceiling_until = OPEN, 0.0  # the limit that the service named
        self._sent = 0
        self._last_news = 0  # how many were sent when the last refusal came that said something new
        self._owed = 0.0  # fractions of slots to give up
        self._ends_needed, self._ends = tuning.window_min_growth, 0  # so many tasks must end before one more is tried
        self._is_growing = False
        self._is_full, self._probe_at = False, 0.0  # until one of our tasks ends, or until that time
        self._refusals = 0  # in a row
        self._probing_from, self._failed_probes = 0.0, 0  # the level before a probe; zero if none is under way

    @property
    def has_room(self) -> bool:
        """Whether one more run may be sent."""
        if self.level == OPEN:
            return self.used - self.running < self._unanswered
        return self.used < self.level and not self._is_full

    def take(self) -> None:
        self.used += 1

    def give_back(self) -> None:
        """Free a slot that had no task."""
        self.used -= 1

    def send(self) -> int:
        """Number the run that is sent with a slot."""
        self._sent += 1
        return self._sent

    def accepted(self, now: float, random: float) -> None:
        """The service has started a task for a slot."""
        self._refusals = 0
        self.running += 1
        self._put_off_probe(now, random)
        if self._probing_from:  # where one slot of others was free there may be more: the next probe comes soon
            self._probing_from, self._failed_probes = 0.0, 0
            self._probe_at = now + self._probe_pause(self._tuning.window_other_probe, OPEN, 0, random)
        self._unanswered += 0.5  # half as many more after each round of responses
        if self.running >= self.level and self._is_growing:
            self._is_growing = False
            self._ends_needed = max(1.0, self._ends_needed / self._tuning.window_sharpen)
        self.level = max(self.level, float(self.running))

    def ended(self, is_wanted: bool, now: float, random: float) -> None:
        """A task has ended; its slot is free.

        Args:
            is_wanted: whether anybody waits for a slot.
        """
        self.used -= 1
        self.running -= 1
        self._is_full = False
        self._put_off_probe(now, random)
        self._ends += 1
        if self._ends >= self._ends_needed and is_wanted:
            self._ends = 0
            self._is_growing = True
            self.level = max(1.0, min(self._highest(now), self.level + 1))

    def refused(self, number: int, limit: int | None, now: float, random: float) -> None:
        """The service refused a task because there are too many; its slot is free.

        Args:
            number: the run's, by `send`.
            limit: how many tasks it allows to the whole account, if it says so.
        """
        self.used -= 1
        self._refusals += 1
        self._failed_probes += self._probing_from > 0
        self._is_full = True
        self._put_off_probe(now, random)
        if limit is not None:
            self._ceiling, self._ceiling_until = float(limit), now + self._tuning.window_ceiling
        if self._is_news(number):
            if self._probing_from:  # this was to be expected, and says nothing about the shares of the account
                self.level = min(self.level, self._probing_from)
            else:
                self._give_up_share(limit)
        self._probing_from = 0.0

    def slowed(self, number: int, now: float, random: float) -> None:
        """The service refused a request because there are too many a second; its slot is free."""
        self.used -= 1
        if self._is_news(number):
            self._set_level(int(self.running * self._tuning.window_slowdown), 1.0)
            self._put_off_probe(now, random)

    def probe(self) -> None:
        """Time has passed: one more run may be sent, although nothing says that there is room."""
        if self.level == OPEN:
            self._unanswered *= 1.5
        else:
            self._is_full, self._probing_from = False, self.level if self.running else 0.0
            self.level = max(self.level, self.used + 1.0)

    def next_probe(self, now: float) -> float:
        """When to call `probe` if nothing else happens; infinite if that would be useless."""
        if self.level == OPEN:
            return now + self._tuning.window_opening_wait
        if self.used > self.running:  # the response that is on its way will say more
            return OPEN
        if self.used < self._highest(now):
            return self._probe_at
        return self._ceiling_until if self.used < self._most else OPEN

    def open_wide(self) -> None:
        """Have room for everybody."""
        self._most = self.level = OPEN
        self._unanswered = OPEN

    def _is_news(self, number: int) -> bool:
        """Whether a refused run was sent after the last refusal that said something new. A burst is refused as one."""
        if number <= self._last_news:
            return False
        self._last_news = self._sent
        return True

    def _give_up_share(self, limit: int | None) -> None:
        level = self.running
        if limit is None or level < limit:  # with fewer than the limit, others hold the rest
            self._owed += self._tuning.window_yield * level * (level / limit if limit else 1.0)
            given, self._owed = divmod(self._owed, 1.0)
            level -= int(given)
        ends_needed = max(self._tuning.window_min_growth, self._tuning.window_growth * level)
        self._set_level(min(level, limit) if limit else level, ends_needed)

    def _set_level(self, level: int, ends_needed: float) -> None:
        self.level = max(1.0, float(level))
        self._ends_needed, self._ends = ends_needed, 0
        self._is_growing = False

    def _highest(self, now: float) -> float:
        return min(self._most, self._ceiling if now < self._ceiling_until else OPEN)

    def _put_off_probe(self, now: float, random: float) -> None:
        # Beside tasks of our own a probe is seldom needed, because their ends say more.
        tuning = self._tuning
        if self.running:
            pause = self._probe_pause(tuning.window_own_probe, tuning.window_own_probe_max, self._failed_probes, random)
        else:
            pause = self._probe_pause(
                tuning.window_other_probe, tuning.window_other_probe_max, self._refusals - 1, random
            )
        self._probe_at = now + pause

    @staticmethod
    def _probe_pause(seconds: float, cap: float, failed: int, random: float) -> float:
        return min(cap, seconds * 2.0 ** min(max(failed, 0), 10)) * (0.5 + random / 2)
