"""What follows from the record of a key: one key, one bill, as one table.

A key's record says how far its run has come. `on_request` decides what a call with that key does, in the session that
wrote the record as well as after a restart, or on another machine. Only `SendRun` costs money. It follows where there
is no record, or where the record proves that nothing is billed: the task failed, was cancelled, or was never made.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import attrs

from wiro_async._errors import JournalError, KeyConflictError
from wiro_async._protocol.journal.absence import Absent, Adopt, Unproven
from wiro_async._protocol.journal.record import EndState, Record
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo
from wiro_async._types import OnUnknown


@attrs.frozen
class SendRun:
    """Send a run. `seen` is the record that allows it."""

    seen: Record | None


@attrs.frozen
class ReplayEnd:
    """The task has ended: return what it came to, without any request."""

    record: Record
    task: TaskInfo


@attrs.frozen
class FollowTask:
    """The task is known: follow it."""

    record: Record
    ref: TaskRef


@attrs.frozen
class FindTask:
    """Nobody sends the run any more, and no response to it is known: take the record over and search for its task."""

    record: Record


@attrs.frozen
class AwaitOwner:
    """Somebody else is sending the run: wait for a change of the record."""

    record: Record


@attrs.frozen
class ParkLeftover:
    """An earlier call of this session could not write what became of its run: make the record unknown."""

    record: Record


Step: TypeAlias = SendRun | ReplayEnd | FollowTask | FindTask | AwaitOwner | ParkLeftover


def on_request(record: Record | None, digest: str, keeps_failures: bool = False) -> Step:  # noqa: C901
    """What a call with a key does. No other call of the session has the key in its hands.

    Args:
        digest: of the call's request.
        keeps_failures: return the failure of a task that has failed, instead of running it again.

    Raises:
        KeyConflictError: the key belongs to another request.
    """
    if record is None:
        return SendRun(None)
    if record.intention.digest != digest:
        raise KeyConflictError(
            f"the journal was made for other requests: it knows the key {record.key!r} with another model or input. "
            "Give this request another key, or remove the record with `journal.forget`"
        ).with_task(model=record.intention.model)
    has_ended = record.state in ("succeeded", "failed") and record.task is not None
    match record.state:
        case "undecided" if record.is_ours:
            return ParkLeftover(record)
        case "undecided" if record.lease > 0:
            return AwaitOwner(record)
        case "undecided" | "unknown":
            return FindTask(record)
        case "cancelled" | "refused":
            return SendRun(record)
        case "failed" if not (keeps_failures and has_ended):
            return SendRun(record)
        case "submitted" | "succeeded" | "failed":
            if has_ended and record.task is not None:
                return ReplayEnd(record, record.task)
            if record.ref is None:
                raise JournalError(f"the journal is damaged: the key {record.key!r} has a task without an id")
            return FollowTask(record, record.ref)
        case _:
            assert_never(record.state)


@attrs.frozen
class MakeSubmitted:
    """Record the task that was found."""

    ref: TaskRef


@attrs.frozen
class MakeRefused:
    """Record that no task was made, so that the run may be sent again."""


@attrs.frozen
class MakeUnknown:
    """Park the record."""

    verdict: Unproven


def after_search(
    verdict: Adopt | Absent | Unproven, on_unknown: OnUnknown
) -> MakeSubmitted | MakeRefused | MakeUnknown:
    """What follows from a search. "resubmit" is the caller's own word that a second bill is accepted."""
    match verdict:
        case Adopt(ref):
            return MakeSubmitted(ref)
        case Absent():
            return MakeRefused()
        case Unproven():
            return MakeRefused() if on_unknown == "resubmit" else MakeUnknown(verdict)
        case _:
            assert_never(verdict)


def end_state(task: TaskInfo) -> EndState:
    """The state of a record whose task has ended."""
    if task.was_cancelled:
        return "cancelled"
    return "succeeded" if task.succeeded else "failed"
