"""How many tasks of this session may be in flight: learnt from refusals, shared by all its callers.

A refusal says that the account is full: this session keeps as many tasks as it has, and sends the next when one ends.
Now and then it tries one more. If that is refused it gives up some slots, the more of them the greater its part of the
account is, so that processes find fair shares without knowing of each other (additive increase, multiplicative
decrease: Chiu and Jain 1989, doi.org/10.1016/0169-7552(89)90019-6). Where none of its own tasks ends for a while it
looks whether those of others have.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable

import anyio
import attrs

from wiro_async._transport import clock

OPENING = 4.0  # runs that may be unanswered while no limit is known; half as many more after each round of answers,
OPENING_SECONDS = 1.0  # or after so long without one
YIELD = 0.2  # the share of its share that a session gives up when it is refused one more
SLOWDOWN = 0.75  # what is left of the level after a 429
LEAST_WINDOW, WINDOW = 2.0, 1.2  # one more is tried when as many tasks have ended, and as many for each slot
SHARPEN = 4.0  # by which that number is divided when it was not refused
OTHERS_SECONDS, OTHERS_CAP = 1.0, 3.0  # between tries, where none of our own tasks is left to wait for
BESIDE_SECONDS, BESIDE_CAP = 8.0, 30.0  # the same where there is one, but for so long none has ended
LOOK_SECONDS = 5.0  # after which the first in line has it looked again whether tasks that nobody follows have ended
CEILING_SECONDS = 60.0  # for so long a limit that the service named is not passed
OPEN = float("inf")


@attrs.define(eq=False)
class Slot:
    """The right to have one task in flight, from before its submit until it is known to be over.

    Attributes:
        number: how many were given out before it.
        ticket: its owner's place in the line; kept where the service refuses, so that nobody loses their turn.
    """

    number: int
    ticket: int = 0
    is_running: bool = False


@attrs.define(eq=False)
class _Waiter:
    ticket: int
    granted: bool = False
    news: anyio.Event = attrs.field(factory=anyio.Event)


class Limiter:
    """Hands out slots, first come, first served.

    Args:
        most: never more than so many at a time; None leaves it to the service.

        on_waiting: called whenever somebody begins to wait, and now and then while somebody does.

    Attributes:
        level: how many slots there are now; infinite while no limit is known.
    """

    def __init__(self, most: int | None = None, on_waiting: Callable[[], None] = lambda: None) -> None:
        self._on_waiting = on_waiting
        self._most = OPEN if most is None else float(most)
        self.level = self._most
        self._unanswered = OPENING
        self._ceiling, self._ceiling_until = OPEN, 0.0
        self._slots: dict[Slot, None] = {}
        self._running = 0
        self._numbers = 0
        self._tickets = 0
        self._refused_ticket = 0
        self._decreased_at = 0
        self._owed = 0.0  # fractions of slots to give up
        self._window, self._completed = LEAST_WINDOW, 0
        self._trying = False
        self._full, self._look_at = False, 0.0  # until one of our tasks ends, or until that time
        self._refusals = 0
        self._looking, self._vain = 0.0, 0  # the level before one was sent to look; how many were for nothing
        self._reserved = 0
        self._waiting: deque[_Waiter] = deque()

    @property
    def in_flight(self) -> int:
        """Slots in use."""
        return len(self._slots)

    @property
    def waiting(self) -> int:
        """Callers in line."""
        return len(self._waiting)

    async def acquire(self, *, refused: bool = False) -> Slot:
        """A slot, when there is one. Cancelling leaves the line.

        Args:
            refused: whoever has just been told of by `refuse` comes again, and takes their old place in line.
        """
        if refused:
            ticket = self._refused_ticket
        else:
            ticket = self._tickets = self._tickets + 1
        if self._waiting or not self._has_room():
            await self._stand_in_line(ticket)
        self._numbers += 1
        slot = Slot(self._numbers, ticket)
        self._slots[slot] = None
        return slot

    def start(self, slot: Slot) -> None:
        """The service has started a task with it."""
        self._refusals = 0
        slot.is_running = True
        self._running += 1
        self._put_off_looking()
        if self._looking:
            self._looking, self._vain = 0.0, 0
            self._look_at = self._next_look(OTHERS_SECONDS, OTHERS_SECONDS, 0)
        self._unanswered += 0.5
        if self._running >= self.level and self._trying:
            self._trying = False
            self._window = max(1.0, self._window / SHARPEN)
        self.level = max(self.level, float(self._running))
        self._admit()

    def end(self, slot: Slot) -> None:
        """Give it back: its task is over, or none was made. Doing it twice is harmless."""
        if slot not in self._slots:
            return
        self._drop(slot)
        if slot.is_running:
            self._full = False
            self._put_off_looking()
            self._grow()
        self._admit()

    def refuse(self, slot: Slot, limit: int | None) -> None:
        """Give it back: the service refused the task, for there are too many.

        Args:
            limit: how many it allows to the whole account, if it said so.
        """
        self._refused_ticket = slot.ticket
        self._refusals += 1
        self._vain += self._looking > 0
        self._full = True
        self._put_off_looking()
        if limit is not None:
            self._ceiling, self._ceiling_until = float(limit), anyio.current_time() + CEILING_SECONDS
        if self._is_news(slot):
            if self._looking:  # it could have been known, and tells nothing of how the account is shared
                self.level = min(self.level, self._looking)
            else:
                self._yield(limit)
        self._looking = 0.0
        self._admit()

    def slow_down(self, slot: Slot) -> None:
        """Give it back: the service refused the request, for there are too many a second."""
        if self._is_news(slot):
            self._set(int(self._running * SLOWDOWN), 1.0)
            self._put_off_looking()
        self._admit()

    def open_wide(self) -> None:
        """Let everybody through, to be told that the session is closed."""
        self._most = self.level = OPEN
        self._unanswered = OPEN
        self._admit()

    def _is_news(self, slot: Slot) -> bool:
        """Whether it was sent after the last refusal that told something."""
        self._slots.pop(slot, None)
        if slot.number <= self._decreased_at:
            return False
        self._decreased_at = self._numbers
        return True

    def _yield(self, limit: int | None) -> None:
        level = self._running
        if limit is None or level < limit:
            self._owed += YIELD * level * (level / limit if limit else 1.0)
            given, self._owed = divmod(self._owed, 1.0)
            level -= int(given)
        self._set(min(level, limit) if limit else level, max(LEAST_WINDOW, WINDOW * level))

    def _set(self, level: int, window: float) -> None:
        self.level = max(1.0, float(level))
        self._window, self._completed = window, 0
        self._trying = False

    def _grow(self) -> None:
        self._completed += 1
        if self._completed >= self._window and self._waiting:
            self._completed = 0
            self._trying = True
            self.level = max(1.0, min(self._highest(), self.level + 1))

    def _highest(self) -> float:
        return min(self._most, self._ceiling if anyio.current_time() < self._ceiling_until else OPEN)

    def _drop(self, slot: Slot) -> None:
        del self._slots[slot]
        self._running -= slot.is_running

    @property
    def _used(self) -> int:
        return len(self._slots) + self._reserved

    def _has_room(self) -> bool:
        if self.level == OPEN:
            return self._used - self._running < self._unanswered
        return self._used < self.level and not self._full

    def _admit(self) -> None:
        while self._waiting and self._has_room():
            self._reserved += 1
            waiter = self._waiting.popleft()
            waiter.granted = True
            waiter.news.set()
        if self._waiting:
            self._waiting[0].news.set()

    async def _stand_in_line(self, ticket: int) -> None:
        waiter = _Waiter(ticket)
        if self._waiting and self._waiting[-1].ticket > ticket:
            insort(self._waiting, waiter, key=lambda other: other.ticket)
        else:
            self._waiting.append(waiter)
        self._on_waiting()
        try:
            while not waiter.granted:
                await self._look(waiter)
        except BaseException:
            if waiter.granted:
                self._reserved -= 1
            else:
                self._waiting.remove(waiter)
            self._admit()
            raise
        self._reserved -= 1

    async def _look(self, waiter: _Waiter) -> None:
        """Wait for news. The first in line looks after a while what may have become of the reason to wait."""
        waiter.news = anyio.Event()
        is_first = self._waiting[0] is waiter
        look_at = self._next_try() if is_first else OPEN
        deadline = min(look_at, anyio.current_time() + LOOK_SECONDS) if is_first else OPEN
        with anyio.CancelScope(deadline=deadline) as scope:
            await waiter.news.wait()
        if not scope.cancelled_caught:
            return
        if deadline == look_at:
            self._send_one()
        else:
            self._on_waiting()

    def _send_one(self) -> None:
        """Time has passed: one may go, although nothing tells that there is room."""
        if self.level == OPEN:
            self._unanswered *= 1.5
        else:
            self._full, self._looking = False, self.level if self._running else 0.0
            self.level = max(self.level, self._used + 1.0)
        self._admit()

    def _next_try(self) -> float:
        if self.level == OPEN:
            return anyio.current_time() + OPENING_SECONDS
        if len(self._slots) > self._running:  # an answer will tell more
            return OPEN
        if self._used < self._highest():
            return self._look_at
        return self._ceiling_until if self._used < self._most else OPEN

    def _put_off_looking(self) -> None:
        if self._running:
            self._look_at = self._next_look(BESIDE_SECONDS, BESIDE_CAP, self._vain)
        else:
            self._look_at = self._next_look(OTHERS_SECONDS, OTHERS_CAP, self._refusals - 1)

    def _next_look(self, seconds: float, cap: float, tries: int) -> float:
        wait = min(cap, seconds * 2.0 ** min(max(tries, 0), 10))
        return anyio.current_time() + wait * (0.5 + clock.chance() / 2)
