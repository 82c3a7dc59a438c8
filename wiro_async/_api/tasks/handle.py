"""The handle of one task: wait for it, follow it, cancel it."""

from __future__ import annotations

from collections.abc import Callable, Generator

import anyio

from wiro_async._api.results.task_result import TaskResult
from wiro_async._api.tasks.task_context import TaskContext
from wiro_async._api.tasks.task_events import EventStream
from wiro_async._api.tasks.text_deltas import TextDeltas
from wiro_async._engine.tracking.stopping import stop_task
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._public import public
from wiro_async._records.task_info import TaskInfo
from wiro_async._types import Timeouts, merge_timeouts


@cuts_frames
@public
class TaskHandle:
    """A task. Waiting for it, or leaving a wait, never stops it; `cancel()` does.

    `await handle` waits for the result; so does `result()`, which takes timeouts.

    Attributes:
        model: "owner/model", or "" for a task picked up by its token.
    """

    def __init__(
        self,
        ref: TaskRef,
        model: str,
        context: TaskContext,
        made_at: float | None = None,
        *,
        over: TaskInfo | None = None,
        on_over: Callable[[TaskInfo], None] | None = None,
    ) -> None:
        self._ref = ref
        self.model = model
        self._context = context
        self._made_at = made_at  # None once it may be over, so that the next wait reads it at once
        self._over = over
        self._on_over = on_over

    def __repr__(self) -> str:
        return f"TaskHandle(id={self.id!r}, model={self.model!r})"

    @property
    def id(self) -> str | None:
        """The task's number, as text; None if only the token is known."""
        return self._ref.task_id

    @property
    def token(self) -> str | None:
        """The task's secret token; keep it to pick the run up again with `wiro.task(token)`."""
        return self._ref.token

    def __await__(self) -> Generator[object, None, TaskResult]:
        return self.result().__await__()

    async def result(self, timeout: float | Timeouts | None = None) -> TaskResult:
        """Wait for the result. Cancelling stops the wait, not the task.

        Args:
            timeout: seconds to wait from now, or `Timeouts`. The default is that of the session.

        Raises:
            TaskFailedError, TaskCancelledError: it ended without a result.
            TaskTimeoutError: a timeout passed; the task goes on.
        """
        if self._over is None:
            context = self._context.within(merge_timeouts(timeout, self._context.timeouts))
            self._end(await context.wait(self._ref, self.model, self._made_at, anyio.current_time()))
        assert self._over is not None
        return self._context.result(self._over)

    def events(self, *, timeout: float | Timeouts | None = None) -> EventStream:
        """Iterate over its events, from now until it is over: `async for event in handle.events()`.

        The last event is `TaskFinished` or `TaskCancelled`. Leaving the loop does not stop the task.

        Args:
            timeout: seconds to follow it from now, or `Timeouts`. The default is that of the session.

        Raises:
            TaskTimeoutError: while iterating, when a timeout passed; the task goes on.
        """
        return events_since(self, anyio.current_time(), merge_timeouts(timeout, self._context.timeouts))

    def text_deltas(self, *, timeout: float | Timeouts | None = None) -> TextDeltas:
        """Iterate over an LLM's text while the model writes it: `async for delta in handle.text_deltas()`.

        The first delta holds the text so far, each further one only what is new. A rare `TextReset` discards the text
        of one kind. The deltas after it, joined, are exactly the text of the result. Leaving the loop does not stop
        the task.

        Args:
            timeout: seconds to follow it from now, or `Timeouts`. The default is that of the session.

        Raises:
            TaskFailedError, TaskCancelledError: while iterating: it ended without a result.
            TaskTimeoutError: while iterating, when a timeout passed; the task goes on.
        """
        return TextDeltas(self.events(timeout=timeout), self._context)

    async def info(self) -> TaskInfo | None:
        """Ask the service for the task as it is now. None in the first moments, while the task is not listed yet.

        Cancelling ends the call, not the task.

        Raises:
            WiroError: the call failed, or the service does not know the task.
        """
        task = await self._context.calls.detail(self._ref)
        if task is not None:
            self._know(task)
        return task

    async def cancel(self) -> bool:
        """Cancel the task, queued or running. False if it was over before.

        Cancelling this call may leave the task running. Raises `WiroError` if the calls to the service fail.
        """
        cancelled = await stop_task(self._context.calls, self._ref, self._context.tracker.tuning)
        self._made_at = None
        return cancelled

    async def delete_files(self) -> None:
        """Delete its input and output files from the service. Raises `APIError` unless it is over.

        The call is idempotent. Cancelling the call may not undo it.
        """
        await self._context.calls.delete_files(self._ref)

    def _end(self, task: TaskInfo) -> None:
        self._over, self._made_at = task, None
        if self._on_over is not None:
            self._on_over(task)
        self._know(task)

    def _know(self, task: TaskInfo) -> None:
        """Take over ids and a model that were not known when the handle was made."""
        self._ref = TaskRef(self.id or task.id or None, self.token or task.token)
        self.model = self.model or task.model


def events_since(handle: TaskHandle, start: float, timeouts: Timeouts) -> EventStream:
    """Follow the task of a handle, with timeouts that count from the loop time `start`."""
    context = handle._context.within(timeouts)
    return EventStream(handle._ref, handle.model, context, handle._made_at, start, handle._end)
