"""What a call with a key does, for each state of its record."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_args

import attrs
import pytest

from wiro_async import JournalError, KeyConflictError
from wiro_async._protocol.journal.absence import Absent, Adopt, Unproven
from wiro_async._protocol.journal.record import Intention, Record, Spending, State
from wiro_async._protocol.journal.rules import (
    AwaitOwner,
    FindTask,
    FollowTask,
    MakeRefused,
    MakeSubmitted,
    MakeUnknown,
    ParkLeftover,
    ReplayEnd,
    SendRun,
    after_search,
    end_state,
    on_request,
)
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef

INTENTION = Intention("k", "owner/model", "digest", b"{}", b"print", b"shape")
REF = TaskRef("7", "token-7")
TASK = parse_task({"id": "7", "socketaccesstoken": "token-7", "status": "task_postprocess_end", "pexit": "0"})
FAILED = parse_task({"id": "7", "socketaccesstoken": "token-7", "status": "task_postprocess_end", "pexit": "1"})
CANCELLED = parse_task({"id": "7", "status": "task_cancel"})


def record(state: State, **fields: Any) -> Record:
    """Return a record."""
    return attrs.evolve(Record(INTENTION, state), **fields)


@pytest.mark.parametrize(
    "known, keeps_failures, step",
    [
        (None, False, SendRun),
        (record("undecided"), False, FindTask),
        (record("undecided", lease=3.0), False, AwaitOwner),
        (record("undecided", is_ours=True), False, ParkLeftover),
        (record("unknown"), False, FindTask),
        (record("submitted", ref=REF), False, FollowTask),
        (record("succeeded", ref=REF, task=TASK), False, ReplayEnd),
        (record("succeeded", ref=REF), False, FollowTask),
        (record("failed", ref=REF, task=FAILED), False, SendRun),
        (record("failed", ref=REF, task=FAILED), True, ReplayEnd),
        (record("failed", ref=REF), True, SendRun),
        (record("cancelled", ref=REF, task=CANCELLED), True, SendRun),
        (record("refused"), True, SendRun),
    ],
)
def test_each_state(known: Record | None, keeps_failures: bool, step: type) -> None:
    """Only what is certainly not billed is sent again."""
    assert type(on_request(known, "digest", keeps_failures)) is step


@pytest.mark.parametrize("state", get_args(State))
def test_another_request_is_refused_in_every_state(state: State) -> None:
    """Even where nothing was billed: the key is in use."""
    with pytest.raises(KeyConflictError, match="'k'"):
        on_request(record(state, ref=REF), "another digest")


@pytest.mark.parametrize(
    "verdict, raising, resubmitting",
    [
        (Adopt(REF), MakeSubmitted, MakeSubmitted),
        (Absent(), MakeRefused, MakeRefused),
        (Unproven("why"), MakeUnknown, MakeRefused),
    ],
)
def test_after_a_search(verdict: Adopt | Absent | Unproven, raising: type, resubmitting: type) -> None:
    """Only the caller's own word sends again without a proof."""
    assert type(after_search(verdict, "raise")) is raising
    assert type(after_search(verdict, "resubmit")) is resubmitting


def test_states_of_ended_tasks() -> None:
    """Each end of a task has one."""
    assert [end_state(task) for task in (TASK, FAILED, CANCELLED)] == ["succeeded", "failed", "cancelled"]


def test_steps_carry_what_the_caller_needs() -> None:
    """The record that allows a run, the one to follow, and the task that has ended."""
    failed = record("failed", ref=REF, task=FAILED)
    for sent in (failed, record("cancelled"), record("refused")):
        assert on_request(sent, "digest") == SendRun(sent)
    submitted, succeeded = record("submitted", ref=REF), record("succeeded", ref=REF, task=TASK)
    assert on_request(submitted, "digest") == FollowTask(submitted, REF)
    assert on_request(succeeded, "digest") == ReplayEnd(succeeded, TASK)
    assert on_request(failed, "digest", keeps_failures=True) == ReplayEnd(failed, FAILED)
    assert on_request(record("submitted", ref=REF, task=TASK), "digest") == FollowTask(
        record("submitted", ref=REF, task=TASK), REF
    )
    for undecided, step in (
        (record("undecided", is_ours=True), ParkLeftover),
        (record("undecided", lease=0.5), AwaitOwner),
        (record("undecided"), FindTask),
        (record("unknown", lease=0.5), FindTask),
    ):
        assert on_request(undecided, "digest") == step(undecided)


def test_verdicts_are_carried_on() -> None:
    """The task to follow, and why nothing is certain."""
    unproven = Unproven("why", (TASK,))
    assert after_search(Adopt(REF), "raise") == MakeSubmitted(REF)
    assert after_search(unproven, "raise") == MakeUnknown(unproven)


def test_errors_name_the_key_the_model_and_the_remedy() -> None:
    """A person reads them."""
    with pytest.raises(KeyConflictError) as conflict:
        on_request(record("submitted", ref=REF), "another digest")
    assert conflict.value.model == "owner/model"
    assert str(conflict.value) == (
        "the journal was made for other requests: it knows the key 'k' with another model or input. Give this request "
        "another key, or remove the record with `journal.forget` (model owner/model)"
    )
    for state in ("submitted", "succeeded"):
        with pytest.raises(JournalError) as damaged:
            on_request(record(state), "digest")
        assert str(damaged.value) == "the journal is damaged: the key 'k' has a task without an id"


def test_spendings_add_up() -> None:
    """Money and runs."""
    assert Spending(Decimal("0.04"), 2) + Spending(Decimal("0.01"), 3) == Spending(Decimal("0.05"), 5)
