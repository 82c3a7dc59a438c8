"""Tools: how they are described to a model, and how they run."""

from __future__ import annotations

import asyncio
import enum
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import attrs
import msgspec
import pydantic
import pytest

from wiro_async import ConfigurationError, InvalidInputError, ToolCall, ToolError
from wiro_async._api.conversation.tools import FunctionTool, Toolbox
from wiro_async._api.results import type_schemas as schemas


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


@attrs.frozen
class Place:
    """Where on earth."""

    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    longitude: float


@dataclass
class Note:
    text: str


class Card(pydantic.BaseModel):
    text: str


async def get_weather(
    city: Annotated[str, "the city's name"],
    unit: Unit = Unit.C,
    days: int = 1,
    tags: list[str] = ["a"],  # noqa: B006
) -> dict[str, object]:
    """Report the weather of a city.

    It is always fine.
    """
    return {"city": city, "unit": unit, "days": days, "tags": tags}


def near(place: Place, kind: Literal["café", "museum"] | None = None) -> str:
    """What is near a place."""
    return f"{kind or 'nothing'} at {place.latitude:g}, {place.longitude:g}"


class Counter:
    """Counts."""

    count = 0

    def add(self, number: int) -> int:
        """Add to the count."""
        self.count += number
        return self.count

    async def __call__(self, by: int) -> Note:
        return Note(str(self.add(by)))


def call(name: str, arguments: str = "{}", call_id: str = "c1") -> ToolCall:
    """A call of a model."""
    return ToolCall(id="f1", call_id=call_id, name=name, arguments=arguments, status="completed")


async def output(function: Callable[..., object], arguments: str = "{}") -> Any:
    """The output of one call of one tool."""
    toolbox = Toolbox.of([function])
    [given] = await toolbox.run([call(next(iter(toolbox.functions)), arguments)], "tell")
    return given.output


def test_a_declaration() -> None:
    """It has the name, docstring, types, descriptions, defaults and required parameters."""
    assert FunctionTool.of(get_weather).declaration == {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Report the weather of a city.\n\nIt is always fine.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "the city's name"},
                    "unit": {"$ref": "#/$defs/Unit", "default": "celsius"},
                    "days": {"type": "integer", "default": 1},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["city"],
                "additionalProperties": False,
                "$defs": {"Unit": {"title": "Unit", "enum": ["celsius", "fahrenheit"]}},
            },
        },
    }


def test_methods_partials_and_callables() -> None:
    """They can be tools, too."""
    tools = [FunctionTool.of(tool) for tool in (Counter().add, partial(near, kind="café"), Counter())]
    assert [tool.name for tool in tools] == ["add", "near", "Counter"]
    described = [tool.declaration["function"] for tool in tools]
    assert [sorted(d["parameters"]["properties"]) for d in described if isinstance(d, dict)] == [  # type: ignore[index, call-overload, arg-type]
        ["number"],
        ["kind", "place"],
        ["by"],
    ]


@pytest.mark.parametrize(
    "tool,words",
    [
        (lambda: 0, "a tool is a lambda, which has no name; write a function"),
        (partial(lambda x: x, x=1), "a tool is a lambda"),
        (print, "takes .*; tools take arguments by name"),
        (7, "a tool is 7; give a function"),
    ],
)
async def test_what_cannot_be_a_tool(tool: Any, words: str) -> None:
    """The error names the tool and the remedy."""
    with pytest.raises(InvalidInputError, match=words):
        Toolbox.of([tool])


