"""A turn of a conversation as it is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Generic, Self, TypeAlias

import anyio

from wiro_async._api.conversation.chat_state import ChatState
from wiro_async._api.conversation.turn import Turn
from wiro_async._api.conversation.turn_result import TurnResult
from wiro_async._api.results.async_items import AsyncCloseable
from wiro_async._api.results.task_result import T, TaskFinished
from wiro_async._api.tasks.handle import TaskHandle, events_since
from wiro_async._api.tasks.task_events import EventStream
from wiro_async._api.tasks.text_deltas import ReadText
from wiro_async._engine.background.background_tasks import BackgroundTask
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._errors import UsageError, WiroError
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.messages.tool_calls import ToolCall, ToolOutput
from wiro_async._protocol.tasks.events import TextDelta, TextReset
from wiro_async._public import public

TurnEvent: TypeAlias = TextDelta | TextReset | ToolCall | ToolOutput


@cuts_frames
@public
class TurnStream(AsyncCloseable, Generic[T]):
    """Submits on entering, gives events while iterated, and stops the run if it is left before the end.

    The events are `TextDelta`, rarely `TextReset`, and `ToolCall` when the model has completed a call. If tools are run
    here, a `ToolOutput` follows for each of them, then the text of the next run. Tools run in the background: leaving
    the stream cancels them, cancelling a reader does not. Entering the stream again would be another turn, so it raises
    `UsageError`.
    """

    # A turn alternates between a run, whose events are read, and what follows it in the background: its tools, and the
    # submit of the next run. These attributes say where it is: `_exit` whether it was entered, `_events` which run is
    # read, `_job` what follows it, `_outcome` how the turn has ended.
    _exit: AsyncExitStack | None = None
    _turn: Turn[T]
    _task: TrackedTask | None = None
    _handle: TaskHandle | None = None
    _events: EventStream | None = None
    _job: BackgroundTask | None = None
    _outcome: TurnResult[T] | WiroError | None = None
    _is_iterated = False

    def __init__(self, state: ChatState, prepare: Callable[[], Awaitable[Turn[T]]]) -> None:
        self._state = state
        self._prepare = prepare
        self._unread = deque[TurnEvent]()
        self._text = ReadText()

    @property
    def handle(self) -> TaskHandle:
        """The current run."""
        if self._handle is None:
            raise _not_entered()
        return self._handle

    @property
    def text_so_far(self) -> str:
        """The answer of the current run, as far as it was read from this stream."""
        return self._text.answer

    @property
    def thinking_so_far(self) -> str:
        """The thoughts of the current run, as far as they were read from this stream."""
        return self._text.thinking

    @property
    def is_over(self) -> bool:
        """Whether the current run is known to be over, also while there is text left to read, or tools run."""
        return self._events is not None and self._events.is_over

    async def __aenter__(self) -> Self:
        if self._exit is not None:
            raise UsageError("this stream was entered before; each chat.stream(…) is one turn")
        stack = AsyncExitStack()
        stack.enter_context(self._state.turn())
        self._exit = stack
        try:
            self._turn = await self._prepare()
            await self._start_run()
        except BaseException:
            await stack.aclose()
            raise
        stack.push_async_callback(self._stop)
        return self

    async def aclose(self) -> None:
        """Leave the stream, for `contextlib.aclosing`. Harmless if it was not entered, or was left before."""
        if self._exit is not None:
            await self._exit.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TurnEvent:
        if self._is_iterated:
            raise UsageError(
                "this stream is already being iterated: use one loop, and match on the types of its events"
            )
        self._is_iterated = True
        try:
            while not self._unread:
                await self._advance()
        finally:
            self._is_iterated = False
        event = self._unread.popleft()
        self._text.note(event)
        return event

    async def result(self) -> TurnResult[T]:
        """Wait for the end of the turn. Events that were not read are skipped. Errors as of `Conversation.send`.

        Cancelling ends the wait only. Leaving the stream stops the turn.
        """
        async for _ in self:
            pass
        assert isinstance(self._outcome, TurnResult)  # the iteration ends with nothing else
        return self._outcome

    async def _start_run(self) -> None:
        turn, start = self._turn, anyio.current_time()
        task = self._task = await turn.runner.start(turn.next_run(), turn.timeouts)
        handle = self._handle = turn.runner.handle(task, turn.timeouts)
        if turn.on_cancel == "stop":
            task.own()
        self._events = events_since(handle, start, turn.timeouts)
        self._text = ReadText()

    async def _stop(self) -> None:
        """Cancel what runs in the background, and stop the run."""
        if self._job is not None:
            await self._job.cancel(self._turn.runner.engine.tuning.stop_wait)  # it may have started the next run
        assert self._task is not None
        assert self._events is not None
        is_over = self._events.is_over
        self._events.close()
        if self._task.disown() and not is_over:
            await self._task.stop()
        if self._outcome is None:
            self._outcome = _left_early()

    async def _advance(self) -> None:
        """Wait for the next event, or for what follows a run.

        Raises:
            StopAsyncIteration: the turn has ended well, and everything was read.
        """
        if self._events is None:
            raise _not_entered()
        if isinstance(self._outcome, TurnResult):
            raise StopAsyncIteration
        if (ended_by := self._outcome) is not None:
            raise WiroError(
                f"this turn has ended by an error ({ended_by}): leave the stream, then send it again"
            ) from ended_by
        try:
            if self._events.over is None:
                await self._read(self._events)
            else:
                await self._follow(self._events)
        except WiroError as error:
            self._outcome = error
            self._turn.note_earlier_runs(error)
            raise

    async def _read(self, events: EventStream) -> None:
        """Read the next event of a run."""
        try:
            event = await anext(events)
        except StopAsyncIteration:
            raise _left_early() from None  # otherwise the last event comes first
        match event:
            case TextDelta() | TextReset() | ToolCall():
                self._unread.append(event)
            case TaskFinished(result=result) if result.succeeded:
                self._unread += self._text.corrections(result)

    async def _follow(self, events: EventStream) -> None:
        """Wait for what follows a run that is over. A reader that is cancelled meanwhile may come again."""
        if (job := self._job) is None:
            if self._task is not None:
                self._task.disown()
            job = self._job = self._turn.runner.engine.background.start(self._continue, events)
        await job.wait()
        if self._job is job:
            raise _left_early()  # the job was cancelled: at its end it clears itself

    async def _continue(self, events: EventStream) -> None:
        """Run the tools that a run asks for and start the next one, or end the turn."""
        turn = self._turn
        assert events.over is not None
        known = len(turn.outputs)
        goes_on = await turn.continue_after(turn.runner.context.result(events.over))
        self._unread += turn.outputs[known:]
        if goes_on:
            await self._start_run()
        else:
            self._outcome = turn.finish()
        self._job = None


def _not_entered() -> UsageError:
    return UsageError("this stream was not entered: async with chat.stream(…) as stream")


def _left_early() -> WiroError:
    return WiroError("this stream was left before its end")
