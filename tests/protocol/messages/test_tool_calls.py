"""Tool calls in all shapes that timelines have."""

from __future__ import annotations

from typing import Any

import pytest

from wiro_async._protocol.messages.tool_calls import calls_in

CALL = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "look", "arguments": "{}", "status": "completed"}


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"x": 7}, '{"x":7}'),
        ({}, "{}"),
        ([1, "é"], '[1,"é"]'),
        (5, "5"),
        (False, "false"),
        ('{"x": 7}', '{"x": 7}'),
        ("", ""),
        (None, ""),
    ],
)
def test_arguments_are_json_text(arguments: Any, text: str) -> None:
    """Arguments that come as an object become text. They are never lost."""
    [call] = calls_in([{**CALL, "arguments": arguments}])
    assert call.arguments == text


def test_the_input_of_a_custom_tool() -> None:
    """It is text. An object becomes JSON text."""
    custom = {**CALL, "type": "custom_tool_call", "arguments": None}
    items: list[dict[str, Any]] = [{**custom, "input": "SELECT 1"}, {**custom, "call_id": "c2", "input": {"x": 1}}]
    assert [call.arguments for call in calls_in(items)] == ["SELECT 1", '{"x":1}']


def test_a_repeated_call() -> None:
    """It is one call, as it was when it was first complete."""
    growing = {**CALL, "arguments": "{", "status": "in_progress"}
    assert [call.arguments for call in calls_in([growing, CALL, {**CALL, "arguments": '{"x":1}'}, growing])] == ["{}"]
    assert [call.is_complete for call in calls_in([growing, growing])] == [False]


def test_calls_without_a_call_id() -> None:
    """They have their own id, else their name and arguments identify them."""
    bare = {**CALL, "call_id": None}
    assert [call.call_id for call in calls_in([bare, bare, {**bare, "id": "f2"}])] == ["f1", "f2"]
    nameless = {**bare, "id": ""}
    items = [nameless, nameless, {**nameless, "arguments": '{"x":1}'}]
    assert [call.arguments for call in calls_in(items)] == ["{}", '{"x":1}']
