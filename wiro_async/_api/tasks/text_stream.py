"""The text of an LLM while the model writes it, from submit to result."""

from __future__ import annotations

import warnings
from typing import Self

import anyio

from wiro_async._api.results.async_items import AsyncCloseable
from wiro_async._api.results.task_result import TaskResult
from wiro_async._api.tasks.handle import TaskHandle, events_since
from wiro_async._api.tasks.runner import Runner, RunSpec
from wiro_async._api.tasks.text_deltas import TextDeltas
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._errors import UsageError
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.tasks.events import TextDelta, TextReset
from wiro_async._public import public
from wiro_async._types import Timeouts


@cuts_frames
@public
class TextStream(AsyncCloseable):
    """Submits a run on entering, yields `TextDelta`s, and stops the task if it is left before the end.

    A rare `TextReset` discards the text of one kind. The deltas after it, joined, are exactly the text of the result.
    Each stream is one run, so entering it twice raises `UsageError`.
    """

    _task: TrackedTask | None = None
    _handle: TaskHandle | None = None
    _deltas: TextDeltas | None = None
    _entered = _left = False

    def __init__(self, runner: Runner, spec: RunSpec, timeouts: Timeouts) -> None:
        self._runner = runner
        self._spec = spec
        self._timeouts = timeouts
        self._context = runner.context

    @property
    def handle(self) -> TaskHandle:
        """The task behind the stream."""
        if self._handle is None:
            raise _not_entered()
        return self._handle

    @property
    def text_so_far(self) -> str:
        """The answer as far as it was read from this stream."""
        return self._deltas.text_so_far if self._deltas else ""

    @property
    def thinking_so_far(self) -> str:
        """The thoughts as far as they were read from this stream."""
        return self._deltas.thinking_so_far if self._deltas else ""

    @property
    def is_over(self) -> bool:
        """Whether the task is known to be over, also when there is text left to read."""
        return self._deltas is not None and self._deltas.is_over

    async def __aenter__(self) -> Self:
        if self._entered:
            raise UsageError("this stream was entered before; each wiro.stream(…) is one run")
        self._entered = True
        start = anyio.current_time()
        self._task = await self._runner.start(self._spec, self._timeouts)
        self._handle = self._runner.handle(self._task, self._timeouts)
        if self._spec.on_cancel == "stop":
            self._task.own()
        self._deltas = TextDeltas(events_since(self._handle, start, self._timeouts), self._context)
        return self

    async def aclose(self) -> None:
        """Leave the stream, for `contextlib.aclosing`. Harmless if it was not entered, or was left."""
        if self._left or self._deltas is None:
            return
        self._left, is_over = True, self.is_over
        self._deltas.close()
        if self._task is not None and self._task.disown() and not is_over:
            await self._task.stop()

    def __del__(self) -> None:
        if self._deltas is not None and self._spec.on_cancel == "stop" and not (self._left or self.is_over):
            warnings.warn(
                f"a stream of {self._spec.model} was entered and never left, so its task goes on until the session "
                "is closed. Use `async with`, or call aclose()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TextDelta | TextReset:
        return await anext(self._opened())

    async def result(self) -> TaskResult:
        """Wait for the end and return the result. Text that was not read yet is skipped.

        Cancelling ends the wait only. Leaving the stream stops the task.

        Raises:
            TaskFailedError, TaskCancelledError: the task ended without a result.
        """
        deltas = self._opened()
        async for _ in deltas:
            pass
        return await self.handle.result() if deltas.over is None else self._context.result(deltas.over)

    def _opened(self) -> TextDeltas:
        if self._deltas is None:
            raise _not_entered()
        return self._deltas


def _not_entered() -> UsageError:
    return UsageError("this stream was not entered: async with wiro.stream(…) as stream")
