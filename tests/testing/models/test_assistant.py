"""The assistant, the rules of turns, and samples of schemas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from wiro_async.testing._catalogue.schema_samples import sample

if TYPE_CHECKING:
    from tests.testing.conftest import Api

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
TIME = {"type": "function", "name": "get_time", "parameters": CITY}
SQL = {"type": "custom", "custom": {"name": "sql"}}
ASK = {"prompt": "How is it in Rome?", "seconds": 0.1, "session_id": "s"}
Run = dict[str, Any]


async def ran(api: Api, **turn: Any) -> tuple[str, Run]:
    """Make a run, and return its token and its output."""
    token = await api.run("assistant", **{**ASK, **turn})
    content: Run = (await api.ended(token))["outputs"][0]["content"]
    return token, content


def calls(content: Run) -> list[tuple[str, str, str]]:
    """Return the names, arguments and statuses of tool calls."""
    parts = [part for part in content["segments"] if part["type"].endswith("_call")]
    return [(call["name"], call.get("arguments", call.get("input")), call["status"]) for call in parts]


@pytest.mark.parametrize(
    "turn,names",
    [
        ({}, ["get_weather", "get_time", "sql"]),
        ({"parallel_tool_calls": False}, ["get_weather"]),
        ({"tool_choice": "none"}, []),
        ({"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
        ({"tools": json.dumps([WEATHER])}, ["get_weather"]),
    ],
)
async def test_which_tools_it_calls(api: Api, turn: Run, names: list[str]) -> None:
    """It calls every allowed tool, with arguments that fit the schema."""
    _, content = await ran(api, tools=[WEATHER, TIME, SQL], **turn) if "tools" not in turn else await ran(api, **turn)
    assert [name for name, _, _ in calls(content)] == names
    assert content["finishreason"] == ("tool_calls" if names else "stop")
    if names:
        assert calls(content)[0][1:] == ('{"city":"Rome"}', "completed")


async def test_two_turns(api: Api) -> None:
    """The second turn answers with the tool outputs. A third one may continue it."""
    token, asked = await ran(api, tools=[WEATHER])
    outputs = [{"call_id": asked["segments"][-1]["call_id"], "output": {"degrees": 21}}]
    turn = {"previousTaskToken": token, "toolOutputs": outputs, "session_id": "s", "seconds": 0.1}
    second = await api.run("assistant", **turn)
    content = (await api.ended(second))["outputs"][0]["content"]
    assert content["raw"] == 'You asked: How is it in Rome? I looked it up: get_weather says {"degrees":21}.'
    assert (await ran(api, previousTaskToken=second))[1]["finishreason"] == "stop"


async def test_calls_grow_before_they_are_complete(api: Api) -> None:
    """A call is in progress before it is complete."""
    received = await api.follow("assistant", **{**ASK, "seconds": 5}, tools=[WEATHER])
    messages = [m["message"] for m in received if m["type"] == "task_output"]
    states = [
        calls(message)[0][2] for message in messages if message.get("segments") and "name" in message["segments"][-1]
    ]
    assert states == ["in_progress", "completed"]


async def test_incomplete_calls(api: Api) -> None:
    """Incomplete calls have broken arguments. Without a complete call the finish reason is "length"."""
    _, content = await ran(api, tools=[WEATHER, TIME], incomplete=1)
    assert [status for _, _, status in calls(content)] == ["completed", "incomplete"]
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(calls(content)[1][1])
    assert (await ran(api, tools=[WEATHER], incomplete=1))[1]["finishreason"] == "length"
    assert calls((await ran(api, tools=[WEATHER], arguments='{"x":1}'))[1])[0][1] == '{"x":1}'


@pytest.mark.parametrize("reason", ["length", "content_filter", "error"])
async def test_finish_reasons(api: Api, reason: str) -> None:
    """A requested finish reason cuts the answer."""
    full, cut = (await ran(api))[1], (await ran(api, finish=reason))[1]
    assert (full["finishreason"], cut["finishreason"]) == ("stop", reason)
    assert 0 < len(cut["raw"]) < len(full["raw"])
    assert full["raw"].startswith(cut["raw"])


async def test_response_formats(api: Api) -> None:
    """Answers are JSON of the schema, also after tools; fenced or broken on request."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": CITY, "strict": True}}
    assert json.loads((await ran(api, response_format=form))[1]["raw"]) == {"city": "Rome"}
    assert json.loads((await ran(api, response_format={"type": "json_object"}))[1]["raw"]) == {"answer": ASK["prompt"]}
    assert (await ran(api, response_format={"type": "text"}))[1]["raw"].startswith("You asked")
    assert "```json\n{" in (await ran(api, response_format=form, fenced=True))[1]["raw"]
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads((await ran(api, response_format=form, malformed=True))[1]["raw"])
    token, asked = await ran(api, response_format=form, tools=[WEATHER])
    outputs = [{"call_id": asked["segments"][-1]["call_id"], "output": 1}]
    again = await api.run("assistant", previousTaskToken=token, toolOutputs=outputs, session_id="s", seconds=0.1)
    assert json.loads((await api.ended(again))["outputs"][0]["content"]["raw"]) == {"city": "Rome"}


