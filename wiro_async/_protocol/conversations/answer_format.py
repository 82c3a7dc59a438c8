"""Structured answers: the request for JSON of a schema, and where the JSON is in an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from wiro_async._protocol.values.json import JSON, decode, encode, end_of_value
from wiro_async._protocol.values.parsing import as_dict, as_text

FENCED: Final = re.compile(r"```(?:json\b|[\w-]*\n)?(.*?)```", re.DOTALL | re.IGNORECASE)
WIDELY_FENCED: Final = re.compile(FENCED.pattern.replace(".*?", ".*"), FENCED.flags)  # JSON may contain fences
BRACKET: Final = re.compile(r"[{\[]")
# Brackets within strings close nothing. A string that was cut off goes on to the end.
BRACKET_OR_STRING: Final = re.compile(r"""[][{}]|"(?:[^"\\]|\\.)*(?:"|\\?\Z)""", re.DOTALL)
ODD: Final = re.compile(r"[^A-Za-z0-9_-]+")
REF: Final = "#/$defs/"
NAMED: Final = ("properties", "$defs")  # these map names to schemas, and are not schemas themselves


def response_format(name: str, schema: Mapping[str, JSON]) -> dict[str, JSON]:
    """The `response_format` parameter for a JSON schema. A value that is one already stays as it is."""
    if schema.get("type") == "json_schema":
        return dict(schema)
    described: dict[str, JSON] = {"name": ODD.sub("_", name).strip("_")[:64] or "answer", "schema": dict(schema)}
    return {"type": "json_schema", "json_schema": {**described, "strict": True}}


def schema_in(form: Mapping[str, JSON]) -> dict[str, JSON]:
    """The JSON schema in a `response_format` parameter."""
    return as_dict(as_dict(form.get("json_schema")).get("schema"))


def strict(schema: Mapping[str, JSON]) -> dict[str, JSON]:
    """Make a schema strict: all properties are required, and no others are allowed."""
    closed: dict[str, JSON] = {}
    for key, value in schema.items():
        if key in NAMED and isinstance(value, dict):
            closed[key] = {name: _strict(item) for name, item in value.items()}
        elif key != "default":
            closed[key] = _strict(value)
    properties = closed.get("properties")
    if isinstance(properties, dict):
        closed |= {"required": list(properties), "additionalProperties": False}
    return closed


def rooted(schema: Mapping[str, JSON]) -> dict[str, JSON]:
    """Put an object at the root of a schema, in place of a reference to one."""
    definitions = dict(as_dict(schema.get("$defs")))
    reference = as_text(schema.get("$ref"))
    root = definitions.get(reference.removeprefix(REF))
    if not isinstance(root, dict):
        return dict(schema)
    if encode(reference) not in encode(definitions):  # unless the schema refers to itself
        del definitions[reference.removeprefix(REF)]
    return {**root, "$defs": definitions} if definitions else root


def json_text(answer: str) -> str:
    """The JSON in an answer: all of it, the part between code fences or within prose, or else what comes closest."""
    text = _trim(answer)
    if _is_json(text):
        return text
    fenced = [_trim(found[1]) for found in (*FENCED.finditer(text), *WIDELY_FENCED.finditer(text))]
    looks_whole = text[:1] in ("{", "[", '"') or not fenced
    closest = text if looks_whole else fenced[-1]
    return next(filter(_is_json, fenced), None) or _only_value_in(text) or closest


def _only_value_in(text: str) -> str | None:
    """The one object in prose, or else the one array. None if there are several that differ, or one is cut off.

    What stands within brackets that are no JSON is not looked at: it may be a part of an answer that is broken.
    """
    found: dict[str, dict[bytes, str]] = {"{": {}, "[": {}}
    at = 0
    while bracket := BRACKET.search(text, at):
        begin = bracket.start()
        end = end_of_value(text, begin)
        if end is not None:
            found[bracket[0]].setdefault(encode(decode(text[begin:end]), sort_keys=True), text[begin:end])
        at = end or _after_brackets(text, begin)
        if not at:
            return None
    values = list((found["{"] or found["["]).values())
    return values[0] if len(values) == 1 else None


def _after_brackets(text: str, begin: int) -> int:
    """The place after the bracket that closes this one; 0 if none does."""
    depth = 0
    for found in BRACKET_OR_STRING.finditer(text, begin):
        if found[0] in "{[":
            depth += 1
        elif found[0] in "]}":
            depth -= 1
        if not depth:
            return found.end()
    return 0


def _trim(text: str) -> str:
    return text.strip().strip("\ufeff").strip()


def _is_json(text: str) -> bool:
    try:
        decode(text)
    except ValueError:
        return False
    return True


def _strict(value: JSON) -> JSON:
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return strict(value) if isinstance(value, dict) else value
