"""A run in your hand: wait for it, follow it, stop it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from types import TracebackType
from typing import Self

import anyio
import attrs

from wiro_async._api.results import TaskFinished, TaskResult
from wiro_async._engine.downloader import Downloader
from wiro_async._engine.stopping import stop_task
from wiro_async._engine.task_calls import TaskCalls, TaskRef
from wiro_async._engine.watcher import EventBuffer, TaskWatcher
from wiro_async._engine.watches import Watches
from wiro_async._errors import TaskCancelledError, TaskFailedError, TaskTimeoutError
from wiro_async._protocol.entities import Task
from wiro_async._protocol.events import TaskCancelled, TaskEvent, TextDelta, TextReset
from wiro_async._types import ProgressMode, Timeouts


@attrs.frozen
class Following:
    """How handles follow their tasks; shared by all handles of a session or of a view on it."""

    calls: TaskCalls
    watches: Watches
    downloader: Downloader
    mode: ProgressMode
    timeouts: Timeouts

    def within(self, timeouts: Timeouts) -> Following:
        """The same with other time-outs."""
        return attrs.evolve(self, calls=self.calls.within(timeouts.request), timeouts=timeouts)

    async def enter(
        self, ref: TaskRef, model: str, made_at: float | None, *, just_the_end: bool = False
    ) -> TaskWatcher:
        """Use the task's watcher; each use ends with `leave`.

        Args:
            just_the_end: nobody listens to what happens before it.
        """
        await self.calls.sender.ready()
        by_callback = just_the_end and self.watches.will_be_told(ref)
        return self.watches.enter(self.calls, ref, model, "callback" if by_callback else self.mode, made_at)

    def leave(self, ref: TaskRef) -> None:
        """End one use."""
        self.watches.leave(ref)

    def result(self, task: Task) -> TaskResult:
        """The result of a task that is over. Raises the error of one that has none."""
        if task.was_cancelled:
            raise TaskCancelledError(task)
        if not task.succeeded:
            raise TaskFailedError(task)
        return TaskResult(task, self.downloader)


class TaskHandle:
    """A task. Whoever holds its handle owns it: nothing done while waiting here ever stops it but `stop()`.

    `await handle` waits for the result; so does `result()`, which takes time-outs.

    Attributes:
        model: "owner/model", or "" for a task picked up by its token.
    """

    def __init__(self, ref: TaskRef, model: str, following: Following, made_at: float | None = None) -> None:
        self._ref = ref
        self.model = model
        self._following = following
        self._made_at = made_at  # None once it may be over, so that the next wait asks at once
        self._over: Task | None = None

    @property
    def ref(self) -> TaskRef:
        """Its id and token."""
        return self._ref

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
            timeout: seconds to wait from now, or `Timeouts`; the session's if not given.

        Raises:
            TaskFailedError, TaskCancelledError: it ended without a result.
            TaskTimeoutError: a time-out passed; the task goes on.
        """
        return await self.result_since(anyio.current_time(), Timeouts.of(timeout, self._following.timeouts))

    async def result_since(self, start: float, timeouts: Timeouts) -> TaskResult:
        """Wait for the result with time-outs that count from `start`, a time of the event loop."""
        if self._over is None:
            following = self._following.within(timeouts)
            watcher = await following.enter(self._ref, self.model, self._made_at, just_the_end=True)
            try:
                self._end(await watcher.wait(start, timeouts))
            finally:
                self._following.leave(self._ref)
        assert self._over is not None
        return self._following.result(self._over)

    def events(self, *, timeout: float | Timeouts | None = None) -> EventStream:
        """Follow it: `async for event in handle.events()`, from now until it is over.

        The last event is `TaskFinished` or `TaskCancelled`. Leaving the loop ends the following, not the task.

        Args:
            timeout: seconds to follow it from now, or `Timeouts`; the session's if not given.

        Raises:
            TaskTimeoutError: while iterating, when a time-out passed; the task goes on.
        """
        return self.events_since(anyio.current_time(), Timeouts.of(timeout, self._following.timeouts))

    def events_since(self, start: float, timeouts: Timeouts) -> EventStream:
        """Follow it with time-outs that count from `start`, a time of the event loop."""
        following = self._following.within(timeouts)
        return EventStream(self._ref, self.model, following, self._made_at, start, self._end)

    async def text_deltas(self) -> AsyncIterator[TextDelta | TextReset]:
        """An LLM's text as it is written: only what is new, from its beginning.

        A rare `TextReset` says that the model took back what it had written of one kind.
        """
        async with self.events() as events:
            async for event in events:
                if isinstance(event, (TextDelta, TextReset)):
                    yield event

    async def detail(self) -> Task | None:
        """The task as the service sees it now; None in the first moments, when it is not listed yet."""
        return await self._following.calls.detail(self._ref)

    async def cancel(self) -> None:
        """Take it out of the queue. Raises `APIError` if it is not queued any more."""
        await self._following.calls.cancel(self._ref)
        self._made_at = None

    async def kill(self) -> None:
        """End it while it runs. Raises `APIError` if it is not running."""
        await self._following.calls.kill(self._ref)
        self._made_at = None

    async def stop(self) -> bool:
        """Cancel or kill it, whichever applies. False if it was over before that."""
        stopped = await stop_task(self._following.calls, self._ref)
        self._made_at = None
        return stopped

    async def delete_files(self) -> None:
        """Delete its inputs and outputs from the service. Raises `APIError` unless it is over."""
        await self._following.calls.delete_files(self._ref)

    def _end(self, task: Task) -> None:
        self._over, self._made_at = task, None


class EventStream:
    """The events of one task: an async iterator, and an async context manager for those who leave early.

    Attributes:
        over: the task, once its last event was given.
    """

    _watcher: TaskWatcher | None = None

    def __init__(
        self,
        ref: TaskRef,
        model: str,
        following: Following,
        made_at: float | None,
        start: float,
        on_over: Callable[[Task], None],
    ) -> None:
        self._ref = ref
        self._model = model
        self._following = following
        self._made_at = made_at
        self._start = start
        self._on_over = on_over
        self._buffer = EventBuffer()
        self._done = False
        self.over: Task | None = None

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
        watcher = await self._opened()
        try:
            event = await self._buffer.next(watcher, self._start, self._following.timeouts)
        except TaskTimeoutError:
            self.close()
            raise
        return self._end(watcher) if event is None else event

    def close(self) -> None:
        """Stop following; the task goes on."""
        self._done = True
        if self._watcher is not None:
            self._watcher.unlisten(self._buffer)
            self._following.leave(self._ref)
            self._watcher = None

    def __del__(self) -> None:
        if self._watcher is not None:
            self.close()

    async def _opened(self) -> TaskWatcher:
        if self._watcher is None:
            self._watcher = await self._following.enter(self._ref, self._model, self._made_at)
            self._watcher.listen(self._buffer)
        return self._watcher

    def _end(self, watcher: TaskWatcher) -> TaskEvent:
        self.close()
        task = self.over = watcher.outcome()
        self._on_over(task)
        if task.was_cancelled:
            return TaskCancelled(task, status=task.status)
        return TaskFinished(TaskResult(task, self._following.downloader), status=task.status)