async def test_messages(api: Api) -> None:
    """The last user message is the question, also if it has parts."""
    parts = [{"role": "user", "content": [{"type": "text", "text": "And Paris?"}]}, {"role": "system", "content": "x"}]
    token = await api.run("assistant", messages=parts, seconds=0.1)
    assert "And Paris?" in (await api.ended(token))["outputs"][0]["content"]["raw"]


OUTPUTS = [{"call_id": "call_1_1", "output": 1}]


@pytest.mark.parametrize(
    "turn,accepted",
    [
        ({"toolOutputs": OUTPUTS, "session_id": "s"}, True),
        ({"prompt": "x", "session_id": "s"}, True),
        ({"prompt": "x", "session_id": "other"}, False),
        ({"prompt": "x"}, False),
        ({"toolOutputs": OUTPUTS, "session_id": "other"}, False),
        ({"toolOutputs": OUTPUTS, "session_id": "s", "tools": []}, False),
        ({"toolOutputs": OUTPUTS, "session_id": "s", "prompt": "x"}, False),
        ({"toolOutputs": [{"call_id": "call_9", "output": 1}], "session_id": "s"}, False),
        ({"toolOutputs": [{"call_id": "call_1_1"}], "session_id": "s"}, False),
        ({"toolOutputs": OUTPUTS * 2, "session_id": "s"}, False),
        ({"prompt": "x", "session_id": "s", "previousTaskToken": "unknown"}, False),
        ({"prompt": "x", "session_id": "s" * 257, "previousTaskToken": ""}, False),
        ({"prompt": "x", "session_id": "", "previousTaskToken": ""}, False),
        ({"prompt": " ", "session_id": "s"}, False),
    ],
)
async def test_the_rules_of_turns(api: Api, turn: Run, accepted: bool) -> None:
    """A turn that continues a run names the run, its session, and an output for each call."""
    token, _ = await ran(api, tools=[WEATHER])
    answer = await api.post("Run/emulator/assistant", {"previousTaskToken": token, "seconds": 0.1, **turn})
    assert answer["result"] is accepted
    if not accepted:
        assert answer["errors"][0]["message"] == "Request parameters are invalid."


async def test_only_successful_runs_can_be_continued(api: Api) -> None:
    """Running tasks and tasks of other models cannot be continued."""
    running = await api.run("assistant", **{**ASK, "seconds": 500})
    other = await api.run("writer", prompt="x", session_id="s", seconds=0.1)
    await api.ended(other)
    for token in (running, other):
        turn = {"prompt": "x", "session_id": "s", "previousTaskToken": token}
        assert (await api.post("Run/emulator/assistant", turn))["result"] is False
    assert (await api.post("Run/emulator/assistant", {"prompt": "x", "tools": "[oops"}))["result"] is False


@pytest.mark.parametrize(
    "schema",
    [
        CITY,
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/B"}}, "B": {"const": 7}}},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "minItems": 3, "items": CITY},
        {"anyOf": [{"type": "null"}, {"type": "number", "exclusiveMinimum": 5, "maximum": 5.5}]},
        {"type": ["integer", "null"], "exclusiveMaximum": -2, "minimum": -9},
        {"enum": ["b", "a"]},
        {"type": "string", "minLength": 9, "maxLength": 10},
        {"type": "string", "format": "date-time"},
        {"default": [1]},
        {"type": "null"},
        {"oneOf": [{"type": "null"}]},
        {},
        True,
    ],
)
def test_samples_fit_their_schemas(schema: Any) -> None:
    """An independent validator accepts the samples."""
    jsonschema.validate(sample(schema, "How is it in Rome?"), schema)


def test_samples_of_texts() -> None:
    """Texts are names, then words, then a default. Recursive schemas end."""
    texts = ["Is Rome nice?", "tell me everything", "?"]
    assert [sample({"type": "string"}, about) for about in texts] == ["Rome", "tell", "something"]
    endless: Any = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    assert str(sample({**endless, "$defs": {}}, "x")).startswith("{'a'")
    assert sample({"$ref": "#/nowhere"}, "x") is None
