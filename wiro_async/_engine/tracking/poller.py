"""Polls Task/Detail for all tasks, from one loop.

When a task is due is for its schedule to say. The loop keeps the pace of the whole session: at most so many reads a
second, and those of tasks that were reported over come first. Only the first check of a report does not wait: many
tasks may end at once, and each costs a single read.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import TypeAlias

import anyio

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.background.change import Change
from wiro_async._engine.tracking.tracked_task import Effect, TrackedTask
from wiro_async._errors import (
    APIError,
    AuthenticationError,
    DecodingError,
    NotFoundError,
    PermissionDeniedError,
    TransportError,
    WiroError,
)
from wiro_async._protocol.tasks.poll_schedule import NEVER, Failure
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport import clock
from wiro_async._tuning import Tuning

Agenda: TypeAlias = list[tuple[float, int, TrackedTask]]


class Poller:
    """The feed of states: it reads Task/Detail for the tasks that are attached.

    Args:
        per_second: how many reads may begin each second.
        apply: takes a state of a task, and whether a missing exit code is worth another read.
        fail: ends the following of a task.
    """

    def __init__(
        self,
        background: BackgroundTasks,
        tuning: Tuning,
        per_second: float,
        apply: Callable[[TrackedTask, TaskInfo, bool], Effect],
        fail: Callable[[TrackedTask, WiroError], None],
    ) -> None:
        self._background = background
        self._tuning = tuning
        self._gap = 1 / per_second
        self._apply = apply
        self._fail = fail
        self._reported: Agenda = []
        self._silent: Agenda = []
        self._ticket = count()
        self._changed = Change()
        self._is_running = False

    def attach(self, task: TrackedTask) -> None:
        """Poll a task from now on. One that was not made just now is read at once."""
        if not self._is_running:
            self._is_running = True
            self._background.start(self._run)
        is_new = task.age < self._tuning.poll_silence
        self._plan(task, self._interval(task) if is_new else 0.0)

    def detach(self, task: TrackedTask) -> None:
        """Poll it no more."""
        task.schedule.plan(NEVER)

    def feed_lost(self, task: TrackedTask) -> None:
        """Its feed went away: do not wait for the read that was planned with it."""
        task.schedule.restart()
        self._plan_sooner(task)

    def check_report(self, task: TrackedTask) -> None:
        """It was reported over: read it now, or soon if such a report was false before."""
        schedule = task.schedule
        if schedule.is_reading or task.is_over or schedule.is_confirming:
            return
        if schedule.false_reports:
            self._plan_sooner(task)
        else:
            self._start(task)

    async def _run(self) -> None:
        while True:
            task = await self._next()
            if task.schedule.is_reading or task.is_over:
                continue
            now = clock.loop_time()
            left = task.schedule.quiet_until(now, task.state.reported_over) - now
            if left > 0:
                self._plan(task, left)
                continue
            self._start(task)
            await anyio.sleep(self._gap)

    async def _next(self) -> TrackedTask:
        while True:
            now, nearest = clock.loop_time(), NEVER
            for agenda in (self._reported, self._silent):
                # A task that was planned again, or detached, left its older entries behind.
                while agenda and agenda[0][0] != agenda[0][2].schedule.due:
                    heapq.heappop(agenda)
                if agenda and agenda[0][0] <= now:
                    return heapq.heappop(agenda)[2]
                nearest = min(nearest, agenda[0][0] if agenda else NEVER)
            with anyio.CancelScope(deadline=nearest):
                await self._changed.wait()

    def _start(self, task: TrackedTask) -> None:
        # Planned reads wait until this one has ended, which begins in another turn of the loop.
        patient = task.schedule.begin_read(task.state.reported_over)
        self._background.start(self._read, task, patient)

    async def _read(self, task: TrackedTask, patient: bool) -> None:
        schedule = task.schedule
        try:
            await self._read_once(task, patient)
        finally:
            schedule.end_read(clock.loop_time())
        if task.is_over or not task.users:
            return
        if schedule.check_report():
            task.state.report_over(False)
        self._plan(task, self._interval(task))

    async def _read_once(self, task: TrackedTask, patient: bool) -> None:
        try:
            info = await task.read()
        except NotFoundError as error:
            self._failed(task, error, "unknown")
        except (AuthenticationError, PermissionDeniedError) as error:
            self._failed(task, error, "denied")
        except (APIError, TransportError, DecodingError) as error:
            self._failed(task, error, "failed")
        except WiroError as error:
            self._fail(task, error)
        except Exception as error:
            # Nobody foresaw it, but a wait must not hang because of it.
            unforeseen = WiroError(f"task {task.ref.task_id} could not be read: {error!r}")
            unforeseen.__cause__ = error
            self._fail(task, unforeseen)
        else:
            if info is None:
                self._failed(task, NotFoundError(message="the service lists no such task"), "unlisted")
            else:
                self._apply(task, info, patient)

    def _failed(self, task: TrackedTask, error: WiroError, failure: Failure) -> None:
        task.read_failed(error)
        if task.schedule.gives_up(clock.loop_time(), failure, task.exists):
            self._fail(task, error)

    def _plan_sooner(self, task: TrackedTask) -> None:
        seconds = self._interval(task)
        if clock.loop_time() + seconds < task.schedule.due and not task.schedule.is_reading:
            self._plan(task, seconds)

    def _plan(self, task: TrackedTask, seconds: float) -> None:
        agenda = self._reported if task.state.reported_over else self._silent
        task.schedule.plan(clock.loop_time() + seconds)
        entry = (task.schedule.due, next(self._ticket), task)
        heapq.heappush(agenda, entry)
        if agenda[0] is entry:
            self._changed.notify()

    def _interval(self, task: TrackedTask) -> float:
        return task.schedule.interval(clock.loop_time(), task.state.reported_over, self._tuning.random())
