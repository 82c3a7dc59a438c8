"""Everything that is known of one task.

News of a task comes from many sides: from a socket, from polls, from an event stream, from callbacks. It comes late,
twice, in any order, or not at all. All of it meets in `apply`, and only a state that Task/Detail reported can end the
task. All who wait for the task, own it or listen to it do so here. Each attribute is written by the methods of
this class only, so a question such as "why was it polled?" has one place to look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Literal, TypeAlias

import anyio

from wiro_async._engine.background.background_tasks import BackgroundTask, BackgroundTasks
from wiro_async._engine.background.change import Change
from wiro_async._engine.calls.limiter import Slot
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.tracking.event_buffer import EventBuffer
from wiro_async._engine.tracking.stopping import stop_task
from wiro_async._errors import SessionClosedError, TaskCancelledError, TaskFailedError, TaskTimeoutError, WiroError
from wiro_async._protocol.messages.frames import Message
from wiro_async._protocol.messages.task_state import OUTPUT_TYPES, TaskState
from wiro_async._protocol.tasks.events import Reconnected
from wiro_async._protocol.tasks.poll_schedule import NEVER, PollSchedule
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_event import TaskEvent
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport import clock
from wiro_async._tuning import Tuning
from wiro_async._types import OnCancel, TimeoutPhase, Timeouts, UpdateMode

logger = logging.getLogger("wiro_async")

FollowMode: TypeAlias = UpdateMode | Literal["callback"]
# What a piece of news has changed. "reported": for the first time since the last check, a message says it is over.
Effect: TypeAlias = Literal["nothing", "moved", "reported", "reported again", "over"]


class TrackedTask:
    """One task of the session, from its submit, or the first wait for it, until nobody needs it any more.

    Args:
        apply: takes a state of the task and acts on it.
        release: drops the record if nobody needs it, and takes it back if somebody needs it again.

    Attributes:
        calls: how it is read and stopped.
        account: whose task it is, as far as this session can know.
        mode: how it was to be followed when it was submitted.
        model: "owner/model", or "" if that is not known.
        made_at: the loop time of its submit in this session; None if it was made elsewhere.
        state: what was reported.
        schedule: when it is polled.
        last_sign: the loop time at which it last showed life.
        error: why it cannot be followed any more.
        users: how many wait for it or listen to it.
        changed: notified after every piece of news.
        wants_socket: whether somebody wants to know more than its end.
        has_own_feed: whether an event stream or a realtime session brings its messages, so that the socket need not.
        is_owned: whether it is stopped when the session closes.
        slot: the right to run, until the task is known to be over.
    """

    def __init__(
        self,
        apply: Callable[[TrackedTask, TaskInfo], Effect],
        release: Callable[[TrackedTask], None],
        background: BackgroundTasks,
        tuning: Tuning,
        calls: TaskCalls,
        ref: TaskRef,
        made_at: float | None,
    ) -> None:
        now = clock.loop_time()
        self._apply = apply
        self._release = release
        self._background = background
        self._tuning = tuning
        self._listeners: list[EventBuffer] = []
        self._pending_text: Message | None = None  # the newest text message, decoded only if nothing newer comes
        self._ended = Change()
        self._stopping: BackgroundTask | None = None
        self._follows_for_slot = False
        self.calls = calls
        self.account = calls.client.account
        self.mode: UpdateMode = "auto"
        self.ref = ref
        self.model = ""
        self.made_at = made_at
        self.state = TaskState()
        self.schedule = PollSchedule(tuning, now)
        self.last_sign = now
        self.error: WiroError | None = None
        self.users = 0
        self.changed = Change()
        self.wants_socket = False
        self.has_own_feed = False
        self.is_owned = False
        self.slot: Slot | None = None

    def __repr__(self) -> str:
        return f"TrackedTask(id={self.ref.task_id!r}, status={self.state.status!r})"

    @property
    def is_over(self) -> bool:
        """Whether no more news will come."""
        return self.state.is_over or self.error is not None

    @property
    def exists(self) -> bool:
        """Whether the task certainly exists: it was made here, or somebody has spoken of it."""
        return self.made_at is not None or self.schedule.was_heard or self.state.info is not None

    @property
    def age(self) -> float:
        """Seconds since its submit in this session; infinite for other tasks."""
        return float("inf") if self.made_at is None else clock.loop_time() - self.made_at

    @property
    def is_stopping(self) -> bool:
        """Whether it is being stopped."""
        return self._stopping is not None and not self._stopping.has_ended

    @property
    def is_needed(self) -> bool:
        """Whether somebody still relies on this record."""
        return bool(self.users or self.slot or self.is_owned or self.is_stopping)

    # Uses

    def begin_use(self, calls: TaskCalls, model: str, mode: FollowMode, made_at: float | None) -> None:
        """Somebody waits for it or listens to it."""
        if not self.users:
            # Nobody followed it for a while. The polling begins again, with the timeouts of the new user.
            self.calls = calls
            self.schedule = PollSchedule(self._tuning, clock.loop_time())
            self.wants_socket = self.has_own_feed = False
        self.users += 1
        self.model = self.model or model
        self.made_at = made_at if self.made_at is None else self.made_at
        self.wants_socket = self.wants_socket or mode not in ("polling", "callback")
        if self.users == 1 and mode == "callback":
            # The callback is a feed as good as a socket, and it speaks only once.
            self.schedule.set_feed(True)
            self.schedule.slow_down()

    def end_use(self) -> None:
        """One of those leaves."""
        self.users -= 1

    def learn(self, ref: TaskRef) -> bool:
        """Take over ids that were not known. Returns whether there were any."""
        known = TaskRef(self.ref.task_id or ref.task_id, self.ref.token or ref.token)
        if known == self.ref:
            return False
        self.ref = known
        return True

    def submitted(self, model: str, mode: UpdateMode, slot: Slot) -> None:
        """The session has made it."""
        self.model, self.mode, self.slot = model, mode, slot

    def watch_slot(self) -> None:
        """The session itself follows it, to learn when its slot is free."""
        self._follows_for_slot = True

    def release_slot(self) -> tuple[Slot | None, bool]:
        """Give up the slot. Returns it, and whether the session itself follows the task because of it."""
        slot, follows = self.slot, self._follows_for_slot
        self.slot, self._follows_for_slot = None, False
        return slot, follows

    # Feeds

    def feed_opened(self) -> None:
        """An open feed is to bring its messages from now on."""
        self.schedule.set_feed(True)

    def feed_closed(self) -> None:
        """No feed brings its messages any more."""
        self.schedule.set_feed(False)

    def use_own_feed(self, has_own_feed: bool) -> None:
        """An event stream or a realtime session brings its messages, or has ended."""
        self.has_own_feed = has_own_feed
        self.schedule.set_feed(has_own_feed)

    def apply(self, news: Message | TaskInfo, *, patient: bool = True) -> Effect:
        """Take a message or a state, and report what it has changed.

        Args:
            patient: a finished task without an exit code, or without text that was reported, is not taken as over yet.
        """
        if self.is_over:
            return "nothing"
        return self._receive(news) if isinstance(news, Message) else self._see(news, patient)

    def touch(self) -> None:
        """It shows life, and says nothing more."""
        self.last_sign = clock.loop_time()
        self.schedule.hear()

    def reconnected(self) -> None:
        """The feed that brings its messages was lost and is back."""
        self._emit([Reconnected(status=self.state.status)])
        self.changed.notify()

    def fail(self, error: WiroError) -> None:
        """It cannot be followed any more."""
        if not self.is_over:
            self.error = error.with_task(self.ref.task_id, self.ref.token, model=self.model)
            self._finish()

    async def read(self) -> TaskInfo | None:
        """Read Task/Detail. None while the service does not list the task."""
        return await self.calls.detail(self.ref)

    # Listening and waiting

    def listen(self, buffer: EventBuffer) -> None:
        """Fill a buffer, first with what is known already, then with every event."""
        self.catch_up()
        for event in self.state.snapshot_events():
            buffer.push(event)
        self._listeners.append(buffer)

    def unlisten(self, buffer: EventBuffer) -> None:
        """Stop filling a buffer."""
        self._listeners.remove(buffer)

    def catch_up(self) -> None:
        """Emit the events of the newest text message, if it was not decoded yet."""
        message, self._pending_text = self._pending_text, None
        if message is not None:
            self._emit(self.state.apply_message(message))

    async def wait(self, start: float, timeouts: Timeouts) -> TaskInfo:
        """Wait until it is over, however it ends. Cancelling ends the wait, not the task.

        Args:
            start: the loop time from which the run and queue timeouts count.

        Raises:
            TaskTimeoutError: the queue, run or idle timeout has passed.
        """
        await self.pause(self._ended, lambda: self.is_over, start, timeouts)
        return self.outcome()

    async def pause(self, change: Change, condition: Callable[[], object], start: float, timeouts: Timeouts) -> None:
        """Wait until a condition holds, which `change` notifies of, unless a timeout passes first."""
        while not condition():
            phase, deadline = self._deadline(start, timeouts)
            if deadline == NEVER:
                await change.wait()
                continue
            with anyio.CancelScope(deadline=deadline):
                await change.wait()
                continue
            if self._deadline(start, timeouts)[1] > clock.loop_time():
                continue  # it showed life, or has started, while this slept
            if self.state.info is None:
                # A task that speaks by its socket may never have been read: the error should show its state.
                with anyio.move_on_after(self._tuning.poll_last_look), suppress(WiroError):
                    info = await self.read()
                    if info is not None:
                        self._apply(self, info)
            elif self.state.info.succeeded and not self.state.is_over:
                # It has succeeded in time, and only its text may follow.
                self.state.stop_waiting()
                self._apply(self, self.state.info)
            if not condition() and self._deadline(start, timeouts)[1] <= clock.loop_time():
                raise self._timed_out(phase, timeouts)

    @contextmanager
    def limit(self, start: float, timeouts: Timeouts) -> Generator[anyio.CancelScope]:
        """Cancel a block when a timeout passes: no function of the user can stretch one.

        Raises:
            TaskTimeoutError: the block was cancelled, and the task is not over.
        """
        loop, timer = asyncio.get_running_loop(), None

        def check() -> None:
            nonlocal timer
            deadline = self._deadline(start, timeouts)[1]
            if deadline <= clock.loop_time():
                scope.cancel()
            elif deadline != NEVER:
                timer = loop.call_at(deadline, check)

        with anyio.CancelScope() as scope:
            check()
            try:
                yield scope
            finally:
                if timer is not None:
                    timer.cancel()
        if scope.cancelled_caught and not self.is_over:
            raise self._timed_out(self._deadline(start, timeouts)[0], timeouts)

    def outcome(self) -> TaskInfo:
        """Its final state. Raises what ended the following otherwise."""
        if self.error is not None:
            raise self.error
        assert self.state.info is not None
        return self.state.info

    # Owning

    @asynccontextmanager
    async def owned(self, on_cancel: OnCancel) -> AsyncGenerator[None]:
        """Stop it on the way out, unless it is left normally or by its own end.

        Cancellation and timeouts wait for that, shielded, for 5 s at most. Then stopping goes on in the background.
        """
        if on_cancel == "leave":
            yield
            return
        self.own()
        try:
            yield
        except BaseException as error:
            is_own_end = isinstance(error, (TaskFailedError, TaskCancelledError)) and (
                {error.task_id, error.token} & {self.ref.task_id, self.ref.token} - {None}
            )
            # If it is no longer owned, the session already stops it.
            if self.disown() and not is_own_end:
                await self.stop()
            raise
        finally:
            self.disown()

    def own(self) -> None:
        """Have it stopped when the session closes, until it is disowned."""
        self.is_owned = True
        self._release(self)  # its slot may have been given up before its caller woke up, and the record with it

    def disown(self) -> bool:
        """Give it up. Returns whether it was still owned: if not, it is being stopped already."""
        was_owned, self.is_owned = self.is_owned, False
        self._release(self)
        return was_owned

    async def stop(self) -> None:
        """Stop it, shielded, and wait 5 s at most. Then stopping goes on in the background."""
        task = self.begin_stop()
        if task is None:
            return
        with anyio.CancelScope(shield=True), anyio.move_on_after(self._tuning.stop_wait):
            await task.ended()
        self.warn_if_stopping()

    def begin_stop(self) -> BackgroundTask | None:
        """Stop it in the background. None if it is too late for that."""
        self.is_owned = False
        try:
            self._stopping = self._background.start(self._stop)
        except SessionClosedError:
            logger.warning("task %s was not stopped: the session is closed", self.ref.task_id)
            return None
        return self._stopping

    async def stopped(self) -> None:
        """Wait until it is no longer being stopped. Cancelling ends the wait only."""
        if self._stopping is not None:
            await self._stopping.ended()

    def warn_if_stopping(self) -> None:
        """Log that it could not be stopped in time."""
        if self.is_stopping:
            seconds = self._tuning.stop_wait
            logger.warning("task %s could not be stopped within %s s", self.ref.task_id, seconds)

    async def _stop(self) -> None:
        tuning = self._tuning
        # Stopping must not wait for a throttled session, and a request without an answer must leave time for another.
        calls = self.calls.urgent(tuning.stop_request)
        try:
            with anyio.move_on_after(tuning.stop_give_up):
                try:
                    await self._stop_once(calls)
                except anyio.get_cancelled_exc_class():
                    # Somebody cancels every task of the loop. That may be why this one is being stopped: do it first.
                    if self._background.has_ended:
                        raise
                    await self._stop_once(calls)
        finally:
            self._stopping = None
            self._release(self)

    async def _stop_once(self, calls: TaskCalls) -> None:
        try:
            await stop_task(calls, self.ref, self._tuning, persist=True)
        except WiroError as error:
            logger.warning("task %s could not be stopped: %s", self.ref.task_id, error)

    # Applying news

    def _receive(self, message: Message) -> Effect:
        self.touch()
        before, was_reported = self.state.status, self.state.reported_over
        if message.is_lazy or (not self._listeners and message.holds_text):
            # Every message holds the whole text so far. It is decoded when somebody reads, or at the end: Task/Detail
            # may lag behind it.
            self._emit(self.state.apply_status(message))
            self._pending_text = message
        elif not self._listeners:
            self.state.apply_status(message)
        else:
            self.catch_up()
            self._emit(self.state.apply_message(message))
        self.changed.notify()
        has_moved = self.state.status != before
        if has_moved or message.type in OUTPUT_TYPES or self.state.reported_over != was_reported:
            self.schedule.move(self.last_sign)
        # Each further message is a reason to check again: the last read may have come too early.
        if self.state.reported_over:
            return "reported again" if was_reported else "reported"
        return "moved" if has_moved else "nothing"

    def _see(self, info: TaskInfo, patient: bool) -> Effect:
        if self._listeners or info.is_over:
            self.catch_up()
        self.learn(TaskRef(info.id or None, info.token))
        self.schedule.succeeded()
        before = (self.state.status, self.state.info and self.state.info.log)
        self._emit(self.state.apply_info(info, patient))
        has_moved = before != (self.state.status, self.state.info and self.state.info.log)
        if has_moved:
            self.last_sign = clock.loop_time()
        if self.state.is_over:
            self._finish()
            return "over"
        self.changed.notify()
        return "moved" if has_moved else "nothing"

    def _emit(self, events: Iterable[TaskEvent]) -> None:
        for event in events:
            for listener in self._listeners:
                listener.push(event)

    def _finish(self) -> None:
        self._ended.notify()
        self.changed.notify()

    # Timeouts

    def _deadline(self, start: float, timeouts: Timeouts) -> tuple[TimeoutPhase, float]:
        deadlines: list[tuple[float, TimeoutPhase]] = [(NEVER, "run")]
        if timeouts.run is not None:
            deadlines.append((start + timeouts.run, "run"))
        if timeouts.queue is not None and not self.state.has_started:
            deadlines.append((start + timeouts.queue, "queue"))
        if timeouts.idle is not None:
            deadlines.append((max(start, self.last_sign) + timeouts.idle, "idle"))
        deadline, phase = min(deadlines)
        return phase, deadline

    def _timed_out(self, phase: TimeoutPhase, timeouts: Timeouts) -> TaskTimeoutError:
        seconds: float = getattr(timeouts, phase)
        task = self.state.info
        status = self.state.status or (task.status if task else None)
        return TaskTimeoutError(
            phase,
            seconds,
            info=task,
            last_status=status,
            model=self.model,
            task_id=self.ref.task_id,
            token=self.ref.token,
        )
