"""Which listed task a lost run has made."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wiro_async import TaskInfo
from wiro_async._protocol.submission.decision import Ambiguous
from wiro_async._protocol.submission.task_matching import SendTime, choose, is_complete, name_of
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import JSON

SINCE = datetime.fromtimestamp(1000, UTC)
WHOLE: dict[str, JSON] = {
    "id": "7",
    "socketaccesstoken": "t7",
    "modelslugowner": "a",
    "modelslugproject": "b",
    "parameters": {},
    "createtime": "1000",
}


def row(task_id: str, made_at: int | None = 1000) -> TaskInfo:
    """A row of the list."""
    return parse_task({"id": task_id, "createtime": made_at})


@pytest.mark.parametrize("missing", ["modelslugowner", "parameters", "createtime"])
def test_rows_that_lack_something(missing: str) -> None:
    """They are read one by one."""
    assert is_complete(parse_task(WHOLE))
    assert not is_complete(parse_task({name: value for name, value in WHOLE.items() if name != missing}))


BY_TIME = SendTime(since=SINCE)
BY_ID = SendTime(after_id=50, ids_run_upward=True)
UNTESTED = SendTime(after_id=50)
BY_BOTH = SendTime(after_id=50, ids_run_upward=True, since=SINCE)
NOT_RUNNING = SendTime(after_id=50, ids_run_upward=False)


@pytest.mark.parametrize(
    "sent, task_id, made_at, age",
    [
        pytest.param(BY_TIME, "51", 999, "older", id="made before the send"),
        pytest.param(BY_TIME, "51", 1000, "newer", id="made in the second of the send"),
        pytest.param(BY_TIME, "51", None, "unknown", id="no time, no id that was seen before"),
        pytest.param(BY_ID, "51", 1, "newer", id="a clock that nobody has seen says nothing"),
        pytest.param(BY_ID, "50", 2000, "older", id="the id was seen before the send"),
        pytest.param(BY_ID, "ab-51", 2000, "unknown", id="an id that is no number"),
        pytest.param(BY_BOTH, "50", 2000, "older", id="a clock that is ahead makes no old task new"),
        pytest.param(BY_BOTH, "51", 400, "older", id="made by others, since the session last saw an id"),
        pytest.param(BY_BOTH, "51", 1001, "newer", id="both agree"),
        pytest.param(BY_BOTH, "51", None, "newer", id="the id is enough where there is no time"),
        pytest.param(BY_BOTH, "uuid", 1001, "newer", id="the time is enough where the id is no number"),
        pytest.param(UNTESTED, "50", 2000, "older", id="an order that was not tested may still exclude"),
        pytest.param(UNTESTED, "51", 2000, "unknown", id="an order that was not tested proves nothing"),
        pytest.param(NOT_RUNNING, "7", None, "unknown", id="ids without order say nothing"),
        pytest.param(SendTime(), "51", 2000, "unknown", id="nothing is known"),
    ],
)
def test_age(sent: SendTime, task_id: str, made_at: int | None, age: str) -> None:
    """Whatever is known must allow it to be newer, and something must show it."""
    assert sent.age_of(row(task_id, made_at)) == age


@pytest.mark.parametrize(
    "record, name", [({"id": "7", "socketaccesstoken": "t"}, "7"), ({"socketaccesstoken": "t"}, "t"), ({}, "")]
)
def test_names(record: dict[str, JSON], name: str) -> None:
    """Return the id of each task, else its token."""
    assert name_of(parse_task(record)) == name


OLD, NEW, AGELESS = row("9"), row("10"), row("8", None)


@pytest.mark.parametrize(
    "matches, lost_runs, found",
    [
        pytest.param([], 1, None, id="none: the run made no task"),
        pytest.param([OLD], 1, TaskRef("9"), id="the only one"),
        pytest.param([NEW, OLD], 2, TaskRef("9"), id="the oldest, by number and not by text"),
        pytest.param([OLD], 2, TaskRef("9"), id="one for two runs: the other one made none"),
        pytest.param([NEW, OLD], 1, Ambiguous((NEW, OLD)), id="one too many"),
        pytest.param([AGELESS], 1, Ambiguous((AGELESS,)), id="one of unknown age"),
        pytest.param([OLD, AGELESS], 2, Ambiguous((OLD, AGELESS)), id="one of two of unknown age"),
    ],
)
def test_the_choice(matches: list[TaskInfo], lost_runs: int, found: TaskRef | Ambiguous | None) -> None:
    """As many tasks as lost runs may be claimed."""
    assert choose(matches, SendTime(since=SINCE), lost_runs) == found
