"""Which listed task a lost run has made."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wiro_async import TaskInfo
from wiro_async._protocol.submission.decision import Ambiguous
from wiro_async._protocol.submission.task_matching import choose, is_complete, is_older, name_of
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


@pytest.mark.parametrize("made_at, older", [(999, True), (1000, False), (1001, False), (None, False)])
def test_age(made_at: int | None, older: bool) -> None:
    """A task of unknown age may be a new one."""
    assert is_older(row("7", made_at), SINCE) is older


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
    assert choose(matches, lost_runs) == found
