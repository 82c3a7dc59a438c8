"""The seam between batches and the engine: how one batch makes, follows and finds its runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import anyio
import attrs

from wiro_async._api.results.batch_items import RunRequest
from wiro_async._api.results.task_result import TaskResult
from wiro_async._api.tasks.task_context import TaskContext
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.submission.submission import RunLog, RunPlan, Submission, timed_out
from wiro_async._engine.submission.submitter import Submitter
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo
from wiro_async._types import Input, OnCancel, OnUnknown, Timeouts, merge_timeouts, start_timeout

Plan: TypeAlias = Callable[[RunRequest, OnCancel, RunLog | None], Awaitable[RunPlan]]


@attrs.define(eq=False)
class Runs:
    """Sends, follows and finds the runs of one batch.

    Args:
        plan: makes a plan of a request.
        explaining: explains the service's refusal of an input.
        on_exit: what becomes of running tasks when the batch is left.
        on_unknown: what becomes of runs of which it cannot be found out whether there is a task.
    """

    _plan: Plan
    _explaining: Callable[[str, Input | None], AbstractAsyncContextManager[None]]
    _context: TaskContext
    _submitter: Submitter
    _on_exit: OnCancel
    on_unknown: OnUnknown
    _in_flight: set[TrackedTask] = attrs.field(factory=set[TrackedTask], init=False)

    def queued(self) -> int:
        """Count the tasks in flight that are not known to have started."""
        return sum(not task.state.has_started for task in self._in_flight)

    async def plan(self, request: RunRequest, log: RunLog | None = None) -> RunPlan:
        """Plan the run of a request. Raises `InvalidInputError`."""
        return await self._plan(request, self._on_exit, log)

    def calls(self, request: RunRequest) -> TaskCalls:
        """Return the calls for a request, with its timeout."""
        return self._context.calls.within(self._timeouts(request).request)

    async def submit(self, request: RunRequest, log: RunLog) -> TrackedTask:
        """Make the task of a request. Errors as of `AsyncWiro.submit`."""
        submission: Submission | None = None
        phase, seconds = start_timeout(self._timeouts(request))
        async with self._explaining(request.model, request.input):
            with anyio.move_on_after(seconds):
                submission = Submission(self.calls(request), await self.plan(request, log))
                return await self._submitter.submit(submission)
            raise timed_out(submission, phase, seconds)

    async def ended(self, request: RunRequest, task: TrackedTask, start: float) -> TaskResult:
        """Wait for the result of a task that was just made. Errors as of `AsyncWiro.run`.

        Args:
            start: the loop time from which its timeouts count.
        """
        return await self._ended(task.ref, request.model, anyio.current_time(), start, self._timeouts(request))

    async def follow(self, request: RunRequest, ref: TaskRef) -> TaskResult:
        """Wait for the result of a task that was made before. Its timeouts start again."""
        return await self._ended(ref, request.model, None, anyio.current_time(), self._timeouts(request))

    def restored(self, task: TaskInfo) -> TaskResult:
        """Return the result of a task that has ended before. Raises the error of one that has none."""
        return self._context.result(task)

    async def _ended(
        self, ref: TaskRef, model: str, made_at: float | None, start: float, timeouts: Timeouts
    ) -> TaskResult:
        task = await self._context.within(timeouts).follow(ref, model, made_at, only_end=True)
        self._in_flight.add(task)
        try:
            async with task.owned(self._on_exit):
                return self._context.result(await task.wait(start, timeouts))
        finally:
            self._in_flight.discard(task)
            self._context.tracker.unfollow(task)

    def _timeouts(self, request: RunRequest) -> Timeouts:
        return merge_timeouts(request.timeout, self._context.timeouts)
