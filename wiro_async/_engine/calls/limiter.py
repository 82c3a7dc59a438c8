"""Hands out the slots that the window allows: who waits, in which order, and until when.

Every caller takes a ticket, and slots go to the lowest ticket. A run that the service refuses keeps its ticket, so that
it goes back to the front instead of losing its turn to later callers. The first waiter also watches the clock for all
of them: the window may want a probe, and tasks that nobody follows may have ended.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable

import anyio
import attrs

from wiro_async._engine.background.change import Change
from wiro_async._protocol.submission.window import OPEN, Window
from wiro_async._transport import clock
from wiro_async._tuning import Tuning


@attrs.define(eq=False)
class Slot:
    """The right to have one task in flight: a caller waits for it, then sends a run, then a task has it until its end.

    Attributes:
        ticket: its caller's place in the queue.
        number: how many runs were sent with a slot up to this one.
        changed: notified when it is granted, and when its caller should look at the clock again.
    """

    ticket: int
    number: int = 0
    is_granted: bool = False
    has_task: bool = False
    changed: Change = attrs.field(factory=Change)

    def grant(self) -> None:
        """Its caller need not wait any longer."""
        self.is_granted = True
        self.changed.notify()

    def send(self, number: int) -> None:
        """A run is sent with it."""
        self.number = number

    def start(self) -> None:
        """A task has it."""
        self.has_task = True


class Limiter:
    """Hands out slots, first come, first served.

    Args:
        most: never more than so many at a time; None leaves it to the service.
        on_waiting: called when somebody begins to wait, and from time to time while somebody does.
    """

    def __init__(self, tuning: Tuning, most: int | None = None, on_waiting: Callable[[], None] = lambda: None) -> None:
        self._tuning = tuning
        self._on_waiting = on_waiting
        self._window = Window(tuning, most)
        self._slots: set[Slot] = set()
        self._tickets = 0
        self._waiting: deque[Slot] = deque()

    @property
    def level(self) -> float:
        """How many slots there are now; infinite while no limit is known."""
        return self._window.level

    @property
    def in_flight(self) -> int:
        """Slots in use."""
        return len(self._slots)

    @property
    def waiting(self) -> int:
        """Callers that wait for a slot."""
        return len(self._waiting)

    async def acquire(self, *, instead_of: Slot | None = None) -> Slot:
        """Wait for a slot. Cancelling leaves the queue.

        Args:
            instead_of: a slot whose run was refused: its caller keeps its place in the queue.
        """
        if instead_of is None:
            self._tickets += 1
        slot = Slot(self._tickets if instead_of is None else instead_of.ticket)
        if self._waiting or not self._window.has_room:  # nobody overtakes those who wait
            await self._wait_for_turn(slot)
        else:
            self._window.take()
        slot.send(self._window.send())
        self._slots.add(slot)
        return slot

    def start(self, slot: Slot) -> None:
        """The service has started a task with the slot."""
        slot.start()
        self._window.accepted(clock.loop_time(), self._tuning.random())
        self._admit()

    def end(self, slot: Slot) -> None:
        """Give the slot back: its task is over, or none was made. Calling it twice is harmless."""
        if slot in self._slots:
            self._slots.remove(slot)
            if slot.has_task:
                self._window.ended(bool(self._waiting), clock.loop_time(), self._tuning.random())
            else:
                self._window.give_back()
            self._admit()

    def refuse(self, slot: Slot, limit: int | None) -> None:
        """Give the slot back: the service refused the task, because there are too many.

        Args:
            limit: how many it allows to the whole account, if it says so.
        """
        self._slots.remove(slot)
        self._window.refused(slot.number, limit, clock.loop_time(), self._tuning.random())
        self._admit()

    def slow_down(self, slot: Slot) -> None:
        """Give the slot back: the service refused the request, because there are too many a second."""
        self._slots.remove(slot)
        self._window.slowed(slot.number, clock.loop_time(), self._tuning.random())
        self._admit()

    def open_wide(self) -> None:
        """Let everybody through, to learn that the session is closed."""
        self._window.open_wide()
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._window.has_room:
            self._window.take()
            self._waiting.popleft().grant()
        if self._waiting:
            self._waiting[0].changed.notify()  # it is the first now, or its deadline has moved

    async def _wait_for_turn(self, slot: Slot) -> None:
        # Refused runs come back with an old ticket, in any order.
        if self._waiting and self._waiting[-1].ticket > slot.ticket:
            insort(self._waiting, slot, key=lambda other: other.ticket)
        else:
            self._waiting.append(slot)
        self._on_waiting()
        try:
            while not slot.is_granted:
                now = clock.loop_time()
                is_first = self._waiting[0] is slot  # one watches the clock for all
                probe_at = self._window.next_probe(now) if is_first else OPEN
                deadline = min(probe_at, now + self._tuning.window_recheck) if is_first else OPEN
                with anyio.CancelScope(deadline=deadline) as scope:
                    await slot.changed.wait()
                if not scope.cancelled_caught:
                    continue
                if deadline == probe_at:
                    self._window.probe()
                    self._admit()
                else:
                    self._on_waiting()
        except BaseException:
            if slot.is_granted:  # but the caller was cancelled before it woke up
                self._window.give_back()
            else:
                self._waiting.remove(slot)
            self._admit()
            raise
