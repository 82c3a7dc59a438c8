"""The events of one task, as an async iterator."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from wiro_async._api.results.task_result import TaskFinished, TaskResult
from wiro_async._api.run_options import EventListener
from wiro_async._api.tasks.task_context import TaskContext
from wiro_async._engine.background.user_callback import call_user
from wiro_async._engine.tracking.event_buffer import EventBuffer
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._errors import TaskTimeoutError, UsageError
from wiro_async._protocol.tasks.events import TaskCancelled
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._public import public
from wiro_async._records.task_event import TaskEvent
from wiro_async._records.task_info import TaskInfo

logger = logging.getLogger("wiro_async")


@public
class EventStream:
    """The events of one task: an async iterator, and an async context manager for those who leave early.

    One loop reads it; each loop takes a `task.events()` of its own.

    Attributes:
        over: the final state of the task, once its last event was read.
    """

    _task: TrackedTask | None = None
    _followed: TrackedTask | None = None  # also after the end

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
        self._buffer = EventBuffer(context.tracker.tuning.max_unread_events)
        self._is_closed = False
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
        if self._is_closed:
            raise StopAsyncIteration
        if self._being_read:
            raise UsageError("these events are already being iterated; give each loop a task.events() of its own")
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
        return self.over is not None or (self._task is not None and self._task.state.is_over)

    async def report_to(self, listener: EventListener) -> TaskInfo:
        """Call a function with every event, and return the final state of the task.

        The function's time counts: it is cancelled when a timeout passes. If the task is over by then, the function
        misses the other events, and the result is not lost.
        """
        async for event in self:
            assert self._followed is not None
            with self._followed.limit(self._start, self._context.timeouts) as scope:
                try:
                    await call_user(listener, event)
                except Exception as error:
                    error.add_note(f"on_event raised this; the task is {self._ref.task_id}: wiro.task(task_id=…)")
                    raise
            if scope.cancelled_caught:
                logger.warning("on_event was too slow for task %s: it misses the other events", self._ref.task_id)
                self.close()
                self.over = self._followed.outcome()
        assert self.over is not None
        return self.over

    async def aclose(self) -> None:
        """Do the same as `close`, for `contextlib.aclosing`."""
        self.close()

    def close(self) -> None:
        """Stop following. The task goes on."""
        self._is_closed = True
        if self._task is not None:
            task, self._task = self._task, None
            task.unlisten(self._buffer)
            task.changed.notify()  # a reader may wait for the next event
            self._context.tracker.unfollow(task)

    def __del__(self) -> None:
        if self._task is not None:
            self.close()

    async def _next(self) -> TaskEvent:
        if self._task is None:
            task = await self._context.follow(self._ref, self._model, self._made_at)
            if self._is_closed:  # while the session was being opened
                self._context.tracker.unfollow(task)
                raise StopAsyncIteration
            self._task = self._followed = task
            task.listen(self._buffer)
        task = self._task

        def has_news() -> object:
            if not self._buffer:
                task.catch_up()  # later, a newer message might have replaced this one, and spared its decoding
            return self._buffer or task.is_over or self._is_closed

        await task.pause(task.changed, has_news, self._start, self._context.timeouts)
        if self._buffer:
            return self._buffer.pop()
        if self._is_closed:
            raise StopAsyncIteration
        self.close()
        info = self.over = task.outcome()
        self._on_over(info)
        if info.was_cancelled:
            return TaskCancelled(info, status=info.status)
        return TaskFinished(TaskResult(info, self._context.downloader), status=info.status)
