"""Follows one task: takes messages and snapshots from whoever brings them, and tells whoever listens."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import anyio
import attrs

from wiro_async._errors import TaskTimeoutError, WiroError
from wiro_async._protocol.entities import Task
from wiro_async._protocol.events import Progress, Reconnected, TaskEvent, TextDelta
from wiro_async._protocol.messages import Message
from wiro_async._protocol.task_state import TaskState
from wiro_async._transport import clock
from wiro_async._types import TimeoutPhase, Timeouts

MAX_UNREAD = 10_000


class EventBuffer:
    """The events one listener has not read yet. What a newer event makes superfluous is merged, so it stays small."""

    def __init__(self) -> None:
        self._unread: deque[TaskEvent] = deque(maxlen=MAX_UNREAD)
        self._news = anyio.Event()

    def push(self, event: TaskEvent) -> None:
        """Take an event; never waits."""
        merged = _merged(self._unread[-1], event) if self._unread else None
        if merged is None:
            self._unread.append(event)
        else:
            self._unread[-1] = merged
        self._news.set()

    def wake(self) -> None:
        """Let the reader look up."""
        self._news.set()

    async def next(self, watcher: TaskWatcher, start: float, timeouts: Timeouts) -> TaskEvent | None:
        """The next event; None once all are read and the task is over. Cancelling loses nothing."""
        while not self._unread:
            if watcher.is_over:
                return None
            self._news = anyio.Event()
            await watcher.pause(self._news, start, timeouts)
        return self._unread.popleft()


@attrs.define(eq=False)
class TaskWatcher:
    """What is known of one task while somebody waits for it.

    Attributes:
        ask: how Task/Detail is asked about it.
        made_at: the loop time of its submit; None if that is long ago or was elsewhere.
        since: when watching began (loop time).
        last_sign: when it last showed life.
        by_socket: whether an open socket is to bring its messages.
        heard: whether it brought any.
        due: when it is to be polled next, by the poller's reckoning.
        polls: how often it was polled without news.
        failing_since: since when polls have failed, if they do.
        users: how many wait or listen.
    """

    task_id: str | None
    token: str | None = attrs.field(repr=False)
    model: str
    ask: Callable[[], Awaitable[Task | None]] = attrs.field(repr=False)
    made_at: float | None
    since: float = attrs.field(factory=clock.loop_time)
    last_sign: float = attrs.field(factory=clock.loop_time)
    state: TaskState = attrs.field(factory=TaskState)
    by_socket: bool = False
    heard: bool = False
    due: float = 0.0
    polls: int = 0
    asking: bool = False
    failing_since: float | None = None
    users: int = 0
    error: WiroError | None = None
    on_claim: Callable[[TaskWatcher], None] = attrs.field(default=lambda watcher: None, repr=False)
    on_end: Callable[[TaskWatcher], None] = attrs.field(default=lambda watcher: None, repr=False)
    _listeners: list[EventBuffer] = attrs.field(factory=list, repr=False)
    _ended: anyio.Event = attrs.field(factory=anyio.Event, repr=False)

    @property
    def age(self) -> float:
        """Seconds since its submit."""
        return float("inf") if self.made_at is None else clock.loop_time() - self.made_at

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state.over or self.error is not None

    def receive(self, message: Message) -> None:
        """A message about the task came."""
        self.last_sign, self.heard, self.polls = clock.loop_time(), True, 0
        if self._listeners:
            self._tell(self.state.receive(message))
        else:
            self.state.note(message)
        if self.state.claimed:
            self.on_claim(self)

    def look(self, task: Task, patient: bool) -> None:
        """A snapshot came."""
        self.task_id, self.token = self.task_id or task.id or None, self.token or task.token
        self.failing_since = None
        known = (self.state.status, self.state.task and self.state.task.log)
        self._tell(self.state.look(task, patient))
        if known != (self.state.status, self.state.task and self.state.task.log):
            self.last_sign = clock.loop_time()
        if self.state.over:
            self._end()

    def reconnected(self) -> None:
        """The socket that carries its messages was lost and is back."""
        self._tell([Reconnected(status=self.state.status)])

    def fail(self, error: WiroError) -> None:
        """It cannot be followed any more."""
        if not self.is_over:
            self.error = error.with_task(self.task_id, self.token)
            self._end()

    def listen(self, buffer: EventBuffer) -> None:
        """Fill a buffer, first with what is known already, then with every event."""
        for event in self.state.so_far():
            buffer.push(event)
        self._listeners.append(buffer)

    def unlisten(self, buffer: EventBuffer) -> None:
        """Stop filling a buffer."""
        self._listeners.remove(buffer)

    async def wait(self, start: float, timeouts: Timeouts) -> Task:
        """The task once it is over, however it ended. Cancelling stops the wait, not the task.

        Args:
            start: the loop time from which the run and queue time-outs count.

        Raises:
            TaskTimeoutError: the queue, run or idle time-out passed.
        """
        await self.pause(self._ended, start, timeouts)
        return self.outcome()

    async def pause(self, news: anyio.Event, start: float, timeouts: Timeouts) -> None:
        """Wait for something, as long as no time-out passes."""
        while not news.is_set():
            phase, deadline = self._deadline(start, timeouts)
            with anyio.CancelScope(deadline=deadline):
                await news.wait()
            if not news.is_set() and self._deadline(start, timeouts)[1] <= clock.loop_time():
                raise self._timed_out(phase, timeouts)

    def outcome(self) -> Task:
        """The task, when it is over. Raises what ended the watch otherwise."""
        if self.error is not None:
            raise self.error
        assert self.state.task is not None
        return self.state.task

    def _deadline(self, start: float, timeouts: Timeouts) -> tuple[TimeoutPhase, float]:
        deadlines: list[tuple[float, TimeoutPhase]] = [(float("inf"), "run")]
        if timeouts.run is not None:
            deadlines.append((start + timeouts.run, "run"))
        if timeouts.queue is not None and not self.state.started:
            deadlines.append((start + timeouts.queue, "queue"))
        if timeouts.idle is not None:
            deadlines.append((max(start, self.last_sign) + timeouts.idle, "idle"))
        deadline, phase = min(deadlines)
        return phase, deadline

    def _timed_out(self, phase: TimeoutPhase, timeouts: Timeouts) -> TaskTimeoutError:
        seconds: float = getattr(timeouts, phase)
        task = self.state.task
        status = self.state.status or (task.status if task else None)
        return TaskTimeoutError(phase, seconds, self.task_id, self.token, task, status)

    def _tell(self, events: Iterable[TaskEvent]) -> None:
        for event in events:
            for listener in self._listeners:
                listener.push(event)

    def _end(self) -> None:
        self._ended.set()
        for listener in self._listeners:
            listener.wake()
        self.on_end(self)


def _merged(last: TaskEvent, event: TaskEvent) -> TaskEvent | None:
    match last, event:
        case Progress(), Progress() if last.label == event.label:
            return event
        case TextDelta(), TextDelta() if (last.kind, last.index) == (event.kind, event.index):
            return attrs.evolve(event, text=last.text + event.text)
    return None
