"""The one table of the session's tasks, by id and by token.

Each task has one record, `TrackedTask`, however many wait for it. Feeds bring news of it: the socket, the poller, event
streams, callbacks. They hand it to `Tracker.apply`, which lets the record take it in and acts on what has changed. A
report that the task is over makes the poller check. The end detaches all feeds and gives the slot back. A record leaves
the table when nobody needs it; what must be known longer stays in a bounded memory of ids.
"""

from __future__ import annotations

from copy import copy
from typing import assert_never

import anyio

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.limiter import Limiter, Slot
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.tracking.callback_feed import CallbackFeed
from wiro_async._engine.tracking.event_stream_feed import EventStreamFeed
from wiro_async._engine.tracking.id_memory import IdFact, IdMemory
from wiro_async._engine.tracking.poller import Poller
from wiro_async._engine.tracking.socket_feed import Connect, SocketFeed
from wiro_async._engine.tracking.tracked_task import Effect, FollowMode, TrackedTask
from wiro_async._errors import WiroError
from wiro_async._protocol.messages.frames import Message
from wiro_async._protocol.submission.window import OPEN
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport import clock
from wiro_async._tuning import Tuning
from wiro_async._types import UpdateMode


class Tracker:
    """Knows every task of the session.

    Args:
        max_concurrency: how many tasks may run at once; None leaves that to the service.
        connect: opens a socket.
        per_socket: how many tasks one socket carries.
        polls_per_second: how many reads of Task/Detail may begin each second.

    Attributes:
        tuning: the timing and the limits of the session.
        limiter: hands out the slots that tasks hold.
        socket, event_streams, callbacks: the feeds that other parts use, too.
    """

    def __init__(
        self,
        background: BackgroundTasks,
        tuning: Tuning,
        max_concurrency: int | None,
        connect: Connect,
        per_socket: int,
        polls_per_second: float,
    ) -> None:
        self._background = background
        self.tuning = tuning
        self.limiter = Limiter(tuning, max_concurrency, self.check_slots)
        self._tasks: dict[TrackedTask, None] = {}
        self._by_key: dict[str, TrackedTask] = {}
        self._unchecked: dict[TrackedTask, None] = {}  # they hold slots, and nobody may follow them
        self._memory = IdMemory(tuning.max_known_tasks)
        self._poller = Poller(background, tuning, polls_per_second, self._take_state, self.fail)
        self.socket = SocketFeed(
            background, tuning, connect, per_socket, self.route, self.apply, self._poller.feed_lost
        )
        self.event_streams = EventStreamFeed(background, self.apply, self.feed_ended)
        self.callbacks = CallbackFeed(tuning, self._memory, self._reported_by_callback)

    @property
    def followed(self) -> int:
        """How many tasks somebody waits for or listens to."""
        return sum(task.users > 0 for task in self._tasks)

    @property
    def owned(self) -> int:
        """How many tasks are stopped when the session closes, or are being stopped."""
        return sum(task.is_owned or task.is_stopping for task in self._tasks)

    # The table

    def submitted(
        self, calls: TaskCalls, ref: TaskRef, *, model: str, slot: Slot, mode: UpdateMode, callback_url: str | None
    ) -> TrackedTask:
        """A task was made here. Its slot is given back when the task is known to be over."""
        self.remember(ref.task_id, ref.token)
        self.callbacks.submitted(callback_url, ref, calls)
        task = self._find(calls, ref) or self._new(calls, ref, clock.loop_time())
        if task.slot is not None or task.is_over:
            # Something in between has repeated the response to an earlier run. A task holds one slot, until its end.
            self.limiter.end(slot)
            return task
        task.submitted(model, mode, slot)
        self._unchecked[task] = None
        self.limiter.start(slot)
        if self.limiter.waiting:
            self.check_slots()
        elif self.limiter.level == OPEN and len(self._unchecked) > self.tuning.max_idle_slots:
            # Nobody waits for a slot, so nothing is lost by forgetting who held the oldest one.
            self._give_back(next(iter(self._unchecked)))
        return task

    def follow(
        self, calls: TaskCalls, ref: TaskRef, model: str, mode: FollowMode, made_at: float | None = None
    ) -> TrackedTask:
        """The record of a task, which somebody uses until `unfollow`.

        Args:
            mode: "callback" is for a wait that a callback will end: no socket, and slow polling from the start.
            made_at: the loop time of its submit; None if that is long ago, was elsewhere, or is not known.
        """
        task = self._find(calls, ref)
        if task is not None and task.error is not None:
            # It could not be followed any more. Perhaps it can now; those who used the old record leave the old record.
            made_at = task.made_at if made_at is None else made_at
            self._unindex(task)
            self.release(task)
            task = None
        if task is None:
            task = self._new(calls, ref, made_at)
        is_first, wanted_socket = not task.users, task.wants_socket
        task.begin_use(calls, model, mode, made_at)
        self._learn(task, ref)
        # Feeds are attached for the first user and detached after the last: unfollowed tasks cost nothing.
        if is_first:
            self._attach(task)
        elif mode != "callback" and not wanted_socket:
            # Somebody wants to hear what happens, where it was enough to know the end.
            if not task.has_own_feed:
                task.feed_closed()
                if task.wants_socket:
                    self.socket.attach(task)
            self._poller.feed_lost(task)
        return task

    def unfollow(self, task: TrackedTask) -> None:
        """End one use."""
        task.end_use()
        if not task.users:
            self._detach(task)
            self.release(task)

    def release(self, task: TrackedTask) -> None:
        """Drop a record that nobody needs. Take back one that somebody needs again."""
        if not task.is_needed:
            self._forget(task)
        elif task not in self._tasks:
            self._tasks[task] = None
            self._index(task)

    def route(self, token: str, task_id: str) -> TrackedTask | None:
        """The task with this token, or else with this id."""
        return self._by_key.get(token) or self._by_key.get(task_id)

    def knows(self, *keys: str | None) -> bool:
        """Whether one of these is the id or the token of a task that this session made or identified as its own."""
        return self._memory.has(IdFact.OURS, *keys)

    def remember(self, *keys: str | None) -> None:
        """These are the id and the token of a task that this session made, or has identified as one of its own."""
        self._memory.add(IdFact.OURS, *keys)

    def expects(self, ref: TaskRef) -> bool:
        """Whether the session made a task, or somebody waits for it here."""
        task = self.route(ref.token or "", ref.task_id or "")
        return (task is not None and task.users > 0) or self._memory.has(
            IdFact.OURS | IdFact.EXPECTS_CALLBACK, ref.task_id, ref.token
        )

    # News

    def apply(self, task: TrackedTask, news: Message | TaskInfo) -> Effect:
        """Take news of a task and act on it."""
        if isinstance(news, TaskInfo):
            return self._take_state(task, news, True)
        effect = task.apply(news)
        self._act(task, effect)
        return effect

    def feed_began(self, task: TrackedTask) -> None:
        """A feed of its own brings its messages, so the socket need not."""
        self.socket.detach(task)
        task.use_own_feed(True)

    def feed_ended(self, task: TrackedTask) -> None:
        """Its own feed is gone. If the task is not over, the socket and the poller take over."""
        if task.is_over:
            return
        task.use_own_feed(False)
        if task.wants_socket:
            self.socket.attach(task)
        task.reconnected()
        self._poller.feed_lost(task)

    def ended(self, ref: TaskRef) -> None:
        """A task was cancelled, or found to be over. Those who wait hear of it when Task/Detail is read."""
        task = self.route(ref.token or "", ref.task_id or "")
        if task is not None:
            self._give_back(task)

    def fail(self, task: TrackedTask, error: WiroError) -> None:
        """It cannot be followed any more: all who wait get the error."""
        task.fail(error)
        self._finish(task)

    def check_slots(self) -> None:
        """Follow every task that holds a slot, to learn when it ends: somebody waits for a slot.

        The service allows no more tasks than the limiter's level. Of those that nobody follows the oldest have ended,
        as many as exceed it. While no limit is known nobody waits for an end.
        """
        if self.limiter.level == OPEN:
            return
        unchecked, self._unchecked = list(self._unchecked), {}
        unfollowed = [task for task in unchecked if not task.users]
        for task in unfollowed[: max(0, len(unfollowed) - int(self.limiter.level))]:
            self._give_back(task)
        for task in unchecked:
            if task.slot is not None:
                mode = "callback" if self.callbacks.is_expected(task.ref) else task.mode
                self.follow(task.calls, task.ref, "", mode)
                task.watch_slot()

    # The end of the session

    async def stop_owned(self) -> None:
        """Stop all tasks that are owned, and wait for those being stopped, for 5 s at most."""
        while owned := [task for task in self._tasks if task.is_owned]:
            for task in owned:
                task.begin_stop()
        with anyio.move_on_after(self.tuning.stop_wait):
            while stopping := [task for task in self._tasks if task.is_stopping]:
                await stopping[0].stopped()
        for task in self._tasks:
            task.warn_if_stopping()

    def fail_all(self, error: WiroError) -> None:
        """End all waits, each with an error of its own, and empty the table."""
        for task in list(self._tasks):
            self.fail(task, copy(error))
        # Readers that were not closed still use their records, but nothing of the session may count them.
        self._tasks.clear()
        self._by_key.clear()

    # Within

    def _find(self, calls: TaskCalls, ref: TaskRef) -> TrackedTask | None:
        """The record of a task. A task that another account made may be hidden from this one."""
        for key in filter(None, (ref.token, ref.task_id)):
            task = self._by_key.get(key)
            if task is not None and task.account == calls.client.account:
                return task
        return None

    def _new(self, calls: TaskCalls, ref: TaskRef, made_at: float | None) -> TrackedTask:
        task = TrackedTask(self.apply, self.release, self._background, self.tuning, calls, ref, made_at)
        self._tasks[task] = None
        self._index(task)
        return task

    def _index(self, task: TrackedTask) -> None:
        """Let it be found by its keys, unless another record of the same task has one of them."""
        for key in filter(None, (task.ref.token, task.ref.task_id)):
            self._by_key.setdefault(key, task)

    def _forget(self, task: TrackedTask) -> None:
        self._tasks.pop(task, None)
        self._unchecked.pop(task, None)
        self._unindex(task)

    def _unindex(self, task: TrackedTask) -> None:
        for key in filter(None, (task.ref.token, task.ref.task_id)):
            if self._by_key.get(key) is task:
                del self._by_key[key]

    def _learn(self, task: TrackedTask, ref: TaskRef) -> None:
        if task.learn(ref) and task in self._tasks:
            self._index(task)
            # With its token, which may have come only now, it can be registered at the socket.
            if task.users and task.wants_socket and not task.has_own_feed:
                self.socket.attach(task)

    def _attach(self, task: TrackedTask) -> None:
        self.event_streams.attach(task)
        if task.wants_socket and not task.has_own_feed:
            self.socket.attach(task)
        self._poller.attach(task)
        if self.callbacks.take_report(task.ref):
            task.state.report_over(True)
        if task.state.reported_over:
            self._poller.check_report(task)

    def _detach(self, task: TrackedTask) -> None:
        self._poller.detach(task)
        self.socket.detach(task)
        self.event_streams.detach(task)

    def _take_state(self, task: TrackedTask, info: TaskInfo, patient: bool) -> Effect:
        before, schedule = task.state.info, task.schedule
        has_moved = before is not None and info.status != before.status
        if has_moved and schedule.has_feed and not schedule.was_heard and task.wants_socket:
            self.socket.suspect(task, schedule.read_at)
        # Ids first: applying the state may end the task, and then it must be found under all of them.
        self._learn(task, TaskRef(info.id or None, info.token))
        effect = task.apply(info, patient=patient)
        self._act(task, effect)
        return effect

    def _act(self, task: TrackedTask, effect: Effect) -> None:
        match effect:
            case "over":
                self._finish(task)
            case "reported" | "reported again":
                self._poller.check_report(task)
            case "moved" | "nothing":
                pass
            case _:
                assert_never(effect)

    def _finish(self, task: TrackedTask) -> None:
        self._detach(task)
        self._give_back(task)

    def _give_back(self, task: TrackedTask) -> None:
        """It holds its slot no longer."""
        self._unchecked.pop(task, None)
        # The slot is given up first: what follows may look at this task again.
        slot, was_watched = task.release_slot()
        if was_watched:
            self.unfollow(task)
        if slot is not None:
            self.limiter.end(slot)
        self.release(task)

    def _reported_by_callback(self, calls: TaskCalls, info: TaskInfo) -> None:
        task = self.route(info.token or "", info.id)
        if task is not None and task.users:
            # The callback has waited for the exit code. The text may lag behind what messages brought.
            if self._take_state(task, info, info.exit_code is not None) != "over":
                self._poller.check_report(task)
        else:
            self._memory.add(IdFact.REPORTED, info.id, info.token)
        calls.on_over(TaskRef(info.id or None, info.token))
