"""What to do with a key: promise 7 as one table.

A key stands for one intent, on any number of machines. Its record says how far the intent has come. Only a record that
shows that no task was made, or that its task was not billed, lets the run be sent again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias, assert_never

import attrs

from wiro_async._protocol.journal.record import EndState, Record
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo


@attrs.frozen
class Send:
    """Write the intent, then send the run.

    Attributes:
        seen: the record that the intent replaces; None if there is none.
    """

    seen: Record | None


@attrs.frozen
class Stored:
    """The task has ended: return what it came to, without a request."""

    task: TaskInfo


@attrs.frozen
class FollowTask:
    """There is a task: wait for its end. Anybody may."""

    ref: TaskRef


@attrs.frozen
class FindTask:
    """Nobody knows whether there is a task: take the record over, and search."""

    record: Record


@attrs.frozen
class AwaitOther:
    """Somebody may be sending the run at this moment: wait for the record to change.

    Attributes:
        seconds: after which nobody may be sending it any more; None if that is not known.
    """

    record: Record
    seconds: float | None


@attrs.frozen
class Conflict:
    """The key was used for another request."""

    record: Record


Step: TypeAlias = Send | Stored | FollowTask | FindTask | AwaitOther | Conflict


def next_step(record: Record | None, digest: str, *, is_being_sent: bool, reruns: Collection[EndState]) -> Step:
    """What a request for a key leads to.

    Args:
        record: what the journal knows of the key.
        digest: of the present request.
        is_being_sent: whether this session is sending the run for somebody else.
        reruns: the ends after which the run is sent again.
    """
    if record is None:
        return Send(None)
    if record.intention.digest != digest:
        return Conflict(record)
    match record.state:
        case "undecided" if is_being_sent:
            return AwaitOther(record, None)
        case "undecided" if record.lease > 0 and not record.is_ours:
            return AwaitOther(record, record.lease)
        case "undecided" | "unknown":
            return FindTask(record)
        case "submitted":
            return FollowTask(_ref(record))
        case "succeeded" | "failed" | "cancelled" | "refused":
            if record.state in reruns or record.state == "refused":
                return Send(record)
            return FollowTask(_ref(record)) if record.task is None else Stored(record.task)
        case _:
            assert_never(record.state)


def _ref(record: Record) -> TaskRef:
    # A store gives no record with a task without its ids; a record without any leads to an error that says so.
    return record.ref or TaskRef()
