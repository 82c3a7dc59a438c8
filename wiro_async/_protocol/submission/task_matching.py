"""Which of the listed tasks a lost run has made: what is old enough, and what may be taken for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from wiro_async._protocol.submission.decision import Ambiguous
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo


def name_of(task: TaskInfo) -> str:
    """The name of a row among the rows of a list: its id, else its token."""
    return task.id or task.token or ""


def is_complete(task: TaskInfo) -> bool:
    """Whether a row of the list holds all that is compared. Otherwise Task/Detail has to be read."""
    return bool(task.model) and "parameters" in task.raw and _made_at(task) is not None


def is_older(task: TaskInfo, since: datetime) -> bool:
    """Whether a task was certainly made before a time. One of unknown age was not."""
    made_at = _made_at(task)
    return made_at is not None and made_at < since


def choose(matches: Sequence[TaskInfo], lost_runs: int) -> TaskRef | Ambiguous | None:
    """The task of a lost run.

    Args:
        matches: the tasks that look like it, were made since, and belong to nobody else.
        lost_runs: how many equal runs look for their tasks. It does not matter which of them takes which task.
    """
    if not matches:
        return None
    # A task too many belongs to somebody else. One of unknown age may be old, and its result is not this run's.
    # One without a readable id cannot be followed.
    if len(matches) > lost_runs or any(_made_at(task) is None or not name_of(task) for task in matches):
        return Ambiguous(tuple(matches))
    # The oldest: an equal run that was sent later can only have made a newer one.
    oldest = min(matches, key=_age)
    return TaskRef(oldest.id or None, oldest.token)


def _made_at(task: TaskInfo) -> datetime | None:
    return task.created_at or task.started_at


def _age(task: TaskInfo) -> tuple[datetime, int, str]:
    """Sorts tasks from old to new. Their times are whole seconds, their ids are running numbers."""
    return _made_at(task) or datetime.max.replace(tzinfo=UTC), len(task.id), task.id
