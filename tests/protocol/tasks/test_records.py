"""Records of the service."""

import copy
import json
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.tasks.records import (
    Submitted,
    decoded,
    parse_task,
    parse_task_output,
    tasks_of,
)

# Verbatim from the contract, with values where it has dots.
RECORD: dict[str, Any] = json.loads("""
{"id":"2221","uuid":"ab-1","name":"","socketaccesstoken":"eDcCm5yy","parameters":{"prompt":"x","maxImages":"1"},
 "status":"task_postprocess_end","pexit":"0","debugoutput":"","debugerror":"","starttime":"1734513809","endtime":"1734513815",
 "elapsedseconds":"6.0000","cps":"0.000585","totalcost":"0.003510000000","projectid":"716","modelid":"611","runtype":"model",
 "callbackurl":"","createtime":"1734513807","canceltime":"0","assigntime":"1734513808","accepttime":"1734513807",
 "preprocessstarttime":"1734513807","preprocessendtime":"1734513808","postprocessstarttime":"1734513814",
 "postprocessendtime":"1734513815","categories":["text-to-image"],
 "dynamicprice":"[]","size":"202472","modeldescription":"d","modelslugowner":"bytedance","modelslugproject":"seedream-v4-5",
 "outputs":[{"id":"6bc3","name":"0.png","contenttype":"image/png","parentid":"p","uuid":"u","size":"202472",
   "addedtime":"1734513814","accesskey":"dFKl","ispublic":0,"expiretime":null,"url":"https://cdn1.wiro.ai/dFKl/0.png"}]}
""")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
)
OUTPUT_KEYS = ["url", "name", "contenttype", "size", "content"]


def test_a_task() -> None:
    """All known fields are parsed."""
    task = parse_task(RECORD)
    assert (task.id, task.token, task.model) == ("2221", "eDcCm5yy", "bytedance/seedream-v4-5")
    assert (task.status, task.exit_code, task.is_over, task.succeeded) == ("task_postprocess_end", 0, True, True)
    assert not task.was_cancelled
    assert task.parameters == {"prompt": "x", "maxImages": "1"}
    assert task.created_at == datetime(2024, 12, 18, 9, 23, 27, tzinfo=UTC)
    assert task.started_at == datetime(2024, 12, 18, 9, 23, 29, tzinfo=UTC)
    assert task.ended_at == datetime(2024, 12, 18, 9, 23, 35, tzinfo=UTC)
    assert (task.elapsed, task.cost) == (6.0, Decimal("0.003510000000"))
    assert (task.log, task.error_log, task.raw) == ("", "", RECORD)
    (output,) = task.outputs
    assert (output.url, output.name) == ("https://cdn1.wiro.ai/dFKl/0.png", "0.png")
    assert (output.content_type, output.size, output.content) == ("image/png", 202472, {})
    assert output.raw == RECORD["outputs"][0]


