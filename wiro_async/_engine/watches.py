"""Who is being watched: one watcher a task, however many wait for it."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from wiro_async._engine.hub import SocketHub
from wiro_async._engine.poller import Poller
from wiro_async._engine.task_calls import TaskCalls, TaskRef
from wiro_async._engine.watcher import TaskWatcher
from wiro_async._errors import WiroError
from wiro_async._protocol.entities import Task
from wiro_async._types import ProgressMode


class Watches:
    """Makes watchers, feeds them from the hub and the poller, and drops them when their last user leaves."""

    def __init__(self, poller: Poller, hub: SocketHub, on_over: Callable[[TaskRef], None]) -> None:
        self._poller = poller
        self._hub = hub
        self._on_over = on_over
        self._watchers: dict[str, TaskWatcher] = {}

    def __len__(self) -> int:
        return len(self._watchers)

    def __contains__(self, ref: TaskRef) -> bool:
        return ref.key in self._watchers

    def enter(self, calls: TaskCalls, ref: TaskRef, model: str, mode: ProgressMode, is_new: bool) -> TaskWatcher:
        """Use the task's watcher; each use ends with `leave`."""
        key = ref.key
        watcher = self._watchers.get(key)
        if watcher is None:
            source = _Source(calls, ref, self._hub if mode != "polling" else None)
            watcher = TaskWatcher(ref.task_id, ref.token, model, source.ask, is_new)
            source.watcher = watcher
            watcher.on_claim = self._poller.hurry
            watcher.on_end = lambda watcher: self._ended(watcher, ref)
            self._watchers[key] = watcher
            source.follow()
            self._poller.add(watcher)
        watcher.users += 1
        return watcher

    def leave(self, ref: TaskRef) -> None:
        """End one use."""
        key = ref.key
        watcher = self._watchers[key]
        watcher.users -= 1
        if not watcher.users:
            del self._watchers[key]
            self._unfeed(watcher)

    def fail_all(self, error: WiroError) -> None:
        """End all waits with an error."""
        for watcher in list(self._watchers.values()):
            watcher.fail(error)

    def _ended(self, watcher: TaskWatcher, ref: TaskRef) -> None:
        self._unfeed(watcher)
        if watcher.state.over:
            self._on_over(ref)

    def _unfeed(self, watcher: TaskWatcher) -> None:
        self._poller.remove(watcher)
        self._hub.unfollow(watcher)


@attrs.define
class _Source:
    """How one watcher gets its snapshots; learns of ids that were not known at first."""

    calls: TaskCalls
    ref: TaskRef
    hub: SocketHub | None
    watcher: TaskWatcher | None = None

    def follow(self) -> None:
        if self.hub and self.watcher and self.watcher.token and self.watcher.users >= 0:
            self.hub.follow(self.watcher)

    async def ask(self) -> Task | None:
        task = await self.calls.detail(self.ref)
        if task is not None and not (self.ref.token and self.ref.task_id):
            self.ref = TaskRef(self.ref.task_id or task.id or None, self.ref.token or task.token)
            if self.watcher and self.watcher.users:
                self.watcher.task_id, self.watcher.token = self.ref.task_id, self.ref.token
                self.follow()
        return task
