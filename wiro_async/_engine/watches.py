"""Who is being watched: one watcher a task, however many wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from wiro_async._engine.hub import SocketHub
from wiro_async._engine.poller import Poller
from wiro_async._engine.task_calls import TaskCalls, TaskRef
from wiro_async._engine.watcher import TaskWatcher
from wiro_async._errors import WiroError
from wiro_async._protocol.entities import Task
from wiro_async._protocol.messages import Message
from wiro_async._types import ProgressMode

WaitMode: TypeAlias = ProgressMode | Literal["callback"]
UNHURRIED = 4  # polls that a wait for a callback counts as made, so that the next is half a minute away
MAX_KEPT = 10_000


class Watches:
    """Makes watchers, feeds them from the hub and the poller, and drops them when their last user leaves."""

    def __init__(self, poller: Poller, hub: SocketHub, on_over: Callable[[TaskRef], None]) -> None:
        self._poller = poller
        self._hub = hub
        self._on_over = on_over
        self._sources: dict[str, _Source] = {}
        self._streams: set[str] = set()
        self._reporting: dict[str, bool] = {}
        self._told: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, ref: TaskRef) -> bool:
        return ref.key in self._sources

    def enter(self, calls: TaskCalls, ref: TaskRef, model: str, mode: WaitMode, made_at: float | None) -> TaskWatcher:
        """Use the task's watcher; each use ends with `leave`.

        Args:
            mode: "callback" is for a wait that `told` will end: no socket, and slow polling from the start.
            made_at: the loop time of its submit; None if that is long ago or was elsewhere.
        """
        source = self._sources.get(ref.key)
        if source is None:
            hub = None if mode in ("polling", "callback") else self._hub
            source = self._sources[ref.key] = _Source(calls, ref, hub)
            watcher = source.watcher = TaskWatcher(ref.task_id, ref.token, model, source.ask, made_at)
            watcher.on_claim = self._poller.hurry
            watcher.on_end = lambda watcher: self._ended(watcher, ref)
            watcher.by_socket = ref.key in self._streams or mode == "callback"
            watcher.polls = UNHURRIED if mode == "callback" else 0
            if not watcher.by_socket:
                source.follow()
            self._poller.add(watcher)
            if self._told.pop(ref.key, False):
                self._poller.hurry(watcher)
        elif source.hub is None and mode not in ("polling", "callback"):
            self._listen(source)
        source.watcher.users += 1
        return source.watcher

    def leave(self, ref: TaskRef) -> None:
        """End one use."""
        watcher = self._sources[ref.key].watcher
        watcher.users -= 1
        if not watcher.users:
            del self._sources[ref.key]
            self._unfeed(watcher)

    def has_started(self, ref: TaskRef) -> bool:
        """Whether a task that is watched has left the queue, as far as is known."""
        source = self._sources.get(ref.key)
        return source is None or source.watcher.state.started

    def fail_all(self, error: WiroError) -> None:
        """End all waits with an error."""
        for source in list(self._sources.values()):
            source.watcher.fail(error)

    def expect(self, ref: TaskRef) -> None:
        """A callback will tell of the task's end."""
        self._reporting[ref.key] = True
        _shorten(self._reporting)

    def will_be_told(self, ref: TaskRef) -> bool:
        """Whether a callback will tell of the task's end."""
        return ref.key in self._reporting

    def told(self, task: Task) -> None:
        """A snapshot came from elsewhere: for whoever watches the task, or will begin to in a moment."""
        for key in filter(None, (task.token, task.id)):
            source = self._sources.get(key)
            if source is None:
                self._told[key] = True
            elif not source.watcher.is_over:
                source.watcher.look(task, patient=False)
        _shorten(self._told)

    def stream_began(self, ref: TaskRef) -> None:
        """An event stream of its own brings what happens to the task, so the socket need not."""
        self._streams.add(ref.key)

    def stream_told(self, ref: TaskRef, told: Message | Task) -> None:
        """Its event stream brought a message, or its last state."""
        source = self._sources.get(ref.key)
        if source is None or source.watcher.is_over:
            return
        if isinstance(told, Message):
            source.watcher.receive(told)
        else:
            source.watcher.look(told, patient=True)

    def stream_ended(self, ref: TaskRef) -> None:
        """Its event stream is gone; if the task is not over, the socket and the poller take over."""
        self._streams.discard(ref.key)
        source = self._sources.get(ref.key)
        if source is not None and not source.watcher.is_over:
            source.watcher.by_socket = False
            source.follow()
            source.watcher.reconnected()
            self._poller.reconsider(source.watcher)

    def _listen(self, source: _Source) -> None:
        """Somebody wants to hear what happens, where it was enough to know the end."""
        source.hub = self._hub
        if source.watcher.by_socket and source.ref.key not in self._streams:
            source.watcher.by_socket, source.watcher.polls = False, 0
        if not source.watcher.by_socket:
            source.follow()
            self._poller.reconsider(source.watcher)

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
    watcher: TaskWatcher = attrs.field(init=False)

    def follow(self) -> None:
        if self.hub is not None and self.watcher.token:
            self.hub.follow(self.watcher)

    async def ask(self) -> Task | None:
        watcher, before = self.watcher, self.watcher.state.task
        task = await self.calls.detail(self.ref)
        if task and before and task.status != before.status and watcher.by_socket and not watcher.heard and self.hub:
            self.hub.doubt(watcher)
        if task is not None and not (self.ref.token and self.ref.task_id):
            self.ref = TaskRef(self.ref.task_id or task.id or None, self.ref.token or task.token)
            self.watcher.task_id, self.watcher.token = self.ref.task_id, self.ref.token
            if self.watcher.users:
                self.follow()
        return task


def _shorten(kept: dict[str, bool]) -> None:
    while len(kept) > MAX_KEPT:
        del kept[next(iter(kept))]
