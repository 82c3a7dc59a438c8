"""One realtime session: a task on a socket of its own, from its registration until it is over.

Several things happen at once: frames arrive, audio is sent, Task/Detail is polled, timeouts pass, the caller leaves,
the socket breaks. Each of them may come first. So none of them decides anything here: each is reported as an event to
the session's phase (`realtime_phases`, pure), which says what phase follows and what to do. `run` is the loop around
it: it lives until the phase is `Closed`, and takes care of phases that must not last.

Two sides that both wait until the other one reads would wait indefinitely: we stop reading while our caller does not
read, and the service may stop reading while we do not. So while a caller of ours waits, more is read than usual.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager
from decimal import Decimal
from typing import assert_never

import anyio
import attrs

from wiro_async._engine.background.bounded_queue import BoundedQueue
from wiro_async._engine.background.change import Change
from wiro_async._engine.realtime.audio_sender import AudioSender
from wiro_async._engine.realtime.realtime_socket import RealtimeSocket
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import ConnectionFailedError, RealtimeClosedError, SessionClosedError, TaskTimeoutError
from wiro_async._protocol.conversations import realtime_phases as phases
from wiro_async._protocol.conversations.realtime_audio import (
    AudioChunk,
    TurnEnded,
    audio_prefix,
    command,
    is_about,
    parse_events,
)
from wiro_async._protocol.conversations.realtime_phases import Action, EndReason
from wiro_async._protocol.messages.frames import parse_frame
from wiro_async._protocol.messages.task_state import TaskState
from wiro_async._protocol.tasks.events import CostUpdate
from wiro_async._records import status as states
from wiro_async._records.task_event import TaskEvent, Transcript
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport import clock
from wiro_async._tuning import Tuning
from wiro_async._types import Timeouts

logger = logging.getLogger("wiro_async")


class RealtimeConnection:
    """Reads its socket into a queue, sends audio, and learns from Task/Detail when its task is over.

    Attributes:
        unread: events that were not read yet. While it is full, the socket is not read.
        audio: the sending half.
        received: bytes of audio that came.
        transcripts: of all that was said so far, read or not.
    """

    def __init__(
        self,
        tuning: Tuning,
        tracker: Tracker,
        task: TrackedTask,
        socket: RealtimeSocket,
        timeouts: Timeouts,
        start: float,
    ) -> None:
        task.own()
        self._task = tracker.follow(task.calls, task.ref, task.model, "polling", task.made_at)
        tracker.feed_began(self._task)
        self._tuning, self._tracker, self._token = tuning, tracker, task.ref.token or ""
        self._prefix = audio_prefix(self._token)
        self._socket, self._timeouts, self._start = socket, timeouts, start
        self._phase: phases.Phase = phases.Connecting()
        self._changed = Change()
        self._group, self._reading = anyio.create_task_group(), anyio.CancelScope()
        # What the messages on the socket say, in their order. The tracker's state merges them with polls.
        self._state = TaskState()
        self._frames = 0
        self._drain_until = float("inf")  # once the task is over: how long its frames are read, at most
        self._waiting = 0  # callers that wait until the service reads, or ends the session
        self._sending = set[anyio.CancelScope]()  # callers that send a frame
        self._reported_cost: Decimal | None = None
        self.unread = BoundedQueue[TaskEvent](tuning.realtime_unread)
        self.audio = AudioSender(self._token, self._transmit, self._check_input)
        self.received = 0
        self.transcripts: list[Transcript] = []

    @property
    def cost(self) -> Decimal | None:
        """What was billed once the task is over, before that what the service has reported."""
        info = self._task.state.info
        return self._reported_cost if info is None or not info.is_over or info.cost is None else info.cost

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be sent. There may be something to read."""
        return isinstance(self._phase, (phases.Draining, phases.Closed))

    @property
    def was_open(self) -> bool:
        """Whether the model takes audio, or ever did."""
        return phases.was_open(self._phase)

    @property
    def error(self) -> Exception | None:
        """What went wrong, for those who read or send."""
        match self._phase:
            case phases.Closed(reason=EndReason.LOST, error=cause):
                return self._closed_error(cause)
            case phases.Ending() | phases.Disconnected() | phases.Closed():
                return self._phase.error
            case phases.Connecting() | phases.Queued() | phases.Open() | phases.Draining():
                return None
            case _:
                assert_never(self._phase)

    def outcome(self) -> TaskInfo | None:
        """The task, if it is known to be over. Raises what went wrong instead."""
        if (error := self.error) is not None:
            raise error
        return self._task.outcome() if self._task.is_over else None

    async def until_open(self) -> None:
        """Wait until audio can be sent, or the session is closed.

        Raises:
            TaskTimeoutError: the queue timeout passed.
        """
        queue = self._timeouts.queue
        deadline = float("inf") if queue is None else self._start + queue
        with self._reading_more(), anyio.CancelScope(deadline=deadline) as scope:  # nobody reads yet
            await self._changed.until(lambda: self.was_open or isinstance(self._phase, phases.Closed))
        if scope.cancelled_caught:
            raise self._timed_out("queue", queue or 0.0)

    # The loop around the phases

    async def run(self) -> None:
        """Be the connection, until it is closed and its task is over or stopped."""
        try:
            await self._serve()
        finally:
            # If every task of the loop is cancelled, this one is too, and those who read or send must not hang. The
            # task stays owned then, so that closing the session stops it.
            self._apply(phases.Aborted(SessionClosedError("the session was closed meanwhile")))
            self._tracker.unfollow(self._task)
            await self._socket.aclose()

    async def _serve(self) -> None:
        try:
            async with self._group:
                for work in (self._listen, self._follow_task, self._keep_timeouts, self._check_pulse):
                    self._group.start_soon(work)
                while not isinstance(phase := self._phase, phases.Closed):
                    await self._pass(phase)
                # The task costs money, so it is stopped first: a source of audio that waits in a thread, and a socket
                # that does not answer, may take long to end.
                await self._stop_task()
                self._group.cancel_scope.cancel()
        except Exception as error:
            self._apply(phases.Aborted(error))
            await self._stop_task()

    async def _stop_task(self) -> None:
        if self._task.disown():
            await self._task.stop()

    async def _pass(self, phase: phases.Phase) -> None:
        """Wait until a phase is over. A phase that must not last ends by itself."""
        match phase:
            case phases.Ending(reason=EndReason.ENDED):
                seconds = float("inf")  # `end` has a timeout of its own
            case phases.Ending():
                seconds = self._tuning.realtime_end
            case phases.Draining():
                seconds = self._tuning.realtime_last_words
            case phases.Disconnected():
                seconds = self._tuning.realtime_lost
            case phases.Connecting() | phases.Queued() | phases.Open() | phases.Closed():
                seconds = float("inf")
            case _:
                assert_never(phase)
        with anyio.move_on_after(seconds):
            await self._changed.until(lambda: self._phase is not phase)
        # A frame that waits for room in the queue is no silence: only the reader can end that.
        if self._phase is phase and not self.unread.is_blocked:
            self._apply(phases.TimeUp())

    def _apply(self, event: phases.Event) -> None:
        """Go to the phase that follows an event, and take its actions."""
        before = self._phase
        self._phase, actions = before.next(event)
        for action in actions:
            match action:
                case Action.CLOSE_INPUT:
                    self.audio.close()
                case Action.SEND_END:
                    self._group.start_soon(self._send_end)
                case Action.CLOSE_OUTPUT:
                    self.unread.close(self.error)
                case Action.DISCARD_OUTPUT:
                    self.unread.close()
                    self.unread.replace([])
                case Action.STOP_READING:
                    self._reading.cancel()
                case _:
                    assert_never(action)
        if not phases.takes_frames(self._phase):
            for scope in self._sending:
                scope.cancel()
        if self._phase is not before:
            logger.debug("task %s: realtime session: %s", self._task.ref.task_id, type(self._phase).__name__)
            self._changed.notify()

    # What happens to it

    async def _listen(self) -> None:
        """Register the task, and read until the socket is closed or given up."""
        error = ConnectionFailedError("the socket was closed")
        try:
            with self._reading:
                await self._socket.register(self._token)
                self._apply(phases.Registered())
                async with aclosing(self._socket.frames()) as frames:
                    async for frame in frames:
                        self._frames += 1
                        read_at = clock.loop_time()
                        await self._take(frame)
                        # A service that never stops sending must not keep a session alive whose task is over. The time
                        # for which our own reader lets a frame wait does not count.
                        self._drain_until += clock.loop_time() - read_at
                        is_last = self._state.reported_over or clock.loop_time() > self._drain_until
                        self._apply(phases.FrameRead(is_last))
        except ConnectionFailedError as failure:
            error = failure
        finally:
            self._tracker.feed_ended(self._task)  # the task is polled from now on
        self._lose(error)
        await self._socket.aclose()  # so that the service notices, if it has not

    async def _take(self, frame: bytes) -> None:
        if frame.startswith(self._prefix):
            data = frame[len(self._prefix) :]
            self._task.touch()
            self.received += len(data)
            # Audio, and the other events of a turn, come from an open session only: its readiness may be missed where
            # the response to the submit was slow.
            self._apply(phases.Ready())
            await self.unread.put(AudioChunk(data, status=self._state.status), len(data))
            return
        message = parse_frame(frame)
        if message is None or not is_about(message, self._task.ref.task_id, self._token):
            logger.debug("task %s: a frame of %d bytes is not for it", self._task.ref.task_id, len(frame))
            return
        events = parse_events(message, self._state)
        self._tracker.apply(self._task, message)
        if any(isinstance(e, (Transcript, TurnEnded, CostUpdate)) for e in events):
            self._apply(phases.Ready())
        for event in events:
            if isinstance(event, Transcript):
                self.transcripts.append(event)
            elif isinstance(event, CostUpdate) and event.total is not None:
                self._reported_cost = event.total
            await self.unread.put(event, len(frame))

    async def _follow_task(self) -> None:
        """Report what Task/Detail says."""
        task, state = self._task, self._task.state
        while not task.is_over:
            if states.READY in (state.status, state.info and state.info.status):
                self._apply(phases.Ready())
            await task.changed.wait()
        if task.error is None:  # otherwise it could not be polled any more, and may still run
            task.disown()
        self._drain_until = clock.loop_time() + self._tuning.realtime_drain
        self._apply(phases.TaskEnded(self._state.reported_over and not self.unread.is_blocked))

    async def _keep_timeouts(self) -> None:
        """The run and idle timeouts count whatever the caller is doing."""
        try:
            timeouts = attrs.evolve(self._timeouts, queue=None)
            await self._task.pause(self._task.changed, lambda: False, self._start, timeouts)
        except TaskTimeoutError as error:
            self.fail(EndReason.TIMED_OUT, error)

    async def _check_pulse(self) -> None:
        """Notice a connection that is dead and does not say so.

        The socket's own pings cannot do that: their responses wait behind frames that our reader leaves unread on
        purpose.
        """
        pulse = self._tuning.realtime_pulse
        while True:
            await anyio.sleep(pulse)
            frames = self._frames
            if not await self._socket.is_alive(pulse) and frames == self._frames and not self.unread.is_blocked:
                self._lose(ConnectionFailedError(f"no response within {pulse:g} s"))

    def fail(self, reason: EndReason, error: Exception) -> None:
        """End the session with an error for those who read or send. Does not wait."""
        self._apply(phases.Failed(reason, error))

    def leave(self) -> None:
        """End the session, whose caller reads and sends no more. Does not wait."""
        self._apply(phases.Left())

    def _lose(self, error: ConnectionFailedError) -> None:
        is_expected = self._state.reported_over or self._socket.closed_normally or self._task.is_over
        self._apply(phases.SocketLost(error, is_expected))

    # What the caller does

    async def interrupt(self) -> None:
        """Have the model stop speaking, and forget its audio that was not read. Does not wait for audio being sent."""
        await self._check_input()
        await self._transmit(command("task_session_interrupt", self._token))
        kept = [(event, size) for event, size in self.unread.snapshot() if not isinstance(event, AudioChunk)]
        self.unread.replace(kept)

    def request_end(self) -> None:
        """Send the rest of the audio and ask the service to end the session. Does not wait. Repeating is harmless.

        Audio that waits for its time, or for its source, is no longer waited for.
        """
        self._apply(phases.EndRequested())

    async def end(self, seconds: float) -> None:
        """Request the end, and wait for it. All that came can still be read.

        Raises:
            TaskTimeoutError: it did not end within so many seconds.
        """
        self.request_end()
        with self._reading_more(), anyio.move_on_after(seconds):
            await self._changed.until(lambda: self.is_over or self.error is not None)
        if (error := self.error) is not None:
            raise error
        if not self.is_over:
            raise self._timed_out("end", seconds)

    def start(self, feed: Callable[[], Awaitable[None]]) -> None:
        """Run something in the background while the session goes on. Its error ends the session."""
        if not isinstance(self._phase, phases.Open):
            raise self.error or self._closed_error()
        self._group.start_soon(self._feed, feed)

    async def _feed(self, feed: Callable[[], Awaitable[None]]) -> None:
        try:
            await feed()
        except Exception as error:
            self.fail(EndReason.FAILED, error)

    async def _send_end(self) -> None:
        try:
            await self.audio.finish(command("task_session_end", self._token), self._send)
        except ConnectionFailedError as error:
            self._lose(error)

    async def _check_input(self, has_begun: bool = False) -> None:
        """Raise what went wrong, or a `RealtimeClosedError`, if nothing can be sent any more."""
        if isinstance(self._phase, phases.Disconnected):
            await self._until_closed()  # only then it is known whether this is a loss
        match self._phase:
            case phases.Open():
                return
            case phases.Ending(reason=EndReason.ENDED) if has_begun:
                return  # what was being sent when the end was requested is part of the session
        raise self.error or self._closed_error()

    async def _transmit(self, frame: str | bytes) -> None:
        """Send a frame for a caller, who gets the error of a lost session once it is known what that means.

        A service that stops reading blocks this for as long as the socket waits. The session may end before that: by a
        timeout, or because it is left.
        """
        cause: ConnectionFailedError | None = None
        with anyio.CancelScope() as scope:
            self._sending.add(scope)
            try:
                await self._send(frame)
                return
            except ConnectionFailedError as error:
                cause = error
            finally:
                self._sending.discard(scope)
        if cause is not None:
            unread = f"; {self.unread.size} received bytes wait to be read" if self.unread.is_blocked else ""
            self._lose(ConnectionFailedError(f"{str(cause).rstrip('.')}{unread}"))
            await self._until_closed()
        raise self.error or self._closed_error() from cause

    async def _send(self, frame: str | bytes) -> None:
        with self._reading_more(after=self._tuning.realtime_relief):
            await self._socket.send(frame)

    @contextmanager
    def _reading_more(self, after: float = 0.0) -> Generator[None]:
        """Read more than usual while a caller waits for the service, which may wait until we read."""
        loop, tuning = asyncio.get_running_loop(), self._tuning
        timer = loop.call_later(after, self.unread.set_limit, tuning.realtime_unread_relieved)
        self._waiting += 1
        try:
            yield
        finally:
            timer.cancel()
            self._waiting -= 1
            if not self._waiting:
                self.unread.set_limit(tuning.realtime_unread)

    async def _until_closed(self) -> None:
        await self._changed.until(lambda: isinstance(self._phase, phases.Closed) or self.error is not None)

    def _timed_out(self, phase: str, seconds: float) -> TaskTimeoutError:
        state, ref = self._task.state, self._task.ref
        return TaskTimeoutError(
            phase,
            seconds,
            info=state.info,
            last_status=state.status or None,
            model=self._task.model,
            task_id=ref.task_id,
            token=ref.token,
        )

    def _closed_error(self, cause: Exception | None = None) -> RealtimeClosedError:
        """The error for those who want more of the session than there is. With a cause, it was lost."""
        what = f"was lost: {str(cause).rstrip('.')}" if cause else "has ended or is ending, and takes no more audio"
        sent, received = self.audio.sent, self.received
        return RealtimeClosedError(
            f"task {self._task.ref.task_id}: the realtime session {what}; "
            f"{sent} bytes of audio were sent, {received} received",
            task_id=self._task.ref.task_id,
            token=self._token,
            lost=cause is not None,
            transcripts=self.transcripts,
            sent=sent,
            received=received,
            cost=self.cost,
            info=self._task.state.info,
        )
