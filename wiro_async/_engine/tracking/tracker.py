"""Who is being watched: one watcher a task, however many wait for it."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Literal, TypeAlias

import attrs

from wiro_async._engine.calls.task_calls import TaskCalls, TaskRef
from wiro_async._engine.tracking.poller import Poller
from wiro_async._engine.tracking.socket_feed import SocketFeed
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._errors import WiroError
from wiro_async._protocol.messages.frames import Message
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._types import UpdateMode

WaitMode: TypeAlias = UpdateMode | Literal["callback"]
UNHURRIED = 4  # polls that a wait for a callback counts as made, so that the next is half a minute away
MAX_KEPT = 10_000


class Tracker:
    """Makes watchers, feeds them from the hub and the poller, and drops them when their last user leaves.

    Args:
        on_over: told of each task that has ended.
        made_at: the loop time at which this session made a task, if it did, by that account, and remembers.
    """

    def __init__(
        self,
        poller: Poller,
        socket_feed: SocketFeed,
        on_over: Callable[[TaskRef], None],
        made_at: Callable[[TaskCalls, TaskRef], float | None],
    ) -> None:
        self._poller = poller
        self._socket_feed = socket_feed
        self._on_over = on_over
        self._made_at = made_at
        self._sources: dict[str, _Source] = {}
        self._streams: set[str] = set()
        self._reporting: dict[str, bool] = {}
        self._told: dict[str, bool] = {}

    def __len__(self) -> int:
        return len({id(source) for source in self._sources.values()})

    def __contains__(self, ref: TaskRef) -> bool:
        return self._found(ref) is not None

    def enter(self, calls: TaskCalls, ref: TaskRef, model: str, mode: WaitMode, made_at: float | None) -> TrackedTask:
        """Use the task's watcher; each use ends with `leave`. One that has failed is replaced.

        Args:
            mode: "callback" is for a wait that `told` will end: no socket, and slow polling from the start.
            made_at: the loop time of its submit; None if that is long ago, was elsewhere, or is not known.
        """
        source = self._found(ref)
        made_at = self._made_at(calls, ref) if made_at is None else made_at
        if source is None or source.tracked.error is not None:
            source = self._begun(calls, ref, model, mode, made_at, source)
        else:
            self._share(source, ref, model, mode, made_at)
        source.tracked.users += 1
        return source.tracked

    def leave(self, ref: TaskRef) -> None:
        """End one use. After the end of the session there is none."""
        source = self._sources.get(ref.key)
        if source is None:
            return
        source.tracked.users -= 1
        if not source.tracked.users:
            for key in source.keys:
                del self._sources[key]
            self._unfeed(source.tracked)

    def has_started(self, ref: TaskRef) -> bool:
        """Whether a task that is watched has left the queue, as far as is known."""
        source = self._found(ref)
        return source is None or source.tracked.state.started

    def fail_all(self, error: WiroError) -> None:
        """End all waits with an error, of which each task gets its own."""
        for source in {id(source): source for source in self._sources.values()}.values():
            source.tracked.fail(copy(error))
        self._sources.clear()

    def expect(self, ref: TaskRef) -> None:
        """A callback will tell of the task's end."""
        self._reporting.update(dict.fromkeys(keys_of(ref), True))
        _shorten(self._reporting)

    def will_be_told(self, ref: TaskRef) -> bool:
        """Whether a callback will tell of the task's end."""
        return any(key in self._reporting for key in keys_of(ref))

    def told(self, task: TaskInfo) -> None:
        """A snapshot came from elsewhere: for whoever watches the task, or will begin to in a moment."""
        ref = TaskRef(task.id or None, task.token)
        source = self._found(ref)
        if source is None:
            self._told.update(dict.fromkeys(keys_of(ref), True))
            _shorten(self._told)
        elif not source.tracked.is_over:
            source.tracked.look(task, patient=False)

    def stream_began(self, ref: TaskRef) -> None:
        """An event stream of its own brings what happens to the task, so the socket need not."""
        self._streams.update(keys_of(ref))
        source = self._found(ref)
        if source is not None:
            source.is_streamed = source.tracked.by_socket = True

    def stream_told(self, ref: TaskRef, told: Message | TaskInfo) -> None:
        """Its event stream brought a message, or its last state."""
        source = self._found(ref)
        if source is None or source.tracked.is_over:
            return
        if isinstance(told, Message):
            source.tracked.receive(told)
        else:
            source.tracked.look(told, patient=True)

    def stream_ended(self, ref: TaskRef) -> None:
        """Its event stream is gone; if the task is not over, the socket and the poller take over."""
        self._streams.difference_update(keys_of(ref))
        source = self._found(ref)
        if source is not None and not source.tracked.is_over:
            source.is_streamed = source.tracked.by_socket = False
            source.follow()
            source.tracked.reconnected()
            self._poller.reconsider(source.tracked)

    def _found(self, ref: TaskRef) -> _Source | None:
        return next((self._sources[key] for key in keys_of(ref) if key in self._sources), None)

    def _begun(
        self,
        calls: TaskCalls,
        ref: TaskRef,
        model: str,
        mode: WaitMode,
        made_at: float | None,
        failed: _Source | None,
    ) -> _Source:
        socket_feed = None if mode in ("polling", "callback") else self._socket_feed
        source = _Source(calls, ref, socket_feed, self._alias)
        tracked = source.tracked = TrackedTask(ref.task_id, ref.token, model, source.ask, made_at)
        self._take_over(source, failed)
        tracked.on_claim = self._poller.hurry
        tracked.on_end = self._ended
        source.is_streamed = not self._streams.isdisjoint(keys_of(ref))
        tracked.by_socket = source.is_streamed or mode == "callback"
        tracked.polls = UNHURRIED if mode == "callback" else 0
        if not tracked.by_socket:
            source.follow()
        self._poller.add(tracked)
        if [key for key in keys_of(ref) if self._told.pop(key, False)]:
            tracked.state.claimed = True
            self._poller.hurry(tracked)
        return source

    def _take_over(self, source: _Source, failed: _Source | None) -> None:
        """Be known by the task's ids, in the place of one that has failed, whose users will leave this one."""
        if failed is not None:
            source.tracked.users = failed.tracked.users
            source.keys |= failed.keys
            self._sources.update(dict.fromkeys(failed.keys, source))
        self._alias(source, source.ref)

    def _share(self, source: _Source, ref: TaskRef, model: str, mode: WaitMode, made_at: float | None) -> None:
        tracked = source.tracked
        tracked.model = tracked.model or model
        tracked.made_at = made_at if tracked.made_at is None else tracked.made_at
        source.learn(ref)
        self._alias(source, ref)
        if source.socket_feed is None and mode not in ("polling", "callback"):
            self._listen(source)

    def _alias(self, source: _Source, ref: TaskRef) -> None:
        """Let it be found by both ids, unless somebody else already watches the task by the other one."""
        source.keys.update(key for key in keys_of(ref) if self._sources.setdefault(key, source) is source)

    def _listen(self, source: _Source) -> None:
        """Somebody wants to hear what happens, where it was enough to know the end."""
        source.socket_feed = self._socket_feed
        if source.tracked.by_socket and not source.is_streamed:
            source.tracked.by_socket, source.tracked.polls = False, 0
        if not source.tracked.by_socket:
            source.follow()
            self._poller.reconsider(source.tracked)

    def _ended(self, tracked: TrackedTask) -> None:
        self._unfeed(tracked)
        self._on_over(TaskRef(tracked.task_id, tracked.token))

    def _unfeed(self, tracked: TrackedTask) -> None:
        self._poller.remove(tracked)
        self._socket_feed.unfollow(tracked)


