"""Which of the listed tasks a lost run has made.

A run that looks the same may have been made an hour ago, by this session or by another program, and its result is not
this run's. So a task is taken only if the service itself shows that it is newer than the request: by an id above all
that were seen before, or by a time on the service's own clock. What neither shows is left to the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import attrs

from wiro_async._protocol.submission.decision import Ambiguous
from wiro_async._protocol.submission.seen_ids import number_of
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo


def name_of(task: TaskInfo) -> str:
    """The name of a row among the rows of a list: its id, else its token."""
    return task.id or task.token or ""


def is_complete(task: TaskInfo) -> bool:
    """Whether a row of the list holds all that is compared. Otherwise Task/Detail has to be read."""
    return bool(task.model) and "parameters" in task.raw and _made_at(task) is not None


@attrs.frozen
class SendTime:
    """When a run was sent, by what the service shows.

    Attributes:
        after_id: the largest id that was seen before; None if none was.
        ids_run_upward: whether later tasks have larger ids; None if that is not known.
        since: the time before which it was not sent, by the service's clock; None if no response has shown that clock.
    """

    after_id: int | None = None
    ids_run_upward: bool | None = None
    since: datetime | None = None

    def age_of(self, task: TaskInfo) -> Literal["older", "newer", "unknown"]:
        """Whether a task was made before the run was sent.

        Both the id and the time must allow it to be newer, and one of them must show it.
        """
        number, made_at = number_of(task.id), _made_at(task)
        by_id = (
            None if self.after_id is None or number is None or self.ids_run_upward is False else number > self.after_id
        )
        by_time = None if self.since is None or made_at is None else made_at >= self.since
        if by_id is False or by_time is False:
            return "older"
        return "newer" if by_time or (by_id and self.ids_run_upward) else "unknown"


def choose(matches: Sequence[TaskInfo], sent: SendTime, lost_runs: int) -> TaskRef | Ambiguous | None:
    """The task of a lost run.

    Args:
        matches: the tasks that look like it, are not older, and belong to nobody else.
        lost_runs: how many equal runs look for their tasks. It does not matter which of them takes which task.
    """
    if not matches:
        return None
    # A task too many belongs to somebody else. One of unknown age may be old, and its result is not this run's.
    if len(matches) > lost_runs or any(sent.age_of(task) == "unknown" for task in matches):
        return Ambiguous(tuple(matches))
    # The oldest: an equal run that was sent later can only have made a newer one.
    oldest = min(matches, key=_order)
    return TaskRef(oldest.id or None, oldest.token)


def _made_at(task: TaskInfo) -> datetime | None:
    return task.created_at or task.started_at


def _order(task: TaskInfo) -> tuple[datetime, int, str]:
    """Sorts tasks from old to new. Their times are whole seconds, their ids are running numbers."""
    return _made_at(task) or datetime.max.replace(tzinfo=UTC), len(task.id), task.id
