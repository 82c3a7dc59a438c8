"""Tracked tasks without a network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Protocol, cast

import pytest

from wiro_async import TaskInfo, Tuning
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._protocol.tasks.task_ref import TaskRef


class NewRecord(Protocol):
    """Make a tracked task with the id 7 and the token "token"."""

    def __call__(self, made_at: float | None = None) -> TrackedTask: ...


async def _nothing() -> None:
    pass


def _release(task: TrackedTask) -> None:
    pass


async def _unlisted(ref: TaskRef, on_retry: object) -> None:
    pass


@pytest.fixture
def new_record() -> NewRecord:
    """A function that makes tracked tasks, which the service does not list."""
    detail: Callable[..., Awaitable[TaskInfo | None]] = _unlisted

    def new_record(made_at: float | None = None) -> TrackedTask:
        calls = cast("TaskCalls", SimpleNamespace(detail=detail, client=SimpleNamespace(account="")))
        background = BackgroundTasks(_nothing, _nothing)
        return TrackedTask(TrackedTask.apply, _release, background, Tuning(), calls, TaskRef("7", "token"), made_at)

    return new_record