@attrs.define(eq=False)
class _Source:
    """How one watcher gets its snapshots; learns of ids that were not known at first.

    Attributes:
        keys: by which it is found.
        is_streamed: whether an event stream of its own brings its messages.
    """

    calls: TaskCalls
    ref: TaskRef
    socket_feed: SocketFeed | None
    on_learnt: Callable[[_Source, TaskRef], None]
    keys: set[str] = attrs.field(factory=set[str])
    is_streamed: bool = False
    tracked: TrackedTask = attrs.field(init=False)

    def follow(self) -> None:
        if self.socket_feed is not None and self.tracked.token and not self.is_streamed:
            self.socket_feed.follow(self.tracked)

    def learn(self, ref: TaskRef) -> None:
        if self.ref.token and self.ref.task_id:
            return
        self.ref = TaskRef(self.ref.task_id or ref.task_id, self.ref.token or ref.token)
        self.tracked.task_id, self.tracked.token = self.ref.task_id, self.ref.token
        if self.tracked.users:
            self.on_learnt(self, self.ref)
            self.follow()

    async def ask(self) -> TaskInfo | None:
        tracked, before, since = self.tracked, self.tracked.state.task, self.tracked.asked_at
        task = await self.calls.detail(self.ref)
        if (
            task
            and before
            and task.status != before.status
            and tracked.by_socket
            and not tracked.heard
            and self.socket_feed
        ):
            self.socket_feed.doubt(tracked, since)
        if task is not None:
            self.learn(TaskRef(task.id or None, task.token))
        return task


def keys_of(ref: TaskRef) -> tuple[str, ...]:
    """What a task may be known by, the surer first."""
    return tuple(key for key in (ref.token, ref.task_id) if key)


def _shorten(kept: dict[str, bool]) -> None:
    while len(kept) > MAX_KEPT:
        del kept[next(iter(kept))]
