"""Continuations of turns, tool calls and usage."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from wiro_async import File, ToolCall
from wiro_async._protocol.conversations.usage import add_usage
from wiro_async._protocol.messages.frames import Message
from wiro_async._protocol.messages.task_state import TaskState
from wiro_async._protocol.messages.tool_calls import calls_in
from wiro_async._protocol.models.turn_rules import continuation, tool_names
from wiro_async._protocol.tasks.records import parse_task

CALL = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "look", "arguments": "{}", "status": "completed"}


def timeline(*segments: dict[str, Any]) -> Message:
    """Return a message with a timeline."""
    return Message("task_output", "1", "", {"type": "task_output", "message": {"segments": list(segments)}})


def test_a_turn_of_outputs_has_nothing_new() -> None:
    """What is new is removed, and so are files. The rest stays."""
    turn: dict[str, Any] = {
        "prompt": "hi",
        "messages": [],
        "tools": [{}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "response_format": {},
        "inputImage": Path("x.png"),
        "inputs": ["https://example.com/x.png", File(b"x", "x")],
        "stream": io.BytesIO(),
        "temperature": 0.5,
        "user_id": "u",
        "session_id": "s",
        "previousTaskToken": "t",
    }
    outputs: list[dict[str, Any]] = [{"call_id": "c1", "output": 12}]
    assert continuation(turn, outputs) == {
        "temperature": 0.5,
        "user_id": "u",
        "session_id": "s",
        "previousTaskToken": "t",
        "toolOutputs": outputs,
    }


@pytest.mark.parametrize(
    "tools,names",
    [
        ([{"type": "function", "function": {"name": "a"}}, {"type": "function", "name": "b"}], ["a", "b"]),
        ('[{"function": {"name": "a"}}]', ["a"]),
        ([{"type": "web_search"}, "odd"], ["", ""]),
        (None, []),
        ("odd", []),
    ],
)
def test_names_of_tools(tools: object, names: list[str]) -> None:
    """Both spellings are read, also in JSON text. Nothing raises."""
    assert tool_names(tools) == names


def test_calls_of_both_kinds() -> None:
    """Functions have JSON arguments, custom tools plain input. Text is no call."""
    custom = {"type": "custom_tool_call", "call_id": "c2", "name": "sql", "input": "SELECT 1", "status": "incomplete"}
    first, second = calls_in([{"type": "answer", "text": "so"}, CALL, custom])
    assert (first.id, first.call_id, first.name, first.arguments, first.is_complete) == ("f1", "c1", "look", "{}", True)
    assert (second.arguments, second.is_complete, second.raw) == ("SELECT 1", False, custom)


def test_a_call_becomes_an_event_once_it_is_complete() -> None:
    """It comes once, in spite of repeats, also for a late listener."""
    state = TaskState()
    growing = {**CALL, "status": "in_progress", "arguments": "{"}
    messages = [
        timeline(growing),
        timeline(CALL),
        timeline(growing),
        timeline(CALL),
        timeline(CALL, {**CALL, "call_id": "c2"}),
    ]
    reported = [[e.call_id for e in state.apply_message(message) if isinstance(e, ToolCall)] for message in messages]
    assert reported == [[], ["c1"], [], [], ["c2"]]
    assert [e.call_id for e in state.snapshot_events() if isinstance(e, ToolCall)] == ["c1", "c2"]


def test_calls_without_ids_become_events_once() -> None:
    """Each comes once, although only their arguments differ."""
    state = TaskState()
    one, other = {**CALL, "id": "", "call_id": None}, {**CALL, "id": "", "call_id": None, "arguments": '{"x":1}'}
    messages = [timeline(one), timeline(one), timeline(one, other), timeline(one, other, one)]
    assert [sum(isinstance(e, ToolCall) for e in state.apply_message(message)) for message in messages] == [1, 0, 1, 0]


def test_a_call_that_only_the_snapshot_has() -> None:
    """Without a socket the event comes with the end."""
    content = {"segments": [CALL], "finishreason": "tool_calls"}
    record: dict[str, Any] = {
        "id": "1",
        "status": "task_postprocess_end",
        "pexit": "0",
        "outputs": [{"content": content}],
    }
    assert [type(event).__name__ for event in TaskState().apply_info(parse_task(record))][-1] == "ToolCall"


def test_sums_of_usage() -> None:
    """Counters are added by name, nested ones too. Other values stay."""
    one: dict[str, Any] = {
        "input_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 1},
        "tier": "fast",
        "flag": True,
    }
    other: dict[str, Any] = {
        "input_tokens": 4,
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 2},
        "tier": "slow",
    }
    assert add_usage({}, one) == one
    assert add_usage(one, other) == {
        "input_tokens": 7,
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 3},
        "tier": "fast",
        "flag": True,
    }


def test_counters_that_come_as_text() -> None:
    """They are numbers, and whole ones stay exact. Other text stays as it is."""
    one: dict[str, Any] = {
        "total_tokens": "9007199254740993",
        "details": {"cached": "1"},
        "tier": "fast",
        "share": "0.5",
    }
    other: dict[str, Any] = {"total_tokens": 2, "details": {"cached": "2"}, "tier": "fast", "share": "0.25"}
    summed_up = add_usage(add_usage({}, one), other)
    assert summed_up == {"total_tokens": 9007199254740995, "details": {"cached": 3}, "tier": "fast", "share": 0.75}
    assert isinstance(add_usage({}, one)["total_tokens"], int)
