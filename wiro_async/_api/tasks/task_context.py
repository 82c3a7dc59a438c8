"""What all handles of a session, or of a view of it, share."""

from __future__ import annotations

import attrs

from wiro_async._api.results.task_result import TaskResult
from wiro_async._engine.background.background_tasks import Lifeline
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.downloads.downloader import Downloader
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import TaskCancelledError, TaskFailedError, WiroError
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo
from wiro_async._types import Timeouts, UpdateMode


@attrs.frozen
class TaskContext:
    """How tasks are followed, and what becomes of their final states."""

    calls: TaskCalls
    tracker: Tracker
    downloader: Downloader
    mode: UpdateMode
    timeouts: Timeouts
    lifeline: Lifeline = attrs.field(repr=False)

    def within(self, timeouts: Timeouts) -> TaskContext:
        """The same context with other timeouts."""
        return attrs.evolve(self, calls=self.calls.within(timeouts.request), timeouts=timeouts)

    async def follow(self, ref: TaskRef, model: str, made_at: float | None, *, only_end: bool = False) -> TrackedTask:
        """The record of a task, in use until `tracker.unfollow`.

        Args:
            made_at: the loop time of its submit; None if that is long ago or was elsewhere.
            only_end: nobody listens to what happens before the end.
        """
        try:
            await self.calls.client.ready()
        except WiroError as error:
            error.with_task(ref.task_id, ref.token, model=model)
            raise
        by_callback = only_end and self.tracker.callbacks.is_expected(ref)
        return self.tracker.follow(self.calls, ref, model, "callback" if by_callback else self.mode, made_at)

    async def wait(self, ref: TaskRef, model: str, made_at: float | None, start: float) -> TaskInfo:
        """Wait for the final state of a task. Cancelling ends the wait, not the task.

        Args:
            start: the loop time from which the run and queue timeouts count.

        Raises:
            TaskTimeoutError: a timeout has passed.
        """
        task = await self.follow(ref, model, made_at, only_end=True)
        try:
            return await task.wait(start, self.timeouts)
        finally:
            self.tracker.unfollow(task)

    def result(self, info: TaskInfo, replayed: bool = False) -> TaskResult:
        """The result of a task that is over. Raises the error of one that has none."""
        if info.was_cancelled:
            raise TaskCancelledError(info)
        if not info.succeeded:
            raise TaskFailedError(info).hiding(self.calls.client.credentials.secrets)
        return TaskResult(info, self.downloader, replayed)
