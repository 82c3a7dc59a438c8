"""Strict JSON schemas, and JSON in answers."""

from __future__ import annotations

from typing import Any

import pytest

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
    ],
)
def test_the_json_in_an_answer(answer: str, text: str) -> None:
    """It is found with or without code fences, which may also be inside the JSON."""
    assert json_text(answer) == text
