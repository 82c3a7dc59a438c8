"""A turn of a conversation while it happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeAlias

import anyio

from wiro_async._api.conversation.results import TurnResult
from wiro_async._api.conversation.state import ChatState
from wiro_async._api.conversation.turn import Turn
from wiro_async._api.following import EventStream
from wiro_async._api.handle import TaskHandle
from wiro_async._api.results import T
from wiro_async._errors import WiroError
from wiro_async._protocol.calls import ToolCall, ToolOutput
from wiro_async._protocol.events import TextDelta, TextReset

TurnEvent: TypeAlias = TextDelta | TextReset | ToolCall | ToolOutput


class TurnStream(Generic[T]):
    """Submits on entering, gives events while iterated, stops the run when it is left before the end.

    The events are `TextDelta` and, rarely, `TextReset`; `ToolCall` when the model has completed a call; and, if tools
    are run here, `ToolOutput` for each of them, after which the text of the next run follows.
    """

    _turn: Turn[T]
    _handle: TaskHandle | None = None
    _events: EventStream | None = None
    _result: TurnResult[T] | None = None
    _broken: BaseException | None = None

    def __init__(self, state: ChatState, prepare: Callable[[], Awaitable[Turn[T]]]) -> None:
        self._state = state
        self._prepare = prepare
        self._told = deque[TurnEvent]()
        self._text = {"thinking": "", "answer": ""}

    @property
    def handle(self) -> TaskHandle:
        """The run at present."""
        if self._handle is None:
            raise _not_entered()
        return self._handle

    @property
    def text_so_far(self) -> str:
        """The present run's answer, as far as it was read from this stream."""
        return self._text["answer"]

    async def __aenter__(self) -> Self:
        self._state.begin()
        try:
            self._turn = await self._prepare()
            await self._start()
        except BaseException:
            self._state.end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._events is not None
        self._events.close()
        stopper, following = self._turn.launcher.engine.stopper, self._turn.launcher.following
        try:
            if stopper.disown(self.handle.ref) and self._events.over is None:
                await stopper.stop(following.calls, self.handle.ref)
        finally:
            self._state.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TurnEvent:
        if self._events is None:
            raise _not_entered()
        while not self._told:
            if self._broken is not None:
                raise WiroError(
                    "this turn has ended by an error: leave the stream, then send it again"
                ) from self._broken
            if self._result is not None:
                raise StopAsyncIteration
            event = await self._next_of_run()
            if event is not None:
                return event
            await self._take_result()
        return self._told.popleft()

    async def result(self) -> TurnResult[T]:
        """Wait for the end of the turn; what was not read yet is skipped. Errors as of `Conversation.send`."""
        async for _ in self:
            pass
        if self._result is None:
            raise WiroError("this stream was left before its end")
        return self._result

    async def _start(self) -> None:
        turn, start = self._turn, anyio.current_time()
        handle = self._handle = await turn.launcher.submit_within(turn.timeouts, turn.launch())
        if turn.options.on_cancel == "stop":
            turn.launcher.engine.stopper.own(turn.launcher.following.calls, handle.ref)
        self._events = handle.events_since(start, turn.timeouts)
        self._text = {"thinking": "", "answer": ""}

    async def _next_of_run(self) -> TurnEvent | None:
        assert self._events is not None
        async for event in self._events:
            match event:
                case TextDelta(kind=kind, text=text):
                    self._text[kind] += text
                    return event
                case TextReset(kind=kind):
                    self._text[kind] = ""
                    return event
                case ToolCall():
                    return event
        return None

    async def _take_result(self) -> None:
        """A run is over: run tools and start the next one, or end the turn. A second try could do so twice."""
        assert self._events is not None
        turn, over = self._turn, self._events.over
        try:
            if over is None:
                raise WiroError("this stream was left before its end")
            turn.launcher.engine.stopper.disown(self.handle.ref)
            known = len(turn.outputs)
            goes_on = await turn.goes_on(turn.launcher.following.result(over))
            self._told += turn.outputs[known:]
            if goes_on:
                await self._start()
            else:
                self._result = turn.finished()
        except BaseException as error:
            self._broken = error
            raise


def _not_entered() -> WiroError:
    return WiroError("this stream was not entered: async with chat.stream(…) as stream")