async def test_types_that_have_no_schema() -> None:
    """Other classes and undefined names are refused."""

    def odd(thing: Counter) -> None: ...

    def lost(thing: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(InvalidInputError, match=r"tool odd has no JSON schema: .*Counter"):
        Toolbox.of([odd])
    with pytest.raises(InvalidInputError, match="tool lost: name 'Nowhere'"):
        Toolbox.of([lost])


async def test_two_tools_of_one_name() -> None:
    """They are refused: the calls could not be expected apart."""
    with pytest.raises(InvalidInputError, match="two tools are called near"):
        Toolbox.of([near, {"type": "function", "function": {"name": "near"}}])


async def test_arguments_are_converted_to_their_types() -> None:
    """They become enums, attrs classes and defaults. The result is plain JSON."""
    assert await output(get_weather, '{"city": "Paris", "unit": "fahrenheit"}') == {
        "city": "Paris",
        "unit": "fahrenheit",
        "days": 1,
        "tags": ["a"],
    }
    assert await output(near, '{"place": {"latitude": 48, "longitude": 2}, "kind": "café"}') == "café at 48, 2"
    assert await output(Counter(), '{"by": 2}') == {"text": "2"}


@pytest.mark.parametrize(
    "result,expected",
    [
        (None, None),
        ([1, 2.5, "x"], [1, 2.5, "x"]),
        (Card(text="hi"), {"text": "hi"}),
        ({"cards": [Card(text="hi")], 7: Note("x")}, {"cards": [{"text": "hi"}], "7": {"text": "x"}}),
        (float("nan"), "Error: InvalidInputError: what give returned is nan, which JSON cannot hold"),
        (Counter(), "Error: TypeError: a Counter cannot be written as JSON"),
    ],
)
async def test_results_become_plain_json(result: object, expected: object) -> None:
    """Results that cannot be JSON become errors for the model."""

    def give() -> object:
        return result

    given = await output(give)
    assert given == expected or (isinstance(expected, str) and given.startswith(expected))


@pytest.mark.parametrize(
    "arguments,words",
    [
        ('{"city": 7}', "Error: ValueError: the arguments do not fit: Expected `str`, got `int` - at `$.city`"),
        ("{}", "Error: ValueError: the arguments do not fit: Object missing required field `city`"),
        ('{"city": "x", "country": "y"}', "Object contains unknown field `country`"),
        ('{"city": ', "the arguments do not fit"),
        ("[]", "Expected `object`, got `array`"),
    ],
)
async def test_bad_arguments_go_back_to_the_model(arguments: str, words: str) -> None:
    """The output says what is wrong, and the function is not called."""
    assert words in await output(get_weather, arguments)


async def test_a_tool_that_does_not_exist() -> None:
    """The output names the tools that exist."""
    toolbox = Toolbox.of([near])
    [given] = await toolbox.run([call("far")], "tell")
    assert (given.failed, given.output) == (True, "Error: LookupError: there is no tool 'far', only near")


async def test_calls_run_at_the_same_time() -> None:
    """Each waits for the other. Outputs are in the order of the calls."""
    barrier = asyncio.Barrier(2)

    async def meet(name: str) -> str:
        await barrier.wait()
        return name

    toolbox = Toolbox.of([meet])
    calls = [call("meet", '{"name": "a"}', "c1"), call("meet", '{"name": "b"}', "c2")]
    given = await toolbox.run(calls, "tell")
    assert [(one.call_id, one.output) for one in given] == [("c1", "a"), ("c2", "b")]


async def test_plain_functions_run_in_threads() -> None:
    """They do not block the event loop."""

    def where() -> bool:
        return threading.current_thread() is threading.main_thread()

    assert await output(where) is False


async def test_cancelling_reaches_the_tools() -> None:
    """All of them are cancelled."""
    started, cancelled = asyncio.Event(), list[str]()

    async def wait(name: str) -> None:
        try:
            started.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(name)
            raise

    toolbox = Toolbox.of([wait])
    running = asyncio.create_task(
        toolbox.run([call("wait", '{"name": "a"}'), call("wait", '{"name": "b"}', "c2")], "tell")
    )
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(cancelled) == ["a", "b"]


async def test_a_tool_that_cancels_itself() -> None:
    """That is an error like any other, and the other tools go on."""

    async def give_up() -> None:
        raise asyncio.CancelledError("enough")

    async def wait() -> None:
        here = asyncio.ensure_future(asyncio.sleep(60))
        here.cancel()
        await here

    async def fine() -> str:
        return "fine"

    toolbox = Toolbox.of([give_up, wait, fine])
    calls = [call("give_up", call_id="c1"), call("wait", call_id="c2"), call("fine", call_id="c3")]
    first, second, third = await toolbox.run(calls, "tell")
    assert (first.failed, second.failed, third.output) == (True, True, "fine")
    assert "cancelled" in str(first.output)
    with pytest.raises(ToolError, match="give_up"):
        await toolbox.run(calls, "raise")


async def test_an_error_that_is_to_be_raised() -> None:
    """The cause is the tool's own error. Other calls are cancelled."""

    async def fail() -> None:
        raise KeyError("Paris")

    async def wait() -> None:
        await asyncio.sleep(60)

    toolbox = Toolbox.of([fail, wait])
    with pytest.raises(ToolError, match="tool 'fail' failed: KeyError: 'Paris'") as caught:
        await toolbox.run([call("wait", call_id="c2"), call("fail")], "raise")
    assert isinstance(caught.value.__cause__, KeyError)
    assert (caught.value.name, caught.value.call_id) == ("fail", "c1")


async def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to install."""
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'wiro-async\[tools\]'"):
        await schemas.load_validation()


def test_raw_schemas() -> None:
    """They are passed on as they are, and are never run."""
    raw = {"type": "function", "function": {"name": "far"}}
    toolbox = Toolbox.of([raw])
    assert toolbox.declarations == [raw]
    assert not toolbox.runs(call("far"), ["far"])
