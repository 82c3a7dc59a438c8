"""What the families are made of."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeAlias

import orjson

from wiro_async.testing._records import Json
from wiro_async.testing._scripts import (
    FileOutput,
    ModelScript,
    Outputs,
    RawOutput,
    RunInput,
    Script,
    progress,
    timeline,
)

Item: TypeAlias = dict[str, Json]
Cost: TypeAlias = Callable[[RunInput], Decimal]
Make: TypeAlias = Callable[[RunInput], Outputs]
FILES = ("fileinput", "multifileinput", "combinefileinput")
SECONDS = 0.5


def item(name: str, kind: str, label: str, **more: Json) -> Item:
    """One parameter; not required unless told so."""
    return {"id": name, "type": kind, "label": label, "required": False, "advanced": False, **more}


def group(title: str, *items: Item) -> Item:
    """A titled group of parameters."""
    return {"title": title, "subtitle": "", "items": list(items)}


def choices(*values: str) -> list[Json]:
    """Options in the older vocabulary."""
    return [{"text": value, "value": value} for value in values]


def labelled(**labels: str) -> list[Json]:
    """Options in the newer vocabulary, each with a label."""
    return [{"label": label, "value": value} for value, label in labels.items()]


def rule(price: str, method: str, **more: Json) -> Item:
    """One row of a price table."""
    return {"inputs": {}, "price": float(price), "priceMethod": method, **more}


def table(rules: Sequence[Item]) -> str:
    """A price table as the service sends it: JSON text."""
    return orjson.dumps(rules).decode()


def family(
    number: int,
    name: str,
    categories: Sequence[str],
    parameters: Sequence[Item],
    make: Make,
    *,
    cost: Cost = lambda given: Decimal("0.001"),
    **tool: Json,
) -> ModelScript:
    """A model of the owner "family": its record, and a run that shows some progress and makes something."""
    items = [inner for outer in parameters for inner in _items(outer)]
    needed = [item for item in items if str(item.get("required")).lower() == "true"]

    def script(given: RunInput) -> Script:
        events = [progress(step, 5, SECONDS) for step in range(1, 6)]
        return Script(timeline(SECONDS, events), make(given), cost=cost(given))

    return ModelScript(
        f"family/{name}",
        script,
        required=tuple(str(item["id"]) for item in needed if item["type"] not in FILES),
        required_files=tuple(str(item["id"]) for item in needed if item["type"] in FILES),
        tool={
            "id": str(number),
            "title": name.replace("-", " ").title(),
            "categories": ["tool", *categories],
            "parameters": list(parameters),
            "computingtime": "10 seconds",
            "cps": "0.0005",
            "approximatelycost": "0.005",
            **tool,
        },
    )


def a_file(name: str, content_type: str, data: bytes) -> Make:
    """A run that makes one file."""
    return lambda given: (FileOutput(name, content_type, data),)


def an_answer(text: str) -> Make:
    """A run that answers with a text."""
    return lambda given: (RawOutput({"prompt": given.text("prompt"), "raw": text, "thinking": [], "answer": [text]}),)


def files_of(given: RunInput, name: str) -> int:
    """How many files and URLs came for a parameter."""
    return len(given.files.get(name, ())) + len(given.urls(name))


def _items(outer: Item) -> list[Item]:
    inner = outer.get("items")
    return [item for item in inner if isinstance(item, dict)] if isinstance(inner, list) else [outer]
