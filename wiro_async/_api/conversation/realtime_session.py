"""Realtime sessions as callers use them: audio in, audio and words out. https://wiro.ai/docs/realtime-voice"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

import anyio

from wiro_async._api.results.async_items import AsyncCloseable
from wiro_async._api.results.task_result import TaskFinished, TaskResult
from wiro_async._api.tasks.handle import TaskHandle
from wiro_async._api.tasks.runner import Runner, RunSpec
from wiro_async._engine.realtime.realtime_connection import RealtimeConnection
from wiro_async._engine.submission.submission import timed_out
from wiro_async._errors import RealtimeClosedError, UsageError
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.conversations.realtime_audio import PCM, AudioChunk, SampleJoiner, TurnEnded, pcm_view
from wiro_async._public import public
from wiro_async._records.task_event import TaskEvent, Transcript
from wiro_async._types import Timeouts, start_timeout

if TYPE_CHECKING:  # imported with the first socket
    from wiro_async._engine.realtime.realtime_socket import RealtimeSocket

Picked = TypeVar("Picked")


@cuts_frames
@public
class RealtimeSession(AsyncCloseable, AsyncIterator[TaskEvent]):
    """A conversation with a realtime model: voice, text to speech, or speech to text.

    Entering it opens a socket of its own, submits the run and waits until the model is ready. Leaving it, in any way,
    ends the session on the service, and takes 5 s at most. If it does not end gracefully within 4 s, its task is
    stopped. A timeout ends it in the same way, and so does an error of a source of audio.

    Audio is PCM, signed 16-bit little-endian mono at 24 kHz, 48,000 bytes a second, in both directions.

    `async for event in session` gives `AudioChunk`, `Transcript`, `TurnEnded`, `CostUpdate` and the other events of a
    task in order. `TaskFinished` is the last. One loop at a time can read. Unread events wait here, up to 1 MiB (22 s
    of audio). After that the service is slowed down until somebody reads. While this side waits to send, or for the
    end, up to 64 MiB are kept. So nothing hangs if you send a file first and read afterwards. If more than that is
    never read, sending fails.
    """

    _connection: RealtimeConnection | None = None
    _handle: TaskHandle | None = None

    def __init__(self, runner: Runner, spec: RunSpec, timeouts: Timeouts) -> None:
        self._runner = runner
        self._spec = spec
        self._timeouts = timeouts
        self._is_iterated = False
        self._has_finished = False

    @property
    def handle(self) -> TaskHandle:
        """The task behind the session."""
        if self._handle is None:
            raise _not_entered()
        return self._handle

    @property
    def transcript(self) -> list[Transcript]:
        """All that was said so far, read or not."""
        return list(self._entered.transcripts)

    @property
    def cost(self) -> Decimal | None:
        """US dollars: what was billed once the session is over, before that what the service has reported."""
        return self._entered.cost

    @property
    def is_over(self) -> bool:
        """Whether it takes no more audio. There may still be something to read."""
        return self._entered.is_over

    async def __aenter__(self) -> Self:
        if self._handle is not None:
            raise UsageError("this realtime session was entered before; each wiro.realtime(…) is entered once")
        runner, start = self._runner, anyio.current_time()
        realtime = runner.engine.realtime
        await runner.engine.open()
        # The socket comes first: a session that cannot be reached would be paid for all the same.
        phase, seconds = start_timeout(self._timeouts)
        socket: RealtimeSocket | None = None
        with anyio.move_on_after(seconds):
            socket = await realtime.open_socket()
        if socket is None:
            raise timed_out(None, phase, seconds).with_task(model=str(self._spec.model))
        try:
            task = await runner.start(self._spec, self._timeouts, start)
            self._handle = runner.handle(task, self._timeouts)
            connection = self._connection = realtime.begin(task, socket, self._timeouts, start)
        except BaseException:
            await socket.aclose()
            raise
        try:
            await connection.until_open()
            if not connection.was_open:
                self._raise_not_open(connection)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        """Leave the session, for `contextlib.aclosing`. Harmless if it was not entered, or was left before."""
        if self._connection is not None:
            await self._runner.engine.realtime.close(self._connection)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskEvent:
        """The next event. Cancelling loses none.

        Raises:
            TaskFailedError, TaskCancelledError: the task ended without success. Raised after all events.
            RealtimeClosedError: the socket was lost. Raised after all that came before.
            TaskTimeoutError: a timeout passed.
            UsageError: another loop reads the session.
        """
        connection = self._entered
        if self._is_iterated:
            raise UsageError(
                "this realtime session is already being iterated: use one loop, and match on the event types"
            )
        self._is_iterated = True
        try:
            return await connection.unread.get()
        except anyio.EndOfStream:
            if self._has_finished:
                raise StopAsyncIteration from None
            self._has_finished = True
            task = connection.outcome()
            if task is None:
                raise StopAsyncIteration from None
            return TaskFinished(self._runner.context.result(task), status=task.status)
        finally:
            self._is_iterated = False

    def audio(self, *, turns: int | None = None) -> SessionPart[bytes]:
        """The audio alone: `async for chunk in session.audio()`. Other events that come meanwhile are skipped.

        Args:
            turns: stop after this many turns of the model. If not given, stop at the end of the session. Where no
                audio was ever sent, as with text to speech, stop at the end of the first turn.
        """
        connection, ended = self._entered, 0

        def is_last(event: TaskEvent) -> bool:
            nonlocal ended
            ended += isinstance(event, TurnEnded)
            return ended > 0 and (ended == turns or (turns is None and not connection.audio.sent))

        return SessionPart(self, lambda event: event.data if isinstance(event, AudioChunk) else None, is_last)

    def transcripts(self, source: AsyncIterable[PCM] | None = None, *, pace: bool = False) -> SessionPart[Transcript]:
        """The words alone, to the end of the session: `async for said in session.transcripts(microphone())`.

        Args:
            source: audio to send in the background. The session ends when the source does. Its error is raised by the
                loop.
            pace: send the audio no faster than it is spoken.
        """
        if source is not None:
            self._entered.start(partial(self._send_all, source, pace))
        return SessionPart(self, lambda event: event if isinstance(event, Transcript) else None)

    async def send_audio(self, pcm: PCM, *, pace: bool = False) -> None:
        """Send any amount of audio. It is sent in frames of 9,600 bytes. What does not fill one waits for more.

        Waits while the network or the service takes no more. Cancelling it may have sent a part.

        Args:
            pcm: bytes, or an array of 16-bit numbers.
            pace: send it no faster than it is spoken, for models that need it. A microphone does not.

        Raises:
            InvalidInputError: that is not audio. Nothing was sent.
            RealtimeClosedError: the session is over, or its socket was lost (`error.lost`).
            TaskTimeoutError: a timeout passed.
        """
        await self._entered.audio.send(pcm_view(pcm), pace)

    async def send_stream(self, source: AsyncIterable[PCM], *, pace: bool = False) -> None:
        """Send all audio of an async iterator, then `flush`. Returns early if the session ends.

        Arguments and errors as of `send_audio`. If the source is a generator, it is closed at the end. Cancelling this
        may have sent a part, and the session goes on. Half a sample at the end of the source is dropped, and so is one
        that was sent before: otherwise it would shift all later samples by a byte.
        """
        connection, samples = self._entered, SampleJoiner()
        try:
            with connection.audio.until_closed(), suppress(RealtimeClosedError):
                await connection.audio.align()
                async for pcm in source:
                    await self.send_audio(samples.feed(pcm_view(pcm)), pace=pace)
                await self.flush()
            if (error := connection.error) is not None:
                raise error
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    async def flush(self) -> None:
        """Send what does not fill a frame yet, unpadded, so that the end of a word does not wait for the next one.

        Half a sample stays. Cancelling it may have sent it. Errors as of `send_audio`.
        """
        await self._entered.audio.flush()

    async def interrupt(self) -> None:
        """Have the model stop speaking, and forget its audio that was not read yet.

        Cancelling it may have interrupted the model. Errors as of `send_audio`.
        """
        await self._entered.interrupt()

    async def end(self, timeout: float = 30.0) -> None:
        """Send the rest of the audio, end the session, and wait until it is over. All that came can be read then.

        This cuts a model short that has more to say: wait for its `TurnEnded` first. It also cuts short audio that is
        being sent with `pace=True`, or from a source. Leaving the session ends it as well. Cancelling ends the wait
        only, and the session may end all the same.

        Args:
            timeout: seconds to wait.

        Raises:
            TaskTimeoutError: it did not end in time, or another timeout passed. Leaving the session stops it.
            RealtimeClosedError: the socket was lost.
        """
        await self._entered.end(timeout)

    async def result(self) -> TaskResult:
        """End the session if it is not over, and return its result, with the cost. Cancelling as in `end`.

        Raises:
            TaskFailedError, TaskCancelledError: it ended without success. Others as in `end`.
        """
        connection = self._entered
        if not connection.is_over:
            await connection.end(30.0)
        task = connection.outcome()
        return await self.handle.result() if task is None else self._runner.context.result(task)

    @property
    def _entered(self) -> RealtimeConnection:
        if self._connection is None:
            raise _not_entered()
        return self._connection

    def _raise_not_open(self, connection: RealtimeConnection) -> None:
        task = connection.outcome()
        if task is not None:
            self._runner.context.result(task)
        raise RealtimeClosedError(
            f"task {self.handle.id} of {self._spec.model} ended before it was ready for audio; "
            "is that a realtime model?",
            task_id=self.handle.id,
            token=self.handle.token,
            info=task,
        )

    async def _send_all(self, source: AsyncIterable[PCM], pace: bool) -> None:
        await self.send_stream(source, pace=pace)
        self._entered.request_end()


@cuts_frames
class SessionPart(AsyncCloseable, AsyncIterator[Picked]):
    """Some of the events of a session. It holds nothing, so it can be left at any time."""

    def __init__(
        self,
        events: AsyncIterator[TaskEvent],
        pick: Callable[[TaskEvent], Picked | None],
        is_last: Callable[[TaskEvent], bool] = lambda event: False,
    ) -> None:
        self._events = events
        self._pick = pick
        self._is_last = is_last
        self._ended = False

    async def aclose(self) -> None:
        """Stop here. The session goes on."""
        self._ended = True

    async def __anext__(self) -> Picked:
        while not self._ended:
            event = await anext(self._events)
            self._ended = self._is_last(event)
            picked = self._pick(event)
            if picked is not None:
                return picked
        raise StopAsyncIteration


def _not_entered() -> UsageError:
    return UsageError("this realtime session was not entered: async with wiro.realtime(…) as session")
