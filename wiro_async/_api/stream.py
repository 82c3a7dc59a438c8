"""An LLM's answer while it is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from wiro_async._api.handle import EventStream, Following, TaskHandle
from wiro_async._api.results import TaskResult
from wiro_async._engine.stopping import Stopper
from wiro_async._errors import WiroError
from wiro_async._protocol.events import TextDelta, TextReset
from wiro_async._types import OnCancel


class TextStream:
    """Submits on entering, gives `TextDelta` while iterated, stops the task when it is left before the end.

    A rare `TextReset` says that the model took back what it had written of one kind.
    """

    _handle: TaskHandle | None = None
    _events: EventStream | None = None

    def __init__(
        self,
        submit: Callable[[], Awaitable[TaskHandle]],
        following: Following,
        stopper: Stopper,
        on_cancel: OnCancel,
    ) -> None:
        self._submit = submit
        self._following = following
        self._stopper = stopper
        self._on_cancel = on_cancel
        self._text = {"thinking": "", "answer": ""}

    @property
    def handle(self) -> TaskHandle:
        """The task behind the stream."""
        if self._handle is None:
            raise WiroError("this stream was not entered: async with wiro.stream(…) as stream")
        return self._handle

    @property
    def text_so_far(self) -> str:
        """The answer as far as it was read from this stream."""
        return self._text["answer"]

    async def __aenter__(self) -> Self:
        self._handle = await self._submit()
        if self._on_cancel == "stop":
            self._stopper.own(self._following.calls, self._handle.ref)
        self._events = self._handle.events()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        over = self._events is not None and self._events.over is not None
        if self._events is not None:
            self._events.close()
        if self._stopper.disown(self.handle.ref) and not over:
            await self._stopper.stop(self._following.calls, self.handle.ref)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TextDelta | TextReset:
        if self._events is None:
            raise WiroError("this stream was not entered: async with wiro.stream(…) as stream")
        async for event in self._events:
            if isinstance(event, TextDelta):
                self._text[event.kind] += event.text
                return event
            if isinstance(event, TextReset):
                self._text[event.kind] = ""
                return event
        if self._events.over is not None:
            self._following.result(self._events.over)
        raise StopAsyncIteration

    async def result(self) -> TaskResult:
        """Wait for the end and give the result; text that was not read yet is skipped.

        Raises:
            TaskFailedError, TaskCancelledError: there is none.
        """
        async for _ in self:
            pass
        assert self._events is not None
        if self._events.over is None:
            return await self.handle.result()
        return self._following.result(self._events.over)
