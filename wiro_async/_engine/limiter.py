"""How many tasks of this session may be in flight: learnt from refusals, shared by all its callers.

Additive increase, multiplicative decrease: processes that share an account find fair shares without knowing of each
other (Chiu and Jain 1989, doi.org/10.1016/0169-7552(89)90019-6).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio
import attrs

from wiro_async._transport import clock

DECREASE = 0.75
OTHERS_SECONDS, OTHERS_CAP = 1.0, 15.0  # between looks, where none of our own tasks is left to wait for
CEILING_SECONDS = 60.0  # for so long a limit that the service named is not passed
OPEN = float("inf")


@attrs.define(eq=False)
class Slot:
    """The right to have one task in flight, from before its submit until it is known to be over."""

    number: int
    is_running: bool = False


class Limiter:
    """Hands out slots, first come, first served.

    Args:
        most: never more than so many at a time; None leaves it to the service.

    Attributes:
        on_line: told whenever somebody begins to wait.
        level: how many slots there are now; infinite while no limit is known.
    """

    def __init__(self, most: int | None = None) -> None:
        self.on_line: Callable[[], None] = lambda: None
        self._most = OPEN if most is None else float(most)
        self.level = self._most
        self._fast_until = 0.0
        self._ceiling, self._ceiling_until = OPEN, 0.0
        self._slots: dict[Slot, None] = {}
        self._running = 0
        self._numbers = 0
        self._decreased_at = 0
        self._completed = 0
        self._refusals = 0
        self._reserved = 0
        self._waiting: deque[anyio.Event] = deque()

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
            refused: stand first in line, and wait until a task has ended.
        """
        if refused or self._waiting or not self._has_room():
            await self._stand_in_line(refused)
        self._numbers += 1
        slot = Slot(self._numbers)
        self._slots[slot] = None
        return slot

    def start(self, slot: Slot) -> None:
        """The service has started a task with it."""
        self._refusals = 0
        slot.is_running = True
        self._running += 1

    def end(self, slot: Slot) -> None:
        """Give it back: its task is over, or none was made. Doing it twice is harmless."""
        if slot not in self._slots:
            return
        self._drop(slot)
        if slot.is_running:
            self._grow()
        self._admit()

    def refuse(self, slot: Slot, limit: int | None) -> None:
        """Give it back: the service refused the task, for there are too many, or too many requests.

        Args:
            limit: how many it allows to the whole account, if it said so.
        """
        if slot in self._slots:
            self._drop(slot)
        self._refusals += 1
        before = min(self.level, self.in_flight + 1.0)
        if limit is not None:
            self._ceiling, self._ceiling_until = float(limit), anyio.current_time() + CEILING_SECONDS
        if slot.number > self._decreased_at:  # otherwise it was sent before the last decrease: old news
            self._decreased_at = self._numbers
            self._completed = 0
            self._decrease(before, limit)
        self._admit()

    def open_wide(self) -> None:
        """Let everybody through, to be told that the session is closed."""
        self._most = self.level = OPEN
        self._admit()

    def _decrease(self, before: float, limit: int | None) -> None:
        if limit is not None and (self.level == OPEN or self._running >= limit):
            self.level = max(1.0, float(limit))
        else:
            self.level = max(1.0, float(int(self._running * DECREASE)))
        self._fast_until = before * DECREASE if limit is None else 0.0

    def _grow(self) -> None:
        self._completed += 1
        if self._completed < self.level and self.level >= self._fast_until:
            return
        self._completed = 0
        ceiling = self._ceiling if anyio.current_time() < self._ceiling_until else OPEN
        self.level = max(1.0, min(self._most, ceiling, self.level + 1))

    def _drop(self, slot: Slot) -> None:
        del self._slots[slot]
        self._running -= slot.is_running

    def _has_room(self) -> bool:
        return len(self._slots) + self._reserved < self.level

    def _admit(self) -> None:
        while self._waiting and self._has_room():
            self._reserved += 1
            self._waiting.popleft().set()

    async def _stand_in_line(self, refused: bool) -> None:
        turn = anyio.Event()
        self._waiting.insert(0 if refused else len(self._waiting), turn)
        self.on_line()
        try:
            while not turn.is_set():
                with anyio.CancelScope(deadline=self._next_look()):
                    await turn.wait()
                if not self._slots:
                    self._admit()
        except BaseException:
            if turn.is_set():
                self._reserved -= 1
                self._admit()
            else:
                self._waiting.remove(turn)
            raise
        self._reserved -= 1

    def _next_look(self) -> float:
        wait = min(OTHERS_CAP, OTHERS_SECONDS * 2.0 ** min(self._refusals, 10))
        return anyio.current_time() + wait * (0.5 + clock.chance() / 2)
