"""A realtime session in your hand: audio in, audio and words out. https://wiro.ai/docs/realtime-voice"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import anyio

from wiro_async._api.results.async_items import AsyncCloseable
from wiro_async._api.results.task_result import TaskFinished, TaskResult
from wiro_async._api.tasks.handle import TaskHandle
from wiro_async._api.tasks.runner import Runner, RunSpec
from wiro_async._engine.realtime.realtime_connection import RealtimeLine
from wiro_async._errors import RealtimeClosedError, WiroError
from wiro_async._protocol.conversations.realtime_audio import PCM, AudioChunk, Transcript, TurnEnded, pcm_view
from wiro_async._protocol.tasks.events import TaskEvent
from wiro_async._public import public
from wiro_async._types import Timeouts

Picked = TypeVar("Picked")


@public
class RealtimeSession(AsyncIterator[TaskEvent]):
    """A conversation with a realtime model: voice, text to speech, or speech to text.

    Entering it opens a socket of its own, submits the run and waits until the model is ready. Leaving it, in any way,
    ends the session on the service: gracefully if that takes no more than 5 s, else its task is stopped.

    Audio is PCM, signed 16-bit little-endian mono at 24 kHz, 48,000 bytes a second, both ways.

    `async for event in session` gives `AudioChunk`, `Transcript`, `TurnEnded`, `CostUpdate` and the other events of a
    task in their order; `TaskFinished` is the last. One loop at a time reads. What is not read waits here, up to 1 MiB
    (22 s of audio); after that the service is slowed down, until somebody reads. Only while this side waits to send,
    or for the end, is more kept, up to 64 MiB. So nothing hangs if you send a file first and read afterwards; if
    nobody ever reads more than that, sending fails.
    """

    _line: RealtimeLine | None = None
    _handle: TaskHandle | None = None

    def __init__(self, runner: Runner, spec: RunSpec, timeouts: Timeouts) -> None:
        self._runner = runner
        self._spec = spec
        self._timeouts = timeouts
        self._finished = False

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
        """US dollars: what was billed once it is over, before that what the service has told."""
        return self._entered.cost

    @property
    def is_over(self) -> bool:
        """Whether it takes no more audio. There may still be something to read."""
        return self._entered.is_over

    async def __aenter__(self) -> Self:
        if self._handle is not None:
            raise WiroError("a realtime session is entered once; make another one")
        start = anyio.current_time()
        line = self._line = await self._begun(start)
        try:
            await line.until_ready()
            if not line.ready:
                self._raise_unready(line)
        except BaseException:
            await line.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """The same as leaving it, for `contextlib.aclosing`; harmless if it was not entered, or is left."""
        if self._line is not None:
            await self._line.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskEvent:
        """The next event. Cancelling loses nothing.

        Raises:
            TaskFailedError, TaskCancelledError: the task ended without success; after all events.
            RealtimeClosedError: the socket was lost; after all that came before.
            TaskTimeoutError: a time-out passed.
        """
        line = self._entered
        event = await line.inbox.next()
        if event is not None:
            return event
        if self._finished:
            raise StopAsyncIteration
        self._finished = True
        task = line.outcome()
        if task is None:
            raise StopAsyncIteration
        return TaskFinished(self._runner.context.result(task), status=task.status)

    def audio(self, *, turns: int | None = None) -> SessionPart[bytes]:
        """The audio alone: `async for chunk in session.audio()`. Other events that come meanwhile are skipped.

        Args:
            turns: stop after so many turns of the model. If not given, at the end of the session; or, where no audio
                was ever sent, as with text to speech, at the end of the first turn.
        """
        line, ended = self._entered, 0

        def is_last(event: TaskEvent) -> bool:
            nonlocal ended
            ended += isinstance(event, TurnEnded)
            return ended > 0 and (ended == turns or (turns is None and not line.audio.sent))

        return SessionPart(self, lambda event: event.data if isinstance(event, AudioChunk) else None, is_last)

    def transcripts(self, source: AsyncIterable[PCM] | None = None, *, pace: bool = False) -> SessionPart[Transcript]:
        """The words alone, to the end of the session: `async for said in session.transcripts(microphone())`.

        Args:
            source: audio to send meanwhile, in the background; when it ends, the session is ended. What it raises
                comes out here.
            pace: send it no faster than it is spoken.
        """
        if source is not None:
            self._entered.start(partial(self._send_all, source, pace))
        return SessionPart(self, lambda event: event if isinstance(event, Transcript) else None)

    async def send_audio(self, pcm: PCM, *, pace: bool = False) -> None:
        """Send audio, any amount of it: it leaves in frames of 9,600 bytes, what fills none waits for more.

        It waits while the network or the service takes no more. Cancelling it may have sent a part.

        Args:
            pcm: bytes, or an array of 16-bit numbers.
            pace: send it no faster than it is spoken, for models that mind. A microphone needs none.

        Raises:
            InvalidInputError: that is no audio; nothing was sent.
            RealtimeClosedError: the session is over, or its socket was lost (`error.lost`).
            TaskTimeoutError: a time-out passed.
        """
        await self._entered.audio.send(pcm_view(pcm), pace)

    async def send_stream(self, source: AsyncIterable[PCM], *, pace: bool = False) -> None:
        """Send all audio of an async iterator, and `flush`. It returns early if the session ends.

        Arguments and errors as of `send_audio`. A generator is closed in the end. Cancelling it may have sent a part;
        the session goes on.
        """
        line = self._entered
        try:
            with line.while_wanted(), suppress(RealtimeClosedError):
                async for pcm in source:
                    await self.send_audio(pcm, pace=pace)
                await self.flush()
            if line.error is not None:
                raise line.error
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    async def flush(self) -> None:
        """Send what fills no frame yet, unpadded, so that no word's end waits for the next. Half a sample stays.

        Cancelling it may have sent it. Errors as of `send_audio`.
        """
        await self._entered.audio.flush()

    async def interrupt(self) -> None:
        """Have the model stop speaking, and forget what it said that was not read yet.

        Cancelling it may have told the model. Errors as of `send_audio`.
        """
        line = self._entered
        await line.tell("task_session_interrupt")
        line.inbox.drop_audio()

    async def end(self, timeout: float = 30.0) -> None:
        """Send the rest of the audio, end the session, and wait until it has. All that came can still be read then.

        A model that still has something to say is cut short: wait for its `TurnEnded` first. Audio that is being sent
        with `pace=True`, or from a source, is cut short, too. Leaving the session ends it as well. Cancelling ends
        the wait; it may end all the same.

        Raises:
            TaskTimeoutError: it did not in so many seconds, or another time-out passed; leaving the session stops it.
            RealtimeClosedError: the socket was lost.
        """
        await self._entered.end(timeout)

    async def result(self) -> TaskResult:
        """End the session if it is not over, and give its result, with the cost. Cancelling as in `end`.

        Raises:
            TaskFailedError, TaskCancelledError: it ended without success. Others as in `end`.
        """
        line = self._entered
        if not line.is_over:
            await line.end(30.0)
        task = line.outcome()
        return await self.handle.result() if task is None else self._runner.context.result(task)

    @property
    def _entered(self) -> RealtimeLine:
        if self._line is None:
            raise _not_entered()
        return self._line

    async def _begun(self, start: float) -> RealtimeLine:
        runner = self._runner
        realtime, calls = runner.engine.realtime, runner.context.calls
        await runner.engine.open()
        opened = await realtime.connect()
        try:
            task = await runner.start(self._spec, self._timeouts)
            self._handle = runner.handle(task, self._timeouts)
        except BaseException:
            await opened.exit.aclose()
            raise
        return realtime.begin(calls, task.ref, self._spec.model, opened, self._timeouts, start)

    def _raise_unready(self, line: RealtimeLine) -> None:
        task = line.outcome()
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
        await self._entered.ask_to_end()


class SessionPart(AsyncCloseable, AsyncIterator[Picked]):
    """Some of a session's events. It holds nothing, so it can be left at any time."""

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
        """Give nothing more; the session goes on."""
        self._ended = True

    async def __anext__(self) -> Picked:
        while not self._ended:
            event = await anext(self._events)
            self._ended = self._is_last(event)
            picked = self._pick(event)
            if picked is not None:
                return picked
        raise StopAsyncIteration


def _not_entered() -> WiroError:
    return WiroError("this session was not entered: async with wiro.realtime(…) as session")
