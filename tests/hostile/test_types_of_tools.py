"""Tools take what `response_model` takes, and small slips of a model do not cost a turn."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, TypedDict

import attrs
import pydantic
import pytest

from wiro_async import InvalidInputError
from wiro_async._api.conversation.tools import Toolbox
from wiro_async._api.results import type_schemas as schemas
from wiro_async._protocol.messages.tool_calls import ToolCall


class Unit(enum.Enum):
    """A unit of temperature."""

    C = "celsius"
    F = "fahrenheit"


class Street(pydantic.BaseModel):
    """A part of an address."""

    name: str
    number: int


class Address(pydantic.BaseModel):
    """A model within a model."""

    street: Street
    city: str = "Izmir"


class Node(pydantic.BaseModel):
    """A model that refers to itself."""

    value: int
    children: list[Node] = []


@dataclass
class Note:
    """A dataclass that holds a model of another library."""

    text: str
    at: Address | None = None


@attrs.frozen
class Place:
    """An attrs class."""

    latitude: float


class Options(TypedDict, total=False):
    """A dictionary of known keys."""

    days: int


STREET: dict[str, Any] = {"name": "Kordon", "number": 3}
ADDRESS: dict[str, Any] = {"street": STREET, "city": "Bursa"}
NODE: dict[str, Any] = {"value": 1, "children": [{"value": 2, "children": []}]}
KINDS: list[tuple[Any, Any, Any]] = [
    (Address, ADDRESS, Address.model_validate(ADDRESS)),
    (list[Address], [ADDRESS], [Address.model_validate(ADDRESS)]),
    (dict[str, Street], {"a": STREET}, {"a": Street.model_validate(STREET)}),
    (Optional[Address], None, None),  # noqa: UP045
    (Address | None, ADDRESS, Address.model_validate(ADDRESS)),
    (Node, NODE, Node.model_validate(NODE)),
    (list[Node], [NODE], [Node.model_validate(NODE)]),
    (Note, {"text": "x", "at": ADDRESS}, Note("x", Address.model_validate(ADDRESS))),
    (list[Note], [{"text": "x"}], [Note("x")]),
    (Place, {"latitude": 3}, Place(3.0)),
    (Options, {"days": 2.0}, {"days": 2}),
    (object, {"any": [1, None]}, {"any": [1, None]}),
    (list[object], [1, "x", 2.5], [1, "x", 2.5]),
    (dict[str, object], {"a": 1}, {"a": 1}),
    (Any, [1], [1]),
    (Unit, "celsius", Unit.C),
    (Literal["a", "b"], "b", "b"),
    (Annotated[str, "the city"], "Rome", "Rome"),
    (Annotated[Address, "where"], ADDRESS, Address.model_validate(ADDRESS)),
    (int, 3.0, 3),
    (list[int], [1.0, 2], [1, 2]),
    (float, 3, 3.0),
]


async def called(function: Callable[..., object], arguments: str) -> Any:
    """Call a tool as a model does, and return the output."""
    toolbox = Toolbox.of([function])
    [output] = await toolbox.run([ToolCall(id="1", call_id="1", name="look", arguments=arguments)], "tell")
    return output


@pytest.mark.parametrize("kind, given, expected", KINDS)
async def test_a_tool_gets_a_value_of_its_type(kind: Any, given: Any, expected: Any) -> None:
    """The schema has all that it refers to, and the value is what an answer of that type would be."""
    taken: list[object] = []

    async def look(it):  # type: ignore[no-untyped-def]
        taken.append(it)
        return it

    look.__annotations__ = {"it": kind}
    output = await called(look, json.dumps({"it": given}))
    assert not output.failed, output.output
    assert taken == [expected]
    assert schemas.decode_as(json.dumps(given), kind) == expected
    [declaration] = Toolbox.of([look]).declarations
    schema: Any = declaration["function"]["parameters"]  # type: ignore[index]
    check = schemas.validator(schema, "look")
    check({"it": given})
    with pytest.raises(ValueError, match="required"):
        check({})


@pytest.mark.parametrize("arguments", ["", " ", "null", '""', "{}", '{"limit": null}', '{"limit": 5.0}'])
async def test_null_arguments_are_no_arguments(arguments: str) -> None:
    """A tool whose parameters have defaults is called with them."""

    def look(limit: int = 5) -> int:
        return limit

    output = await called(look, arguments)
    assert (output.output, output.failed) == (5, False)


@pytest.mark.parametrize("arguments", ['{"limit": 2.5}', '{"limit": "5"}', "[]", "7", '{"limit": 5, "more": 1}', "{"])
async def test_arguments_that_do_not_fit_are_told(arguments: str) -> None:
    """They are errors for the model."""

    def look(limit: int = 5) -> int:
        return limit

    assert (await called(look, arguments)).failed


async def test_null_is_a_value_where_the_type_has_it() -> None:
    """It does not become the default."""

    def look(limit: int | None = 5) -> int | None:
        return limit

    assert (await called(look, '{"limit": null}')).output is None


def position(a: int, /) -> None:
    """Take an argument by position only."""


def many(*numbers: int) -> None:
    """Take any number of arguments."""


@pytest.mark.parametrize("tool, problem", [(position, "by name"), (many, "by name"), (lambda a: a, "lambda")])
def test_refusals_are_clear(tool: Any, problem: str) -> None:
    """Functions that cannot be tools are refused."""
    with pytest.raises(InvalidInputError, match=problem):
        Toolbox.of([tool])
