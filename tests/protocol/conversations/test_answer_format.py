"""Strict JSON schemas, and JSON in answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.conversations.answer_format import json_text, response_format, rooted, schema_in, strict

NUMBER = {"type": "integer", "default": 3}


def test_strict_schemas() -> None:
    """Every object requires exactly its properties. Defaults are removed, properties of that name stay."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"default": NUMBER, "list": {"type": "array", "items": {"$ref": "#/$defs/Inner"}}},
        "required": ["list"],
        "$defs": {"Inner": {"type": "object", "properties": {"a": {"anyOf": [NUMBER, {"type": "null"}]}}}},
    }
    assert strict(schema) == {
        "type": "object",
        "properties": {
            "default": {"type": "integer"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/Inner"}},
        },
        "required": ["default", "list"],
        "additionalProperties": False,
        "$defs": {
            "Inner": {
                "type": "object",
                "properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
                "required": ["a"],
                "additionalProperties": False,
            }
        },
    }


@pytest.mark.parametrize(
    "schema,root",
    [
        ({"type": "integer"}, {"type": "integer"}),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object"}}}, {"type": "object"}),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"a": 1}, "B": {"b": 1}}}, {"a": 1, "$defs": {"B": {"b": 1}}}),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": {"items": {"$ref": "#/$defs/A"}}}},
            {"items": {"$ref": "#/$defs/A"}, "$defs": {"A": {"items": {"$ref": "#/$defs/A"}}}},
        ),
        ({"$ref": "#/elsewhere"}, {"$ref": "#/elsewhere"}),
    ],
)
def test_the_root_of_a_schema(schema: dict[str, Any], root: dict[str, Any]) -> None:
    """The root is no reference, unless to an unknown place. A recursive schema keeps its definition."""
    assert rooted(schema) == root


def test_the_request() -> None:
    """Names are made valid. A complete response_format stays as it is."""
    form = response_format("Page[int]", {"type": "object"})
    assert form == {
        "type": "json_schema",
        "json_schema": {"name": "Page_int", "schema": {"type": "object"}, "strict": True},
    }
    assert response_format("x", form) == form
    assert schema_in(form) == {"type": "object"}
    assert response_format("…", {})["json_schema"] == {"name": "answer", "schema": {}, "strict": True}


@pytest.mark.parametrize(
    "answer,text",
    [
        ('{"a": 1}', '{"a": 1}'),
        ("\n [1] ", "[1]"),
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('```\n{"a": 1}\n```\n', '{"a": 1}'),
        ('```JSON {"a": 1}```', '{"a": 1}'),
        ('Here you are:\n```json\n{"a": "```"}\n```\nEnjoy!', '{"a": "```"}'),
        ('{"code": "```x```"}', '{"code": "```x```"}'),
        ("no JSON at all", "no JSON at all"),
        ("[Note] as you asked:\n```json\n[1]\n```", "[1]"),
        ('First:\n```json\n{"a": 1}\n```\nor\n```json\n{"a": 2}\n```', '{"a": 1}'),
        ("Run:\n```sh\nls\n```\nand get\n```json\n[2]\n```", "[2]"),
        ('```json\n{"a": "b ```x``` c"}\n```', '{"a": "b ```x``` c"}'),
        ("```json\n{broken\n```", "{broken"),
        ("null", "null"),
        ('\ufeff{"a": 1}', '{"a": 1}'),
        ("\ufeff\n```json\n\ufeff[1]\n```", "[1]"),
        ('Sure: {"a":1}', '{"a":1}'),
        ('{"a":1}\nI hope that helps {you}.', '{"a":1}'),
        ('As in [1] and {x}: {"a": "}"} :-)', '{"a": "}"}'),
        ('{"a": 1} and once more {"a":1}', '{"a": 1}'),
        ("The list: [1, 2].", "[1, 2]"),
        ('Either {"a": 1} or {"a": 2}', 'Either {"a": 1} or {"a": 2}'),
        ('Cut off: {"a": {"b": 1}, "c', 'Cut off: {"a": {"b": 1}, "c'),
        ('Not JSON: {a: {"b": 1}}', 'Not JSON: {a: {"b": 1}}'),
        ('Cut off: {"a": {"]": 0, "}": []', 'Cut off: {"a": {"]": 0, "}": []'),
        ('Cut off: {"a": "}[1]', 'Cut off: {"a": "}[1]'),
        ('Cut off: {"a": "}[1]\\', 'Cut off: {"a": "}[1]\\'),
        ('Marks: {5" wide} and {"a": "}"}', 'Marks: {5" wide} and {"a": "}"}'),
    ],
)
def test_the_json_in_an_answer(answer: str, text: str) -> None:
    """It is found with or without code fences, which may also be inside the JSON."""
    assert json_text(answer) == text


PROSE = st.text(st.characters(exclude_characters="{}[]`", exclude_categories=["Cs"]))
OBJECTS = st.dictionaries(
    st.text(), st.recursive(st.integers() | st.text() | st.none(), st.lists, max_leaves=5), min_size=1
)


@given(PROSE, OBJECTS, PROSE)
def test_an_object_in_prose_is_found(before: str, value: Any, after: str) -> None:
    """Wherever it stands, if it is the only one."""
    assert json.loads(json_text(f"{before}: {json.dumps(value)}. {after}")) == value


@given(PROSE, OBJECTS, PROSE, OBJECTS)
def test_two_objects_are_ambiguous(before: str, first: Any, between: str, second: Any) -> None:
    """The text stays as it is, and cannot be read."""
    text = f"{before}: {json.dumps(first)} {between}: {json.dumps(second)}."
    if first == second:
        assert json.loads(json_text(text)) == first
    else:
        assert json_text(text) == text.strip().strip("\ufeff").strip()


@given(PROSE, OBJECTS, st.data())
def test_a_part_of_an_object_is_no_answer(before: str, value: Any, data: st.DataObject) -> None:
    """What was cut off is not replaced by something within it."""
    whole = json.dumps({"outer": value, "last": 1})
    text = f"{before}: {whole[: data.draw(st.integers(1, len(whole) - 1))]}"
    with pytest.raises(ValueError, match=r"."):
        json.loads(json_text(text))
