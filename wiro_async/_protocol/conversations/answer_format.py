"""Structured answers: the request for JSON of a schema, and where the JSON is in an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from wiro_async._protocol.values.json import JSON, decode, encode
from wiro_async._protocol.values.parsing import as_dict, as_text

FENCED: Final = re.compile(r"```(?:json\b|[\w-]*\n)?(.*?)```", re.DOTALL | re.IGNORECASE)
WIDELY_FENCED: Final = re.compile(FENCED.pattern.replace(".*?", ".*"), FENCED.flags)  # JSON may contain fences
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
    """The JSON in an answer: all of it, or the part between code fences, or else the text that comes closest."""
    text = answer.strip()
    if _is_json(text):
        return text
    fenced = [found[1].strip() for found in (*FENCED.finditer(text), *WIDELY_FENCED.finditer(text))]
    looks_whole = text[:1] in ("{", "[", '"') or not fenced
    return next(filter(_is_json, fenced), text if looks_whole else fenced[-1])


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
