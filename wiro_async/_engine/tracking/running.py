"""The tasks of this session that may still run, each with the slot it holds."""

from __future__ import annotations

import attrs

from wiro_async._engine.calls.task_calls import TaskCalls, TaskRef
from wiro_async._engine.submission.limiter import OPEN, Limiter, Slot
from wiro_async._engine.tracking.tracker import Tracker, WaitMode, keys_of
from wiro_async._transport import clock
from wiro_async._types import UpdateMode

MAX_UNFOLLOWED = 1000


@attrs.define(eq=False)
class _Held:
    calls: TaskCalls
    ref: TaskRef
    slot: Slot
    mode: UpdateMode
    made_at: float = attrs.field(factory=clock.loop_time)
    is_followed: bool = False


class Running:
    """Gives slots back when tasks end. Where callers stand in line it follows tasks itself, for nobody else may."""

    tracker: Tracker

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._held: dict[_Held, None] = {}
        self._by_key: dict[str, _Held] = {}
        self._unfollowed: dict[_Held, None] = {}

    def begin(self, calls: TaskCalls, ref: TaskRef, slot: Slot, mode: UpdateMode) -> None:
        """A task was made with a slot."""
        held = _Held(calls, ref, slot, mode)
        self._held[held] = self._unfollowed[held] = None
        self._by_key.update(dict.fromkeys(keys_of(ref), held))
        self._limiter.start(slot)
        if self._limiter.waiting:
            self.look_after()
        elif self._limiter.level == OPEN and len(self._held) > MAX_UNFOLLOWED:
            self._end(next(iter(self._held)))

    def over(self, ref: TaskRef) -> None:
        """It has ended; harmless to say twice."""
        held = self._found(ref)
        if held is not None:
            self._end(held)

    def made_at(self, calls: TaskCalls, ref: TaskRef) -> float | None:
        """The loop time at which it was made here, by that account; None if it was not, or is over."""
        held = self._found(ref)
        if held is None or held.calls.sender.account != calls.sender.account:
            return None
        return held.made_at

    def look_after(self) -> None:
        """Follow every task, to learn when it ends, whoever else follows it now and for however long.

        The service allows no more tasks than the limiter's level: of those that nobody follows the oldest have ended.
        While no limit is known nobody waits for an end.
        """
        if self._limiter.level == OPEN:
            return
        unfollowed, self._unfollowed = list(self._unfollowed), {}
        loose = [held for held in unfollowed if held.ref not in self.tracker]
        for held in loose[: max(0, len(loose) - int(self._limiter.level))]:
            self._end(held)
        for held in unfollowed:
            if held in self._held:
                self._follow(held)

    def _found(self, ref: TaskRef) -> _Held | None:
        return next((self._by_key[key] for key in keys_of(ref) if key in self._by_key), None)

    def _follow(self, held: _Held) -> None:
        held.is_followed = True
        mode: WaitMode = "callback" if self.tracker.will_be_told(held.ref) else held.mode
        self.tracker.enter(held.calls, held.ref, "", mode, held.made_at)

    def _end(self, held: _Held) -> None:
        del self._held[held]
        self._unfollowed.pop(held, None)
        for key in keys_of(held.ref):
            self._by_key.pop(key, None)
        if held.is_followed:
            self.tracker.leave(held.ref)
        self._limiter.end(held.slot)
