"""Plausible values for a JSON schema."""

import re
from collections.abc import Mapping, Sequence

from wiro_async.testing._json import Json

DEPTH = 6
FORMATS = {
    "date": "2026-08-14",
    "date-time": "2026-08-14T09:30:00Z",
    "time": "09:30:00",
    "email": "ada@example.com",
    "uri": "https://example.com",
    "uuid": "0b8f6a0e-8f3c-4d5e-9a57-2f6d3c1b7a90",
    "decimal": "4.20",
}


def sample(schema: Json, about: str, root: Mapping[str, Json] | None = None, depth: int = 0) -> Json:
    """Return a value that fits the schema. Its texts are names from `about`."""
    if not isinstance(schema, Mapping) or depth > DEPTH:
        return None
    root = schema if root is None else root
    if isinstance(reference := schema.get("$ref"), str):
        return sample(_resolved(reference, root), about, root, depth + 1)
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if choices := _list(schema.get("enum")):
        return choices[0]
    for name in ("anyOf", "oneOf", "allOf"):
        if branches := _list(schema.get(name)):
            return sample(_first(branches), about, root, depth + 1)
    return _of_type(schema, about, root, depth)


def _of_type(schema: Mapping[str, Json], about: str, root: Mapping[str, Json], depth: int) -> Json:
    match schema.get("type"):
        case "object":
            return _object(schema, about, root, depth)
        case "array":
            count = max(1, int(_number(schema, "minItems", 1)))
            places = _list(schema.get("prefixItems"))
            return [
                sample(places[place] if place < len(places) else schema.get("items"), about, root, depth + 1)
                for place in range(max(count, len(places)))
            ]
        case "integer" | "number":
            return _in_range(schema)
        case "boolean":
            return True
        case "string":
            return _text(schema, about)
        case [str() as first, *_]:
            return _of_type({**schema, "type": first}, about, root, depth)
    return None


def _object(schema: Mapping[str, Json], about: str, root: Mapping[str, Json], depth: int) -> Json:
    properties = schema.get("properties")
    required = _list(schema.get("required"))
    found = properties if isinstance(properties, Mapping) else {}
    return {name: sample(inner, about, root, depth + 1) for name, inner in found.items() if name in required}


def _in_range(schema: Mapping[str, Json]) -> Json:
    least = _number(schema, "minimum", _number(schema, "exclusiveMinimum", 0) + 1)
    most = _number(schema, "maximum", _number(schema, "exclusiveMaximum", least + 4) - 1)
    middle = min(max(least, 3), most)
    return int(middle) if schema.get("type") == "integer" else float(middle)


def _text(schema: Mapping[str, Json], about: str) -> str:
    known = FORMATS.get(str(schema.get("format")))
    if known:
        return known
    names = re.findall(r"(?<![.?!] )(?<!^)\b[A-Z][\w-]+", about) or re.findall(r"[\w-]{4,}", about) or ["something"]
    text = str(names[0]).ljust(int(_number(schema, "minLength", 0)), ".")
    return text[: int(_number(schema, "maxLength", 200))]


def _resolved(reference: str, root: Mapping[str, Json]) -> Json:
    found: Json = root
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _first(branches: Sequence[Json]) -> Json:
    """Return the first branch that is not null."""
    return next((one for one in branches if not isinstance(one, Mapping) or one.get("type") != "null"), branches[0])


def _number(schema: Mapping[str, Json], name: str, default: float) -> float:
    value = schema.get(name)
    return value if isinstance(value, int | float) else default


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()
