"""Structured answers: `response_model`, `parsed`, `parse`."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypedDict

import attrs
import pydantic
import pytest

from wiro_async import AsyncWiro, InvalidInputError, ResponseFormatError
from wiro_async.testing import WiroEmulator

MODEL = "emulator/assistant"
ASK = {"prompt": "How is it in Rome?", "seconds": 0.1}


@attrs.frozen
class Weather:
    """How it is somewhere."""

    city: str
    degrees: int = attrs.field(validator=attrs.validators.lt(60))
    rain: bool = False


@dataclass
class Data:
    city: str
    price: Decimal


class Typed(TypedDict):
    city: str


class Pydantic(pydantic.BaseModel):
    city: str
    inner: Weatherless | None = None


class Weatherless(pydantic.BaseModel):
    note: str = "none"


CITY: dict[str, Any] = {
    "title": "Town",
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 3}},
    "required": ["city"],
}


def sent(emulator: WiroEmulator) -> Any:
    """The form that the last run has requested."""
    return emulator.ledger.submissions[-1].parameters["response_format"]


async def test_an_attrs_class(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Exactly its fields are requested, and the answer is an instance."""
    result = await wiro.run(MODEL, ASK, response_model=Weather)
    assert result.parsed == Weather("Rome", 3, True)
    assert result.parse(Weather) == result.parsed
    assert result.succeeded
    assert sent(emulator) == {
        "type": "json_schema",
        "json_schema": {
            "name": "Weather",
            "strict": True,
            "schema": {
                "title": "Weather",
                "description": "How it is somewhere.",
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "degrees": {"type": "integer"},
                    "rain": {"type": "boolean"},
                },
                "required": ["city", "degrees", "rain"],
                "additionalProperties": False,
            },
        },
    }


@pytest.mark.parametrize(
    "kind,parsed",
    [
        (Data, Data("Rome", Decimal("4.20"))),
        (Typed, {"city": "Rome"}),
        (Pydantic, Pydantic(city="Rome", inner=Weatherless(note="Rome"))),
        (list[str], ["Rome"]),
    ],
)
async def test_other_classes(wiro: AsyncWiro, kind: type[Any], parsed: object) -> None:
    """Dataclasses, typed dictionaries, pydantic models and generic types work, too."""
    result = await wiro.run(MODEL, ASK, response_model=kind)
    assert result.parsed == parsed
    assert result.parse(kind) == parsed


@pytest.mark.parametrize("whole", [False, True])
async def test_a_json_schema(emulator: WiroEmulator, wiro: AsyncWiro, whole: bool) -> None:
    """A schema or a whole response_format can be given. The answer is plain JSON."""
    form = {"type": "json_schema", "json_schema": {"name": "Town", "schema": CITY, "strict": True}}
    result = await wiro.run(MODEL, ASK, response_model=form if whole else CITY)
    assert result.parsed == {"city": "Rom"}
    assert sent(emulator) == form


async def test_code_fences(wiro: AsyncWiro) -> None:
    """JSON between code fences is read."""
    result = await wiro.run(MODEL, {**ASK, "fenced": True}, response_model=Weather)
    assert "```json" in result.text
    assert result.parsed.city == "Rome"


@pytest.mark.parametrize("response_model", [Weather, CITY])
async def test_an_answer_that_is_not_json(wiro: AsyncWiro, response_model: Any) -> None:
    """The error has the text and the run, which is billed. It pickles."""
    with pytest.raises(ResponseFormatError) as caught:
        await wiro.run(MODEL, {**ASK, "malformed": True}, response_model=response_model)
    error = caught.value
    assert error.text.startswith("{\n")
    assert error.task is not None
    assert error.task.cost
    assert error.task_id == error.task.id
    assert error.token == error.task.token
    there: ResponseFormatError = pickle.loads(pickle.dumps(error))
    assert (there.text, there.task) == (error.text, error.task)


async def test_an_answer_that_was_cut(wiro: AsyncWiro) -> None:
    """The error names the finish reason."""
    with pytest.raises(ResponseFormatError, match="the model stopped by 'length'"):
        await wiro.run(MODEL, {**ASK, "finish": "length"}, response_model=Weather)


async def test_an_answer_that_does_not_fit(wiro: AsyncWiro) -> None:
    """The error says what is wrong, and where."""
    result = await wiro.run(MODEL, ASK, response_model=CITY)
    with pytest.raises(ResponseFormatError, match=r"missing required field `degrees`") as caught:
        result.parse(Weather)
    assert caught.value.tasks == (result.info,)
    strict = {**CITY, "properties": {"city": {"type": "string", "default": 7}}}
    with pytest.raises(ResponseFormatError, match=r"7 is not of type 'string' - at `\$.city`"):
        await wiro.run(MODEL, ASK, response_model=strict)
    picky = {**CITY, "properties": {**CITY["properties"], "degrees": {"const": 99}}, "required": ["city", "degrees"]}
    with pytest.raises(ResponseFormatError, match="must be < 60"):
        (await wiro.run(MODEL, ASK, response_model=picky | {"x": 1})).parse(Weather)


@pytest.mark.parametrize(
    "response_model,given,words",
    [
        (Weather, {"response_format": {"type": "text"}}, "give one of them"),
        ({"type": "odd"}, {}, "response_model is no JSON schema: 'odd' is not valid"),
        ({"type": object}, {}, r"response_model\['type'\] is a type"),
        (AsyncWiro, {}, "response_model AsyncWiro has no JSON schema"),
        (7, {}, "response_model 7 has no JSON schema"),
    ],
)
async def test_forms_that_are_refused(
    emulator: WiroEmulator, wiro: AsyncWiro, response_model: Any, given: dict[str, Any], words: str
) -> None:
    """Nothing is sent."""
    with pytest.raises(InvalidInputError, match=words):
        await wiro.run(MODEL, {**ASK, **given}, response_model=response_model)
    assert not emulator.ledger.submissions


async def test_references_are_never_fetched(wiro: AsyncWiro) -> None:
    """A schema with a remote reference causes no request: the answer cannot be checked."""
    elsewhere = {"type": "object", "properties": {"city": {"$ref": "http://127.0.0.1:9/schema"}}, "required": ["city"]}
    with pytest.raises(ResponseFormatError, match="Unresolvable"):
        await wiro.run(MODEL, ASK, response_model=elsewhere)


async def test_a_model_that_takes_no_form(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Validation says so before anything is sent."""
    with pytest.raises(InvalidInputError, match="family/document-reader takes no response_format"):
        await wiro.run("family/document-reader", ASK, response_model=Weather, validate=True)
    await wiro.models.get(MODEL)
    assert (await wiro.run(MODEL, ASK, response_model=Weather)).parsed.city == "Rome"
    assert len(emulator.ledger.submissions) == 1


async def test_tools_come_first(wiro: AsyncWiro) -> None:
    """A model that calls tools has not answered yet. The result is there nevertheless."""
    tools = [{"type": "function", "function": {"name": "look"}}]
    result = await wiro.run(MODEL, {**ASK, "tools": tools}, response_model=Weather)
    assert result.tool_calls[0].name == "look"
    with pytest.raises(ResponseFormatError, match="asks for tools first"):
        _ = result.parsed
