"""Makes the models of the owner "family"."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeAlias

from wiro_async.testing._catalogue.parameters import Item
from wiro_async.testing._json import Json
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

Cost: TypeAlias = Callable[[RunInput], Decimal]
Make: TypeAlias = Callable[[RunInput], Outputs]
FILES = ("fileinput", "multifileinput", "combinefileinput")
SECONDS = 0.5


def family(
    number: int,
    name: str,
    categories: Sequence[str],
    parameters: Sequence[Item],
    make: Make,
    *,
    cost: Cost = lambda inputs: Decimal("0.001"),
    **tool: Json,
) -> ModelScript:
    """Return a model: its record, and a run that sends some progress and makes outputs."""
    items: list[Item] = []
    for outer in parameters:
        inner = outer.get("items")
        items += [item for item in inner if isinstance(item, dict)] if isinstance(inner, list) else [outer]
    needed = [item for item in items if str(item.get("required")).lower() == "true"]

    def script(inputs: RunInput) -> Script:
        events = [progress(step, 5, SECONDS) for step in range(1, 6)]
        return Script(timeline(SECONDS, events), make(inputs), cost=cost(inputs))

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
    """Make one file in each run."""
    return lambda inputs: (FileOutput(name, content_type, data),)


def an_answer(text: str) -> Make:
    """Answer each run with a text."""
    return lambda inputs: (RawOutput({"prompt": inputs.text("prompt"), "raw": text, "thinking": [], "answer": [text]}),)


def files_of(inputs: RunInput, name: str) -> int:
    """Return how many files and URLs were sent for a parameter."""
    return len(inputs.files.get(name, ())) + len(inputs.urls(name))
