"""One realtime session: a task on a socket of its own, from its registration until it is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack, aclosing, contextmanager, suppress
from decimal import Decimal

import anyio
import attrs

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.background.change import Change
from wiro_async._engine.calls.task_calls import TaskCalls, TaskRef
from wiro_async._engine.realtime.audio_sender import AudioSender
from wiro_async._engine.realtime.inbox import Inbox
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import ConnectionFailedError, RealtimeClosedError, TaskTimeoutError
from wiro_async._protocol.conversations.realtime_audio import (
    AudioChunk,
    Command,
    Transcript,
    TurnEnded,
    audio_prefix,
    command,
    is_about,
    told_by,
)
from wiro_async._protocol.messages.frames import parse_frame, registration
from wiro_async._protocol.tasks import status as states
from wiro_async._protocol.tasks.events import CostUpdate, TaskEvent
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._protocol.tasks.task_state import TaskState
from wiro_async._transport import clock
from wiro_async._transport.websocket import Socket
from wiro_async._types import Timeouts

logger = logging.getLogger("wiro_async")

END_SECONDS = 5.0  # for a session that is left to end by itself, before its task is stopped
LOST_SECONDS = 5.0  # for the service to notice that a socket is gone, which ends the session
LAST_WORDS = 1.0  # a task is over: so long without a frame, and none is on the way any more
RELIEF_SECONDS = 0.25  # who waits so long to send may wait for a server that waits for us to read
PULSE_SECONDS = 20.0  # between two looks whether anybody is there, and for the answer


@attrs.frozen
class OpenSocket:
    """A socket, and what closes it."""

    socket: Socket
    exit: AsyncExitStack


class RealtimeLine:
    """Reads its socket into an inbox, sends audio, learns from Task/Detail when its task is over.

    Everything it starts runs in the session's nursery; `close` ends all of it.

    Attributes:
        inbox: what came and was not read yet.
        ready: the model takes audio.
        received: bytes of audio.
        transcripts: as told so far.
        error: what went wrong.
    """

    _tracked: TrackedTask
    _connect: Callable[[], Awaitable[OpenSocket]]

    def __init__(
        self,
        tracker: Tracker,
        calls: TaskCalls,
        ref: TaskRef,
        opened: OpenSocket,
        timeouts: Timeouts,
        start: float,
    ) -> None:
        self._tracker, self._calls = tracker, calls
        self._ref, self._token = ref, ref.token or ""
        self._opened, self._timeouts, self._start = opened, timeouts, start
        self._prefix = audio_prefix(self._token)
        self._state = TaskState()
        self._group, self._listening = anyio.create_task_group(), anyio.CancelScope()
        self._news, self._stopped, self._closed = anyio.Event(), anyio.Event(), anyio.Event()
        self._over = self._done = self._gone = self._lost = False
        self._ending = self._closing = self._taking = self._sated = False
        self._senders = set[anyio.CancelScope]()
        self._frames = 0
        self._why = "the socket was closed"
        self.inbox = Inbox()
        self.audio = AudioSender(self._token, self._transmit, self.check_open, self._rest)
        self.ready = False
        self.received = 0
        self.transcripts: list[Transcript] = []
        self._cost: Decimal | None = None
        self.error: Exception | None = None
        self.on_closed: Callable[[RealtimeLine], None] = lambda line: None

    @property
    def task(self) -> TaskInfo | None:
        """The task's last state, if it was told."""
        return self._tracked.state.info

    @property
    def cost(self) -> Decimal | None:
        """What was billed once the task is over, before that what the service has told."""
        task = self.task
        return self._cost if task is None or not task.is_over or task.cost is None else task.cost

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be sent."""
        return self._over or self._done

    def outcome(self) -> TaskInfo | None:
        """The task, if it is known to be over. Raises what went wrong instead."""
        if self.error is not None:
            raise self.error
        return self._tracked.outcome() if self._over else None

    def begin(self, background: BackgroundTasks, model: str, connect: Callable[[], Awaitable[OpenSocket]]) -> None:
        """Own the task from this moment on."""
        self._background, self._connect = background, connect
        self._tracked = self._tracker.follow(self._calls, self._ref, model, "polling", clock.loop_time())
        self._tracked.own()
        self._tracker.feed_began(self._tracked)
        background.start(self._run)

    async def until_ready(self) -> None:
        """Wait until audio can be sent, or there is nothing more to wait for.

        Raises:
            TaskTimeoutError: the queue time-out passed.
        """
        queue = self._timeouts.queue
        self.inbox.relieve()  # nobody reads yet
        with anyio.CancelScope(deadline=float("inf") if queue is None else self._start + queue) as scope:
            await self._until(lambda: self.ready or self._done or self.error is not None)
        self.inbox.tighten()
        if scope.cancelled_caught:
            raise self._timed_out("queue", queue or 0.0)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._news.wait()

    def _tell_news(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    def _timed_out(self, phase: str, seconds: float) -> TaskTimeoutError:
        state, ref = self._tracked.state, self._ref
        return TaskTimeoutError(
            phase, seconds, info=state.info, last_status=state.status or None, task_id=ref.task_id, token=ref.token
        )

    # What comes

    async def _run(self) -> None:
        try:
            async with self._group:
                self._group.start_soon(self._keep_time)
                self._group.start_soon(self._watch)
                await self._listen()
                if self._gone:
                    await self._find_out()
                self._group.cancel_scope.cancel()
        except Exception as error:
            self.fail(error)
        finally:
            self._finish()
            self._tracker.feed_ended(self._tracked)
            await self._opened.exit.aclose()
            self._stopped.set()

    def _finish(self) -> None:
        self._done = True
        self.inbox.close(self.error)
        self._be_sated()

    def fail(self, error: Exception) -> None:
        """What went wrong, for all who read or send."""
        self.error = self.error or error
        self.inbox.close(self.error)
        self._be_sated()

    async def _keep_time(self) -> None:
        """Time-outs count, whatever is being waited for."""
        try:
            await self._tracked.pause(Change(), lambda: False, self._start, attrs.evolve(self._timeouts, queue=None))
        except TaskTimeoutError as error:
            if not (self._closing or self.is_over):
                self.fail(error)

    async def _listen(self) -> None:
        try:
            with self._listening:
                await self._register()
                async with anyio.create_task_group() as group:
                    group.start_soon(self._feel_pulse)
                    await self._read()
                    group.cancel_scope.cancel()
                self._gone = True
        except ConnectionFailedError as error:
            self._gone, self._why = True, str(error)

    async def _register(self) -> None:
        if not self._opened.socket.is_open:  # the submit took long
            await self._opened.exit.aclose()
            self._opened = await self._connect()
        await self._opened.socket.send(registration(self._token))

    async def _read(self) -> None:
        async with aclosing(self._opened.socket.frames()) as frames:
            async for frame in frames:
                self._listening.deadline, self._taking = float("inf"), True
                self._frames += 1
                await self._take(frame)
                self._taking = False
                self._wind_up()

    async def _take(self, frame: bytes) -> None:
        if frame.startswith(self._prefix):
            await self._take_audio(frame[len(self._prefix) :])
            return
        message = parse_frame(frame)
        if message is None or not is_about(message, self._ref.task_id, self._token):
            logger.debug("task %s: a frame of %d bytes is not for it", self._ref.task_id, len(frame))
            return
        events = told_by(message, self._state)
        self._tracker.apply(self._tracked, message)
        for event in events:
            self._note(event)
            await self.inbox.put(event, len(frame))

    async def _take_audio(self, data: bytes) -> None:
        self._tracked.touch()
        self.received += len(data)
        self._be_ready()
        await self.inbox.put(AudioChunk(data, status=self._state.status), len(data))

    def _be_ready(self) -> None:
        """Who speaks is ready, even if it was not heard to say so."""
        if not self.ready:
            self.ready = True
            self._tell_news()

    def _note(self, event: TaskEvent) -> None:
        if isinstance(event, (Transcript, TurnEnded, CostUpdate)):
            self._be_ready()
        if isinstance(event, Transcript):
            self.transcripts.append(event)
        elif isinstance(event, CostUpdate):
            self._cost = self._cost if event.total is None else event.total

    async def _watch(self) -> None:
        while True:
            self._heed()
            await self._tracked.changed.wait()

    def _heed(self) -> None:
        state = self._tracked.state
        if states.READY in (state.status, state.info and state.info.status):
            self.ready = True
        if self._tracked.is_over and not self._over:
            self._over = True
            if self._tracked.error is None:
                self._tracked.disown()
            self._wind_up()
            self._be_sated()
        self._tell_news()

    def _wind_up(self) -> None:
        """A task that is over has nothing more to say: hear what is still on the way, and no longer."""
        if self._over and not self._taking:
            self._listening.deadline = clock.loop_time() + (0.0 if self._state.reported_over else LAST_WORDS)

    async def _feel_pulse(self) -> None:
        while True:
            await anyio.sleep(PULSE_SECONDS)
            frames = self._frames
            if not await self._opened.socket.answers(PULSE_SECONDS) and frames == self._frames and not self.inbox.held:
                self._lose(f"nobody answered for {PULSE_SECONDS:g} s")

    def _lose(self, why: str) -> None:
        if not self._gone:
            self._gone, self._why = True, why
            self._listening.cancel()

    async def _find_out(self) -> None:
        """The socket is gone, and what that means is for Task/Detail to say."""
        was_to_end = self._over or self._ending or self._state.reported_over or self._opened.socket.closed_politely
        self._tracker.feed_ended(self._tracked)
        await self._opened.exit.aclose()  # so that the service notices, if it has not
        with anyio.move_on_after(LOST_SECONDS):
            await self._until(lambda: self._over or self._closing)
        if self._closing or (self._over and was_to_end):
            return
        self._lost = True
        self.fail(self.closed_error())
        self._finish()
        if self._tracked.disown():
            await self._tracked.stop()

    # What is sent

    async def tell(self, kind: Command) -> None:
        """Send a command; it does not wait for audio that is being sent."""
        self.check_open()
        await self._transmit(command(kind, self._token))

    async def _transmit(self, frame: str | bytes) -> None:
        relief = asyncio.get_running_loop().call_later(RELIEF_SECONDS, self.inbox.relieve)
        try:
            await self._opened.socket.send(frame)
        except ConnectionFailedError as error:
            unread = f"; {self.inbox.size} bytes that came wait to be read" if self.inbox.held else ""
            self._lose(f"{error}{unread}")
            await self._until(lambda: self._done)
            raise self.error or self.closed_error() from error
        finally:
            relief.cancel()
            self.inbox.tighten()

    def check_open(self) -> None:
        """Raises `RealtimeClosedError`, or what went wrong, if nothing can be sent any more."""
        if self.is_over or self._ending or self._closing or self.error is not None:
            raise self.error or self.closed_error()

    @contextmanager
    def while_wanted(self) -> Generator[anyio.CancelScope]:
        """Cut short what waits to send audio, once no more is wanted."""
        with anyio.CancelScope() as scope:
            self._senders.add(scope)
            if self._sated:
                scope.cancel()
            try:
                yield scope
            finally:
                self._senders.discard(scope)

    async def _rest(self, seconds: float) -> None:
        with self.while_wanted() as scope:
            await anyio.sleep(seconds)
        if scope.cancelled_caught:
            raise self.error or self.closed_error()

    def _be_sated(self) -> None:
        self._sated = True
        for scope in self._senders:
            scope.cancel()
        self._tell_news()

    def closed_error(self) -> RealtimeClosedError:
        """What to tell who wants more of the session than there is."""
        what = f"was lost: {self._why}" if self._lost else "is over, or about to be, and takes no more audio"
        sent, received = self.audio.sent, self.received
        return RealtimeClosedError(
            f"task {self._ref.task_id}: the realtime session {what}; "
            f"{sent} bytes of audio were sent, {received} received",
            lost=self._lost,
            transcripts=self.transcripts,
            sent=sent,
            received=received,
            cost=self.cost,
            info=self.task,
            task_id=self._ref.task_id,
            token=self._token,
        )

    # How it ends

    async def ask_to_end(self) -> None:
        """Send the rest of the audio and ask the service to end the session. Harmless to ask twice.

        Audio that waits for its time, or for its source, is no more waited for.
        """
        self._be_sated()
        if not self._ending and not self.is_over:
            await self.audio.finish(self._transmit)
        if not self._ending and not self.is_over:
            self._ending = True
            await self._transmit(command("task_session_end", self._token))

    async def end(self, seconds: float) -> None:
        """The same, and wait until it has. What came meanwhile can still be read.

        Raises:
            TaskTimeoutError: it did not in so many seconds.
        """
        with anyio.move_on_after(seconds):
            await self.ask_to_end()
            self.inbox.relieve()
            await self._until(lambda: self.is_over or self.error is not None)
        if not self.is_over:
            raise self.error or self._timed_out("end", seconds)

    def start(self, feed: Callable[[], Awaitable[None]]) -> None:
        """Run something in the background while the session goes on; what it raises goes to the reader."""
        self.check_open()
        self._group.start_soon(self._feed, feed)

    async def _feed(self, feed: Callable[[], Awaitable[None]]) -> None:
        try:
            await feed()
        except Exception as error:
            self.fail(error)

    async def close(self) -> None:
        """End the session in `END_SECONDS`, else stop its task; shielded. It goes on if this is cancelled."""
        if not self._closing:
            self._closing = True
            self._be_sated()
            self._background.start(self._close)
        with anyio.CancelScope(shield=True):
            await self._closed.wait()

    async def _close(self) -> None:
        self.inbox.discard()
        try:
            with anyio.move_on_after(END_SECONDS):
                await self._see_out()
            if self._tracked.disown():
                await self._tracked.stop()
        finally:
            self._listening.cancel()
            self._tracker.unfollow(self._tracked)
            self._tracked.disown()
            with anyio.CancelScope(shield=True):
                await self._stopped.wait()
            self.on_closed(self)
            self._closed.set()

    async def _see_out(self) -> None:
        if not self.ready or self._lost:  # what is still queued has no end, and is stopped
            return
        if not self._ending and not self.is_over:
            self._ending = True
            with suppress(ConnectionFailedError):
                await self.audio.finish(self._opened.socket.send)
                await self._opened.socket.send(command("task_session_end", self._token))
        await self._until(lambda: self._over)
