"""The tasks of this session that may still run, each with the slot it holds."""

from __future__ import annotations

import attrs

from wiro_async._engine.limiter import OPEN, Limiter, Slot
from wiro_async._engine.nursery import Nursery
from wiro_async._engine.task_calls import TaskCalls, TaskRef
from wiro_async._engine.watches import WaitMode, Watches
from wiro_async._errors import WiroError
from wiro_async._types import ProgressMode, Timeouts

MAX_UNFOLLOWED = 1000


@attrs.frozen
class _Held:
    calls: TaskCalls
    ref: TaskRef
    slot: Slot
    mode: ProgressMode


class Running:
    """Gives slots back when tasks end. Where callers stand in line, it looks after tasks that nobody follows."""

    watches: Watches

    def __init__(self, nursery: Nursery, limiter: Limiter) -> None:
        self._nursery = nursery
        self._limiter = limiter
        self._held: dict[str, _Held] = {}
        self._looked_after: set[str] = set()

    def begin(self, calls: TaskCalls, ref: TaskRef, slot: Slot, mode: ProgressMode) -> None:
        """A task was made with a slot."""
        self._limiter.start(slot)
        self._held[ref.key] = _Held(calls, ref, slot, mode)
        if self._limiter.level == OPEN and len(self._held) > MAX_UNFOLLOWED:
            self.over(next(iter(self._held.values())).ref)

    def over(self, ref: TaskRef) -> None:
        """It has ended; harmless to say twice."""
        held = self._held.pop(ref.key, None)
        if held is not None:
            self._limiter.end(held.slot)

    def look_after(self) -> None:
        """Follow what nobody follows, to learn when it ends; the service allows no more than the limiter's level."""
        loose = [held for held in self._held.values() if held.ref not in self.watches]
        most = len(loose) if self._limiter.level == OPEN else int(self._limiter.level)
        for held in loose[: max(0, len(loose) - most)]:
            self.over(held.ref)
        for held in loose[-most:]:
            if held.ref.key not in self._looked_after:
                self._looked_after.add(held.ref.key)
                self._nursery.start(self._follow, held)

    async def _follow(self, held: _Held) -> None:
        mode: WaitMode = "callback" if self.watches.will_be_told(held.ref) else held.mode
        watcher = self.watches.enter(held.calls, held.ref, "", mode, None)
        try:
            await watcher.wait(watcher.since, Timeouts())
        except WiroError:
            self.over(held.ref)
        finally:
            self.watches.leave(held.ref)
            self._looked_after.discard(held.ref.key)
