"""Lists of models: Tool/List, Tool/Detail, Tool/Explore."""

from collections.abc import Iterable, Mapping

from wiro_async.testing._json import Json
from wiro_async.testing._records import RefusedError
from wiro_async.testing._scripts import ModelScript


def tool_list(models: Mapping[str, ModelScript], parameters: Mapping[str, Json]) -> dict[str, Json]:
    """Return one page of the models that match the filters."""
    found = [model.record(summary=_is_true(parameters.get("summary"))) for model in models.values()]
    found = [tool for tool in found if _matches(tool, parameters)]
    found.sort(key=lambda tool: int(str(tool["id"])), reverse=str(parameters.get("order", "")).upper() == "DESC")
    return {"result": True, "errors": [], "total": len(found), "tool": found[page(parameters)]}


def page(parameters: Mapping[str, Json]) -> slice:
    """Return the part of a list that `start` and `limit` select. Clients send both as digits."""
    numbers = [str(parameters.get(name) or default) for name, default in (("start", "0"), ("limit", "20"))]
    if not all(number.isdecimal() for number in numbers):
        raise RefusedError(0, "Request parameter [start] must be integer or float")
    start, limit = map(int, numbers)
    return slice(start, start + limit)


def tool_detail(models: Mapping[str, ModelScript], parameters: Mapping[str, Json]) -> dict[str, Json]:
    """Return the model with these slugs, ignoring case, or an empty list."""
    wanted = f"{parameters.get('slugowner', '')}/{parameters.get('slugproject', '')}".lower()
    summary = _is_true(parameters.get("summary"))
    found = [model.record(summary=summary) for slug, model in models.items() if slug.lower() == wanted]
    return {"result": True, "errors": [], "total": str(len(found)), "tool": found}


def tool_explore(models: Mapping[str, ModelScript]) -> dict[str, Json]:
    sections: dict[str, list[Json]] = {}
    for model in models.values():
        tool = model.record(summary=True)
        for category in _strings(tool["categories"]):
            sections.setdefault(category, []).append(tool)
    explore: list[Json] = [
        {"id": str(number), "title": title, "tools": tools, "total": str(len(tools))}
        for number, (title, tools) in enumerate(sections.items(), 1)
    ]
    return {"result": True, "errors": [], "explore": explore}


def _matches(tool: Mapping[str, Json], wanted: Mapping[str, Json]) -> bool:
    text = f"{tool['title']} {tool['slugowner']}/{tool['slugproject']} {tool['description']}".lower()
    return (
        str(wanted.get("search") or "").lower() in text
        and str(wanted.get("slugowner") or tool["slugowner"]) == tool["slugowner"]
        and set(_strings(wanted.get("categories"))) <= set(_strings(tool["categories"]))
        and set(_strings(wanted.get("tags"))) <= set(_strings(tool["tags"]))
    )


def _strings(value: Json) -> list[str]:
    return [str(item) for item in value] if isinstance(value, Iterable) and not isinstance(value, str) else []


def _is_true(value: Json) -> bool:
    return str(value).lower() in ("true", "1")
