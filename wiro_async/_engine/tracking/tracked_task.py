"""Follows one task: takes messages and snapshots from whoever brings them, and tells whoever listens."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import anyio
import attrs

from wiro_async._errors import TaskTimeoutError, WiroError
from wiro_async._protocol.messages.frames import Message
from wiro_async._protocol.messages.text_snapshot import TextKind
from wiro_async._protocol.tasks.events import (
    LogLine,
    Progress,
    Reconnected,
    TaskEvent,
    TextDelta,
    TextReset,
    UnknownEvent,
)
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._protocol.tasks.task_state import OUTPUT_TYPES, TaskState
from wiro_async._transport import clock
from wiro_async._types import TimeoutPhase, Timeouts

MAX_UNREAD = 10_000
LAST_LOOK = 1.0  # seconds that a time-out waits for the task's state, if none was told yet
TEXT_EVENTS = (TextDelta, TextReset)
DISPOSABLE = (LogLine, Progress, UnknownEvent)  # what may come without end; of the rest there are few


class EventBuffer:
    """The events one listener has not read yet. What a newer event makes superfluous is merged, so it stays small.

    Text is never lost: a listener who lags gets it in larger pieces. Of log lines, progress and unknown messages the
    newest are kept, and all of whatever else happens.
    """

    def __init__(self) -> None:
        self._unread: deque[_Unread] = deque()
        self._last_text: _Unread | None = None
        self._news = anyio.Event()
        self._closed = False

    def push(self, event: TaskEvent) -> None:
        """Take an event; never waits."""
        if isinstance(event, TextReset):
            self._unread = deque(other for other in self._unread if not other.is_text_of(event.kind))
        is_text = isinstance(event, TEXT_EVENTS)
        mate = self._last_text if is_text else self._unread[-1] if self._unread else None
        if mate is None or not mate.takes_in(event):
            self._unread.append(_Unread(event))
            if is_text:
                self._last_text = self._unread[-1]
        if len(self._unread) > MAX_UNREAD:
            self._drop_one()
        self._news.set()

    def wake(self) -> None:
        """Let the reader look up."""
        self._news.set()

    def close(self) -> None:
        """Let the reader go: there is nothing more to come."""
        self._closed = True
        self._news.set()

    async def next(self, tracked: TrackedTask, start: float, timeouts: Timeouts) -> TaskEvent | None:
        """The next event; None once all are read and the task is over, or after `close`. Cancelling loses nothing."""
        while not self._unread:
            tracked.catch_up()
            if self._unread:
                break
            if tracked.is_over or self._closed:
                return None
            self._news = anyio.Event()
            await tracked.pause(self._news, start, timeouts)
        first = self._unread.popleft()
        if first is self._last_text:
            self._last_text = None
        return first.event

    def _drop_one(self) -> None:
        for place, unread in enumerate(self._unread):
            if isinstance(unread.event, DISPOSABLE):
                del self._unread[place]
                return


@attrs.define(eq=False)
class _Unread:
    event: TaskEvent

    def is_text_of(self, kind: TextKind) -> bool:
        return isinstance(self.event, TEXT_EVENTS) and self.event.kind == kind

    def takes_in(self, new: TaskEvent) -> bool:
        """Whether a newer event could be merged with this one."""
        match self.event, new:
            case Progress(label=label), Progress() if label == new.label:
                self.event = new
            case TextDelta(kind=kind, index=index, text=text), TextDelta() if (kind, index) == (new.kind, new.index):
                self.event = attrs.evolve(new, text=text + new.text, raw={})
            case _:
                return False
        return True


@attrs.define(eq=False)
class TrackedTask:
    """What is known of one task while somebody waits for it.

    Attributes:
        ask: how Task/Detail is asked about it.
        made_at: the loop time of its submit; None if that is long ago or was elsewhere.
        since: when watching began (loop time).
        last_sign: when it last showed life.
        moved_at: when a message last told something about its run.
        asked_at: when Task/Detail was last asked about it, at first `since`.
        by_socket: whether an open socket is to bring its messages.
        heard: whether it brought any.
        due: when it is to be polled next, by the poller's reckoning.
        polls: how often it was polled since its socket was opened.
        claims: how often Task/Detail was asked since it has claimed to be over.
        disproved: how often it claimed so and was not.
        failing_since: since when polls have failed, if they do.
        refusals, refused_since: how often, and since when, the service has denied to know it or to tell about it.
        users: how many wait or listen.
    """

    task_id: str | None
    token: str | None = attrs.field(repr=False)
    model: str
    ask: Callable[[], Awaitable[TaskInfo | None]] = attrs.field(repr=False)
    made_at: float | None
    since: float = attrs.field(factory=clock.loop_time)
    last_sign: float = attrs.field(factory=clock.loop_time)
    moved_at: float = attrs.field(factory=clock.loop_time)
    asked_at: float = attrs.field(factory=clock.loop_time)
    state: TaskState = attrs.field(factory=TaskState)
    by_socket: bool = False
    heard: bool = False
    due: float = 0.0
    polls: int = 0
    claims: int = 0
    disproved: int = 0
    asking: bool = False
    failing_since: float | None = None
    refusals: int = 0
    refused_since: float = 0.0
    users: int = 0
    error: WiroError | None = None
    on_claim: Callable[[TrackedTask], None] = attrs.field(default=lambda tracked: None, repr=False)
    on_end: Callable[[TrackedTask], None] = attrs.field(default=lambda tracked: None, repr=False)
    _listeners: list[EventBuffer] = attrs.field(factory=list, repr=False)
    _sealed: Message | None = attrs.field(default=None, repr=False)
    _ended: anyio.Event = attrs.field(factory=anyio.Event, repr=False)

    @property
    def age(self) -> float:
        """Seconds since its submit."""
        return float("inf") if self.made_at is None else clock.loop_time() - self.made_at

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state.over or self.error is not None

    @property
    def is_known(self) -> bool:
        """Whether it surely exists: it was made here, or somebody told about it."""
        return self.made_at is not None or self.heard or self.state.task is not None

    def touch(self) -> None:
        """It shows life, and that is all that is to be known."""
        self.last_sign, self.heard = clock.loop_time(), True

    def receive(self, message: Message) -> bool:
        """A message about the task came. One of text so far waits until somebody asks, or a newer one replaces it.

        Whether it took the task further.
        """
        self.last_sign, self.heard = clock.loop_time(), True
        before = (self.state.status, self.state.claimed)
        if not self._listeners:
            self.state.note(message)
        elif message.is_lazy:
            self._tell(self.state.note(message))
            self._sealed = message
            self._wake()
        else:
            self.catch_up()
            self._tell(self.state.receive(message))
        moved = before != (self.state.status, self.state.claimed)
        if moved or message.type in OUTPUT_TYPES:
            self.moved_at = self.last_sign
        if self.state.claimed:
            self.on_claim(self)
        return moved

    def catch_up(self) -> None:
        """Tell of the newest text message, if it was not decoded yet."""
        message, self._sealed = self._sealed, None
        if message is not None:
            self._tell(self.state.receive(message))

    def look(self, task: TaskInfo, patient: bool) -> None:
        """A snapshot came."""
        self.catch_up()
        self.task_id, self.token = self.task_id or task.id or None, self.token or task.token
        self.failing_since, self.refusals = None, 0
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
        self.catch_up()
        for event in self.state.so_far():
            buffer.push(event)
        self._listeners.append(buffer)

    def unlisten(self, buffer: EventBuffer) -> None:
        """Stop filling a buffer."""
        self._listeners.remove(buffer)

    async def wait(self, start: float, timeouts: Timeouts) -> TaskInfo:
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
            if deadline == float("inf"):
                await news.wait()
                return
            with anyio.CancelScope(deadline=deadline):
                await news.wait()
            if not news.is_set() and self._has_passed(start, timeouts):
                await self._look_once()
                if not news.is_set() and self._has_passed(start, timeouts):
                    raise self._timed_out(phase, timeouts)

    def outcome(self) -> TaskInfo:
        """The task, when it is over. Raises what ended the watch otherwise."""
        if self.error is not None:
            raise self.error
        assert self.state.task is not None
        return self.state.task

    async def _look_once(self) -> None:
        """Have a state to tell of: a task that speaks by its socket may never have been asked about."""
        if self.state.task is None:
            with anyio.move_on_after(LAST_LOOK), suppress(WiroError):
                task = await self.ask()
                if task is not None and not self.is_over:
                    self.look(task, patient=True)

    def _has_passed(self, start: float, timeouts: Timeouts) -> bool:
        return self._deadline(start, timeouts)[1] <= clock.loop_time()

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
        return TaskTimeoutError(phase, seconds, info=task, last_status=status, task_id=self.task_id, token=self.token)

    def _tell(self, events: Iterable[TaskEvent]) -> None:
        for event in events:
            for listener in self._listeners:
                listener.push(event)

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.wake()

    def _end(self) -> None:
        self._ended.set()
        self._wake()
        self.on_end(self)