@pytest.mark.parametrize("key", RECORD)
@pytest.mark.parametrize("value", ["missing", None, ""])
def test_any_field_may_lack(key: str, value: object) -> None:
    """It is then None or empty. The others are unchanged."""
    record: dict[str, Any] = {**RECORD, key: value}
    if value == "missing":
        del record[key]
    whole, task = parse_task(RECORD), parse_task(record)
    fields = {"socketaccesstoken": "token", "pexit": "exit_code", "createtime": "created_at", "starttime": "started_at"}
    fields |= {"endtime": "ended_at", "elapsedseconds": "elapsed", "totalcost": "cost", "id": "id", "status": "status"}
    fields |= {"modelslugowner": "model", "modelslugproject": "model", "outputs": "outputs", "parameters": "parameters"}
    for name in (
        "id",
        "token",
        "model",
        "status",
        "exit_code",
        "parameters",
        "outputs",
        "created_at",
        "cost",
        "elapsed",
    ):
        if fields.get(key) == name:
            assert not getattr(task, name)
        else:
            assert getattr(task, name) == getattr(whole, name)


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": '{"prompt":"x","maxImages":"1"}'},
        {"outputs": json.dumps(RECORD["outputs"])},
        {"id": 2221},
        {"pexit": 0},
        {"starttime": 1734513809},
        {"elapsedseconds": 6},
        {"outputs": [None, "odd", *RECORD["outputs"]]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_notations(change: dict[str, Any]) -> None:
    """JSON text for objects, and numbers for text, give equal records."""
    task = parse_task({**RECORD, **change})
    whole = parse_task(RECORD)
    assert (task.id, task.parameters, task.outputs, task.exit_code) == (
        whole.id,
        whole.parameters,
        whole.outputs,
        whole.exit_code,
    )
    assert (task.started_at, task.elapsed) == (whole.started_at, whole.elapsed)


def test_the_other_name_of_the_id() -> None:
    """Some responses name it `taskid`."""
    assert parse_task({"taskid": "7"}).id == "7"


@pytest.mark.parametrize(
    "status, pexit, over, succeeded",
    [
        ("task_postprocess_end", "0", True, True),
        ("task_postprocess_end", "1", True, False),
        ("task_postprocess_end", "", True, False),
        ("task_postprocess_end", "0.5", True, False),
        ("task_cancel", "0", True, False),
        ("task_end", "0", False, False),
        ("task_error", "1", False, False),
        ("task_error_full", "1", False, False),
        ("", "0", False, False),
        ("task_levitation", "0", False, False),
    ],
)
def test_only_two_states_are_an_end(status: str, pexit: str, over: bool, succeeded: bool) -> None:
    """Only one of them, with exit code 0, is a success."""
    task = parse_task({"status": status, "pexit": pexit})
    assert (task.is_over, task.succeeded) == (over, succeeded)


@pytest.mark.parametrize(
    "content, parsed",
    [
        ({"raw": "x"}, {"raw": "x"}),
        ('{"raw":"x"}', {"raw": "x"}),
        ("plain", {"raw": "plain"}),
        ("{not json", {"raw": "{not json"}),
        (None, {}),
        ([1], {}),
    ],
)
def test_content(content: Any, parsed: dict[str, Any]) -> None:
    """An object, JSON text of one, or plain text."""
    assert parse_task_output({"contenttype": "raw", "content": content}).content == parsed


@given(st.dictionaries(st.sampled_from([*RECORD, "taskid"]) | st.text(), ANYTHING, max_size=6))
def test_any_record_is_parsed(record: dict[str, Any]) -> None:
    """Any object gives a task, with the object in `raw`."""
    assert parse_task(record).raw is record


@given(st.dictionaries(st.sampled_from(OUTPUT_KEYS) | st.text(), ANYTHING, max_size=6))
def test_any_output_is_parsed(entry: dict[str, Any]) -> None:
    """Any object gives an output, with the object in `raw`."""
    assert parse_task_output(entry).raw is entry


@pytest.mark.parametrize("seconds", ["1e300", "-1e300", "99999999999999", -(10**18)])
def test_times_beyond_the_calendar(seconds: Any) -> None:
    """They are None."""
    assert parse_task({"starttime": seconds}).started_at is None


def test_a_task_shows_no_secret() -> None:
    """Neither its token, nor the access key in a URL."""
    shown = repr(parse_task(RECORD)) + repr(parse_task(RECORD).outputs)
    assert "eDcCm5yy" not in shown
    assert "dFKl" not in shown


def test_a_task_can_be_copied_and_pickled() -> None:
    """Errors take it to other processes."""
    task = parse_task(RECORD)
    assert pickle.loads(pickle.dumps(task)) == task
    assert copy.deepcopy(task) == task


@pytest.mark.parametrize(
    "answer, parsed",
    [
        ({"taskid": "1", "socketaccesstoken": "t"}, ("1", "t")),
        ({"taskid": 1, "socketaccesstoken": "t"}, ("1", "t")),
        ({"taskid": "1"}, ("1", None)),
        ({"socketaccesstoken": "t"}, ("", "t")),
    ],
)
def test_what_was_submitted(answer: dict[str, Any], parsed: tuple[str, str | None]) -> None:
    """The ids of a new task. One of them is enough."""
    submitted = Submitted.from_wire(answer)
    assert submitted is not None
    assert (submitted.task_id, submitted.token) == parsed
    assert repr(submitted) == f"Submitted(task_id={parsed[0]!r})"


@given(st.dictionaries(st.text(), SCALARS, max_size=4))
def test_a_response_without_ids(answer: dict[str, Any]) -> None:
    """None."""
    assert Submitted.from_wire({**answer, "taskid": None, "socketaccesstoken": ""}) is None


def test_lists_of_tasks() -> None:
    """Absent, empty, or with invalid entries."""
    assert tasks_of({}) == tasks_of({"tasklist": None}) == tasks_of({"tasklist": []}) == []
    assert [task.id for task in tasks_of({"tasklist": [{"id": "1"}, None, {"id": "2"}]})] == ["1", "2"]


@pytest.mark.parametrize(
    "value, expected", [('{"a":1}', {"a": 1}), ("[1]", [1]), ("{a", "{a"), ("text", "text"), (5, 5), ("", "")]
)
def test_decoded(value: Any, expected: object) -> None:
    """JSON text is decoded. Other values are unchanged."""
    assert decoded(value) == expected
