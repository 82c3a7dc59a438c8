"""What a list proves of a lost run."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from wiro_async._protocol.http.requests import RunInput
from wiro_async._protocol.journal.absence import Absent, Adopt, Listing, Others, Unproven, judge, may_be
from wiro_async._protocol.journal.record import Witness
from wiro_async._protocol.submission.intent import Intent, with_intent
from wiro_async._protocol.submission.journal_keys import short
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import JSON
from wiro_async._records.task_info import TaskInfo

CALLBACK = with_intent("https://my.app/wiro", "0123456789abcdef")


def intent_of(prompt: str, callback_url: str | None = None, **more: object) -> Intent:
    """Return what a run is meant to be."""
    return Intent.of("owner/model", RunInput.parse({"prompt": prompt, "size": 4, **more}), callback_url)


def row(number: int | str, prompt: str, **fields: Any) -> TaskInfo:
    """Return a listed task."""
    raw: dict[str, JSON] = {
        "id": str(number),
        "socketaccesstoken": f"token-{number}",
        "modelslugowner": "owner",
        "modelslugproject": "model",
        "parameters": {"prompt": prompt, "size": "4"},
        "createtime": str(1_700_000_000 + number) if isinstance(number, int) else "",
        **fields,
    }
    return parse_task(raw)


def witness(number: int | str, prompt: str) -> Witness:
    """Return a later task of the journal."""
    return Witness(TaskRef(str(number), f"token-{number}"), short(intent_of(prompt).fingerprint), 9)


LOST = intent_of("lost cat")
OLD = row(10, "old dog")
NEWER = row(20, "newer dog")
OTHERS = Others({"20"}, [witness(20, "newer dog")])


@pytest.mark.parametrize(
    "rows, verdict",
    [
        ([NEWER, OLD], Absent),
        ([NEWER, row(15, "a bird"), OLD], Absent),
        ([NEWER, row(15, "lost cat"), OLD], Adopt),
        ([NEWER, row(9, "lost cat")], Absent),  # older
        ([row(25, "lost cat"), NEWER, OLD], Adopt),  # it arrived late
        ([NEWER, row(16, "lost cat"), row(15, "lost cat"), OLD], Unproven),
        ([NEWER, row(15, "lost cat", parameters={"prompt": "lost cat", "size": "4", "seed": "-1"}), OLD], Unproven),
        ([NEWER, row(15, "LOST  CAT"), OLD], Unproven),
        ([NEWER, row(15, "x", parameters={"prompt": "lost c\ufffdt", "size": "4", "seed": "-1"}), OLD], Unproven),
        ([NEWER, row(15, "lost cat", parameters=None), OLD], Unproven),
        ([NEWER, row(15, "lost cat", modelslugproject="Mo-del"), OLD], Unproven),
        ([NEWER, row(15, "lost cat", modelslugproject="another"), OLD], Absent),
        ([NEWER], Unproven),  # not read down to an id from before
        ([OLD, NEWER], Absent),
        ([row(15, "a bird"), NEWER, OLD], Unproven),  # in no order
        ([row(30, "a bird"), OLD], Unproven),  # the witness is missing
        ([row(20, "newer dog", parameters={"prompt": "newer dog", "size": "4", "seed": "-1"}), OLD], Unproven),
        ([row("ab-cd", "a bird"), NEWER, OLD], Unproven),
        ([], Unproven),
    ],
    ids=str,
)
def test_lists(rows: list[TaskInfo], verdict: type) -> None:
    """With a witness, and an id from before."""
    assert type(judge(LOST, 10, Listing(tuple(rows)), OTHERS)) is verdict


@pytest.mark.parametrize(
    "changes, found, missing",
    [
        ({"witnesses": ()}, Adopt, Unproven),
        ({"witnesses": [witness(10, "old dog")]}, Unproven, Unproven),  # ids do not run upward
        ({"witnesses": [witness("uuid", "newer dog")]}, Unproven, Unproven),
        ({"ids_run_upward": False}, Unproven, Unproven),
        ({"are_settled": False}, Unproven, Absent),
        ({"is_one_request": False}, Unproven, Absent),
        ({"claimed": ["20", "15"]}, Absent, Absent),
        ({"claimed": ["20", "token-15"]}, Absent, Absent),
        ({"rivals": 2}, Adopt, Absent),
    ],
    ids=str,
)
def test_what_else_is_known(changes: dict[str, Any], found: type, missing: type) -> None:
    """Of other runs, and of the order of ids."""
    others = attrs.evolve(OTHERS, **changes)
    assert type(judge(LOST, 10, Listing((NEWER, row(15, "lost cat"), OLD)), others)) is found
    assert type(judge(LOST, 10, Listing((NEWER, OLD)), others)) is missing


def test_without_an_id_from_before_nothing_is_proven() -> None:
    """An equal task may be old. It is a candidate."""
    verdict = judge(LOST, None, Listing((NEWER, row(15, "lost cat"), OLD)), OTHERS)
    assert isinstance(verdict, Unproven)
    assert [task.id for task in verdict.candidates] == ["15"]
    assert isinstance(judge(LOST, None, Listing((NEWER, OLD)), OTHERS), Unproven)


def test_without_a_witness_ids_must_follow_the_times() -> None:
    """Otherwise an equal old task could have the larger id."""
    alone = Others()
    assert isinstance(judge(LOST, 10, Listing((row(15, "lost cat"), OLD)), alone), Adopt)
    for times in ("1600000000", "", "1700000010"):
        rows = (row(15, "lost cat", createtime=times), OLD)
        assert isinstance(judge(LOST, 10, Listing(rows), alone), Unproven)


@pytest.mark.parametrize(
    "fields, verdict",
    [
        ({"oldest_id": "20"}, Absent),
        ({"oldest_id": "15"}, Unproven),  # the list was cut off
        ({"oldest_id": None}, Unproven),
        ({"oldest_id": "20", "has_end": False}, Unproven),
        ({"oldest_id": "20", "is_contiguous": False}, Unproven),
    ],
    ids=str,
)
def test_an_account_that_had_no_task(fields: dict[str, Any], verdict: type) -> None:
    """Its whole list must have been read."""
    assert type(judge(LOST, 0, Listing((NEWER,), **fields), OTHERS)) is verdict


def test_the_id_in_a_callback_url_is_certain() -> None:
    """Nobody else knows it, so nothing else matters; and a task with another one is another run's."""
    lost = intent_of("lost cat", CALLBACK)
    echoed = row("any", "in another form", callbackurl=CALLBACK.replace("&", "&amp;"))
    assert judge(lost, None, Listing((echoed,)), Others()) == Adopt(TaskRef("any", "token-any"))
    other = row(15, "lost cat", callbackurl=with_intent("https://my.app/wiro", "f" * 16))
    assert isinstance(judge(lost, 10, Listing((NEWER, other, OLD)), OTHERS), Absent)


@pytest.mark.parametrize(
    "value, echo, is_near",
    [
        ("a cat & a dog", "a cat &amp; a dog", True),
        ("a cat\nand a dog", "a cat and a dog", True),
        ("a long text that was cut off", "a long text that was", True),
        ("a long text", "another one", False),
        ("item 1", "item 10", False),
        (0.3, "0.30000000000000004", True),
        (4, "4.0", True),
        (4, "5", False),
        (True, "false", False),
        (None, "x", True),
        ("x", "", True),
        (["a", "b"], '["a","b"]', True),
    ],
)
def test_doubt(value: object, echo: str, is_near: bool) -> None:
    """What may be the same value in another form."""
    lost = intent_of("lost cat", x=value)
    listed = row(15, "lost cat", parameters={"prompt": "lost cat", "size": "4", "X": echo})
    assert may_be(lost, listed) is is_near
