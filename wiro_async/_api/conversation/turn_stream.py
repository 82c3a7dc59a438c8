"""A turn of a conversation while it happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeAlias

import anyio

from wiro_async._api.conversation.chat_state import ChatState
from wiro_async._api.conversation.turn import Turn
from wiro_async._api.conversation.turn_result import TurnResult
from wiro_async._api.results.task_result import T, TaskFinished
from wiro_async._api.tasks.handle import TaskHandle, events_since
from wiro_async._api.tasks.task_events import EventStream
from wiro_async._api.tasks.text_deltas import TextSoFar
from wiro_async._engine.background.background_tasks import BackgroundTask
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._errors import WiroError
from wiro_async._protocol.conversations.tool_calls import ToolCall, ToolOutput
from wiro_async._protocol.tasks.events import TextDelta, TextReset
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._public import public

TurnEvent: TypeAlias = TextDelta | TextReset | ToolCall | ToolOutput


@public
class TurnStream(Generic[T]):
    """Submits on entering, gives events while iterated, stops the run when it is left before the end.

    The events are `TextDelta` and, rarely, `TextReset`; `ToolCall` when the model has completed a call; and, if tools
    are run here, `ToolOutput` for each of them, after which the text of the next run follows. Tools run in the
    background: a reader that is cancelled while it waits does not disturb them, leaving the stream cancels them.
    Entering it once more would be another turn, so it raises `WiroError`.
    """

    _turn: Turn[T]
    _task: TrackedTask | None = None
    _handle: TaskHandle | None = None
    _events: EventStream | None = None
    _job: BackgroundTask | None = None
    _result: TurnResult[T] | None = None
    _broken: Exception | None = None
    _entered = _left = _being_read = False

    def __init__(self, state: ChatState, prepare: Callable[[], Awaitable[Turn[T]]]) -> None:
        self._state = state
        self._prepare = prepare
        self._told = deque[TurnEvent]()
        self._text = TextSoFar()

    @property
    def handle(self) -> TaskHandle:
        """The run at present."""
        if self._handle is None:
            raise _not_entered()
        return self._handle

    @property
    def text_so_far(self) -> str:
        """The present run's answer, as far as it was read from this stream."""
        return self._text.answer

    @property
    def thinking_so_far(self) -> str:
        """The present run's thoughts, as far as they were read from this stream."""
        return self._text.thinking

    @property
    def is_over(self) -> bool:
        """Whether the present run is known to be over, also when there is text left to read, or tools are run."""
        return self._events is not None and self._events.is_over

    async def __aenter__(self) -> Self:
        if self._entered:
            raise WiroError("this stream was entered before; each chat.stream(…) is one turn")
        self._state.begin()
        self._entered = True
        try:
            self._turn = await self._prepare()
            await self._start()
        except BaseException:
            self._left = True
            self._state.end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """The same as leaving it, for `contextlib.aclosing`; harmless if it was not entered, or is left."""
        if self._left or not self._entered:
            return
        self._left = True
        try:
            if self._job is not None:
                await self._job.cancel(self._turn.runner.engine.tuning.stop_wait)
            await self._stop()
        finally:
            self._state.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TurnEvent:
        if self._being_read:
            raise WiroError("somebody reads this stream already: one loop reads it, and matches on the events' types")
        self._being_read = True
        try:
            while not self._told:
                await self._go_on()
        finally:
            self._being_read = False
        event = self._told.popleft()
        self._text.note(event)
        return event

    async def result(self) -> TurnResult[T]:
        """Wait for the end of the turn; what was not read yet is skipped. Errors as of `Conversation.send`.

        Cancelling ends the wait only; leaving the stream stops the turn.
        """
        async for _ in self:
            pass
        if self._result is None:
            raise _left_early()
        return self._result

    async def _start(self) -> None:
        turn, start = self._turn, anyio.current_time()
        task = self._task = await turn.runner.start(turn.spec(), turn.timeouts)
        handle = self._handle = turn.runner.handle(task, turn.timeouts)
        if turn.options.on_cancel == "stop":
            task.own()
        self._events = events_since(handle, start, turn.timeouts)
        self._text = TextSoFar()

    async def _stop(self) -> None:
        assert self._events is not None
        assert self._task is not None
        is_over = self._events.is_over
        self._events.close()
        if self._task.disown() and not is_over:
            await self._task.stop()

    async def _go_on(self) -> None:
        """Wait for the next event, or for what comes after a run. Raises StopAsyncIteration after all of it."""
        if self._events is None:
            raise _not_entered()
        if self._broken is not None:
            raise WiroError("this turn has ended by an error: leave the stream, then send it again") from self._broken
        if self._result is not None:
            raise StopAsyncIteration
        try:
            if self._events.over is None:
                await self._read(self._events)
            else:
                await self._await_errand(self._events.over)
        except StopAsyncIteration:
            self._broken = _left_early()
            raise self._broken from None
        except WiroError as error:
            self._broken = error
            self._turn.tell_earlier_runs(error)
            raise

    async def _read(self, events: EventStream) -> None:
        event = await anext(events)
        match event:
            case TextDelta() | TextReset() | ToolCall():
                self._told.append(event)
            case TaskFinished(result=result) if result.succeeded:
                self._told += self._text.corrections(result)

    async def _await_errand(self, over: TaskInfo) -> None:
        """A run is over: run tools and start the next one, or end the turn. Who waits for that may come again."""
        runner = self._turn.runner
        if self._job is None:
            if self._task is not None:
                self._task.disown()
            self._job = runner.engine.background.start(self._after, over)
        await self._job.wait()
        self._job = None
        if self._left:
            raise _left_early()

    async def _after(self, over: TaskInfo) -> None:
        turn = self._turn
        known = len(turn.outputs)
        goes_on = await turn.goes_on(turn.runner.context.result(over))
        self._told += turn.outputs[known:]
        if goes_on:
            await self._start()
        else:
            self._result = turn.finished()


def _not_entered() -> WiroError:
    return WiroError("this stream was not entered: async with chat.stream(…) as stream")


def _left_early() -> WiroError:
    return WiroError("this stream was left before its end")
