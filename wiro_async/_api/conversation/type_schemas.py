"""JSON schemas from Python's types, and values from JSON. The one file that knows the libraries for it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, TypeVar, get_args, get_origin, get_type_hints

import anyio.to_thread

from wiro_async._errors import ConfigurationError, InvalidInputError
from wiro_async._protocol.conversations.answer_format import rooted
from wiro_async._protocol.values.json import JSON, decode, to_json

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

T = TypeVar("T")
SCALARS = (str, int, float, bool, type(None))
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


async def load(*, validation: bool = False) -> None:
    """Import the libraries off the loop, before they are first used. Raises `ConfigurationError` without them."""
    library = "jsonschema" if validation else "msgspec"
    if sys.modules.get(library) is None:
        await anyio.to_thread.run_sync(_library, library)


def schema_of(kind: object, name: str) -> dict[str, JSON]:
    """The JSON schema of a type. Raises `InvalidInputError` for one that has none."""
    if (own := getattr(kind, "model_json_schema", None)) is not None:  # pydantic's
        return rooted(own())
    try:
        return rooted(_msgspec().json.schema(kind))
    except (TypeError, NameError, RuntimeError) as error:
        why = str(error).splitlines()[-1]
        raise InvalidInputError(
            message=f"{name} has no JSON schema: {why}; give an attrs class, a dataclass, a TypedDict, "
            "a pydantic model, or a JSON schema"
        ) from error


def decoded_as(text: str, kind: type[T]) -> T:
    """The value of JSON text. Raises ValueError for text that does not fit the type."""
    if (own := getattr(kind, "model_validate_json", None)) is not None:
        value: T = own(text)
        return value
    converted: T = _msgspec().convert(decode(text), type=kind, str_keys=True)
    return converted


def plain(value: object, name: str) -> JSON:
    """A value of any such type as plain JSON. Raises TypeError, ValueError or `InvalidInputError`."""
    if isinstance(value, SCALARS) or value is None:
        return to_json(value, name)
    return to_json(_msgspec().to_builtins(value, str_keys=True, enc_hook=_of_pydantic), name)


def validator(schema: Mapping[str, JSON], name: str) -> Callable[[JSON], None]:
    """A function that raises ValueError for what does not fit a schema. `InvalidInputError` if it is no schema."""
    library = _jsonschema()
    registry = import_module("referencing").Registry()  # an empty one, so that no reference is ever fetched
    kind = library.validators.validator_for(schema, library.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except library.SchemaError as error:
        raise InvalidInputError(message=f"{name} is no JSON schema: {error.message}") from error
    return partial(_validate, kind(schema, registry=registry))


def arguments_of(function: Callable[..., object], name: str) -> type:
    """A type that holds a function's arguments. Raises `InvalidInputError` for one that cannot be a tool."""
    fields = []
    hints = _hints(function, name)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in BY_NAME:
            raise InvalidInputError(message=f"tool {name} takes {parameter}; tools take arguments by name")
        if parameter.name not in hints:
            raise InvalidInputError(message=f"tool {name}: {parameter.name} has no type; write {parameter.name}: …")
        fields.append((parameter.name, _described(hints[parameter.name]), *_default(parameter)))
    held: type = _msgspec().defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
    return held


def arguments_in(text: str, held: type) -> dict[str, object]:
    """A model's arguments, by name. Raises ValueError for text that does not fit what `arguments_of` made."""
    try:
        struct: object = decoded_as(text, held)
    except ValueError as error:
        raise ValueError(f"the arguments do not fit: {error}") from error
    arguments: dict[str, object] = _msgspec().structs.asdict(struct)
    return arguments


def _validate(validator: Validator, value: JSON) -> None:
    problem = _jsonschema().exceptions.best_match(validator.iter_errors(value))
    if problem is not None:
        raise ValueError(f"{problem.message} - at `{problem.json_path}`")


def _default(parameter: inspect.Parameter) -> tuple[object, ...]:
    if parameter.default is parameter.empty:
        return ()
    if isinstance(parameter.default, Hashable):
        return (parameter.default,)
    return (_msgspec().field(default_factory=partial(_itself, parameter.default)),)


def _itself(value: T) -> T:
    return value


def _described(hint: object) -> object:
    """`Annotated[str, "the city"]` with the text as what the model is told."""
    if get_origin(hint) is not Annotated:
        return hint
    kind, *notes = get_args(hint)
    told = [note if isinstance(note, str) else getattr(note, "documentation", None) for note in notes]
    meta = [
        _msgspec().Meta(description=text) if isinstance(text, str) else note
        for text, note in zip(told, notes, strict=True)
    ]
    return Annotated[(kind, *meta)]


def _hints(function: Callable[..., object], name: str) -> dict[str, object]:
    while isinstance(function, partial):
        function = function.func
    target = inspect.unwrap(function if inspect.isroutine(function) else type(function).__call__)
    try:
        return get_type_hints(target, include_extras=True)
    except NameError as error:
        raise InvalidInputError(
            message=f"tool {name}: {error}; types of tools must be importable where the function is written"
        ) from error


def _of_pydantic(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
    return dump(mode="json")


def _msgspec() -> ModuleType:
    return _library("msgspec")


def _jsonschema() -> ModuleType:
    return _library("jsonschema")


def _library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"tools and typed answers need {name}, which is not installed: pip install 'wiro-async[tools]'"
        ) from error
