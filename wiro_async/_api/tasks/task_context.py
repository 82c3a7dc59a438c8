"""How tasks are followed: what handles share for it, and the events of one task."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

import attrs

from wiro_async._api.results.task_result import TaskFinished, TaskResult
from wiro_async._engine.calls.task_calls import TaskCalls, TaskRef
from wiro_async._engine.downloads.downloader import Downloader
from wiro_async._engine.tracking.tracked_task import EventBuffer, TrackedTask
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import TaskCancelledError, TaskFailedError, TaskTimeoutError, WiroError
from wiro_async._protocol.tasks.events import TaskCancelled, TaskEvent
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._public import public
from wiro_async._types import Timeouts, UpdateMode


@attrs.frozen
class TaskContext:
    """How handles follow their tasks; shared by all handles of a session or of a view on it."""

    calls: TaskCalls
    tracker: Tracker
    downloader: Downloader
    mode: UpdateMode
    timeouts: Timeouts

    def within(self, timeouts: Timeouts) -> TaskContext:
        """The same with other time-outs."""
        return attrs.evolve(self, calls=self.calls.within(timeouts.request), timeouts=timeouts)

    async def enter(
        self, ref: TaskRef, model: str, made_at: float | None, *, just_the_end: bool = False
    ) -> TrackedTask:
        """Use the task's watcher; each use ends with `leave`.

        Args:
            just_the_end: nobody listens to what happens before it.
        """
        try:
            await self.calls.sender.ready()
        except WiroError as error:
            error.with_task(ref.task_id, ref.token)
            raise
        by_callback = just_the_end and self.tracker.will_be_told(ref)
        return self.tracker.enter(self.calls, ref, model, "callback" if by_callback else self.mode, made_at)

    def leave(self, ref: TaskRef) -> None:
        """End one use."""
        self.tracker.leave(ref)

    def result(self, task: TaskInfo) -> TaskResult:
        """The result of a task that is over. Raises the error of one that has none."""
        if task.was_cancelled:
            raise TaskCancelledError(task)
        if not task.succeeded:
            raise TaskFailedError(task).hiding(self.calls.sender.credentials.secrets)
        return TaskResult(task, self.downloader)


@public
class EventStream:
    """The events of one task: an async iterator, and an async context manager for those who leave early.

    It is for one reader; each loop takes a `task.events()` of its own.

    Attributes:
        over: the task, once its last event was given.
    """

    _tracked: TrackedTask | None = None

    def __init__(
        self,
        ref: TaskRef,
        model: str,
        context: TaskContext,
        made_at: float | None,
        start: float,
        on_over: Callable[[TaskInfo], None],
    ) -> None:
        self._ref = ref
        self._model = model
        self._context = context
        self._made_at = made_at
        self._start = start
        self._on_over = on_over
        self._buffer = EventBuffer()
        self._done = False
        self._being_read = False
        self.over: TaskInfo | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskEvent:
        if self._done:
            raise StopAsyncIteration
        if self._being_read:
            raise WiroError("somebody reads these events already: give each loop a task.events() of its own")
        self._being_read = True
        try:
            return await self._next()
        except TaskTimeoutError:
            self.close()
            raise
        finally:
            self._being_read = False

    @property
    def is_over(self) -> bool:
        """Whether the task is known to be over, also when its last event was not read yet."""
        return self.over is not None or (self._tracked is not None and self._tracked.state.over)

    async def aclose(self) -> None:
        """The same as `close`, for `contextlib.aclosing`."""
        self.close()

    def close(self) -> None:
        """Stop following; the task goes on."""
        self._done = True
        self._buffer.close()
        if self._tracked is not None:
            self._tracked.unlisten(self._buffer)
            self._context.leave(self._ref)
            self._tracked = None

    def __del__(self) -> None:
        if self._tracked is not None:
            self.close()

    async def _next(self) -> TaskEvent:
        if self._tracked is None:
            self._tracked = await self._context.enter(self._ref, self._model, self._made_at)
            self._tracked.listen(self._buffer)
        tracked = self._tracked
        event = await self._buffer.next(tracked, self._start, self._context.timeouts)
        if event is not None:
            return event
        if self._done:
            raise StopAsyncIteration
        return self._end(tracked)

    def _end(self, tracked: TrackedTask) -> TaskEvent:
        self.close()
        task = self.over = tracked.outcome()
        self._on_over(task)
        if task.was_cancelled:
            return TaskCancelled(task, status=task.status)
        return TaskFinished(TaskResult(task, self._context.downloader), status=task.status)
