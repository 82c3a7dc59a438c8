"""JSON schemas of Python types, and values from JSON. The only file that imports the libraries for schemas."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Annotated, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from wiro_async._errors import ConfigurationError, InvalidInputError
from wiro_async._protocol.conversations.answer_format import rooted
from wiro_async._protocol.values.json import JSON, decode, to_json
from wiro_async._transport import threads

T = TypeVar("T")
SCALARS = (str, int, float, bool, type(None))
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


async def load_validation() -> None:
    """Import the library for `validator` off the loop. Raises `ConfigurationError` without it."""
    if sys.modules.get("jsonschema") is None:
        await threads.run(_jsonschema)


def schema_of(kind: object, name: str) -> dict[str, JSON]:
    """The JSON schema of a type. Raises `InvalidInputError` for one that has none."""
    if (own := getattr(kind, "model_json_schema", None)) is not None:  # pydantic's
        return rooted(own())
    try:
        return rooted(_hoisted(msgspec.json.schema(kind, schema_hook=_schema_within)))
    except (TypeError, NameError, RuntimeError) as error:
        why = str(error).splitlines()[-1]
        raise InvalidInputError(
            message=f"{name} has no JSON schema: {why}; give an attrs class, a dataclass, a TypedDict, "
            "a pydantic model, or a JSON schema"
        ) from error


def decode_as(text: str, kind: type[T]) -> T:
    """The value of JSON text. Raises ValueError for text that does not fit the type."""
    if (own := getattr(kind, "model_validate_json", None)) is not None:
        value: T = own(text)
        return value
    return _convert(decode(text), kind)


def to_plain(value: object, name: str) -> JSON:
    """A value of any such type as plain JSON. Raises TypeError, ValueError or `InvalidInputError`."""
    if not isinstance(value, SCALARS):
        value = msgspec.to_builtins(value, str_keys=True, enc_hook=_dump_pydantic)
    return to_json(value, name)


def validator(schema: Mapping[str, JSON], name: str) -> Callable[[JSON], None]:
    """A function that raises ValueError for a value that does not fit a schema.

    Raises:
        InvalidInputError: it is no schema.
    """
    library = _jsonschema()
    registry = import_module("referencing").Registry()  # an empty one, so that no reference is ever fetched
    kind = library.validators.validator_for(schema, library.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except library.SchemaError as error:
        raise InvalidInputError(message=f"{name} is no JSON schema: {error.message}") from error
    checker = kind(schema, registry=registry)

    def validate(value: JSON) -> None:
        problem = library.exceptions.best_match(checker.iter_errors(value))
        if problem is not None:
            raise ValueError(f"{problem.message} - at `{problem.json_path}`")

    return validate


def arguments_of(function: Callable[..., object], name: str) -> type[msgspec.Struct]:
    """A type for the arguments of a function. Raises `InvalidInputError` for one that cannot be a tool."""
    fields = list[tuple[str, object] | tuple[str, object, object]]()
    hints = _hints(function, name)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in BY_NAME:
            raise InvalidInputError(message=f"tool {name} takes {parameter}; tools take arguments by name")
        if parameter.name not in hints:
            raise InvalidInputError(message=f"tool {name}: {parameter.name} has no type; write {parameter.name}: …")
        hint, default = _described(hints[parameter.name]), parameter.default
        if default is parameter.empty:
            fields.append((parameter.name, hint))
        elif isinstance(default, Hashable):
            fields.append((parameter.name, hint, default))
        else:  # the library takes no mutable defaults; the function gets its own, as in any other call
            fields.append((parameter.name, hint, msgspec.field(default_factory=partial(_itself, default))))
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)


def arguments_in(text: str, kind: type[msgspec.Struct]) -> dict[str, object]:
    """The arguments of a model, by name. Raises ValueError for text that does not fit the type of `arguments_of`."""
    try:
        given = decode(text)
        if given is None or given == "":
            given = {}
        try:
            struct = _convert(given, kind)
        except ValueError:
            # Models also say null for what they leave out.
            if not isinstance(given, dict) or None not in given.values():
                raise
            struct = _convert({name: value for name, value in given.items() if value is not None}, kind)
    except ValueError as error:
        raise ValueError(f"the arguments do not fit: {error}") from error
    return {name: getattr(struct, name) for name in kind.__struct_fields__}


def without_partials(function: Callable[..., object]) -> Callable[..., object]:
    """The function within `functools.partial`s."""
    while isinstance(function, partial):
        function = function.func
    return function


def _convert(value: JSON, kind: type[T]) -> T:
    """A value as a type. A whole number may be written as 3.0 where an int is wanted: a refusal would be paid for."""
    try:
        return msgspec.convert(value, type=kind, str_keys=True, dec_hook=_value_within)
    except ValueError:
        whole = _with_ints(value)
        return msgspec.convert(whole, type=kind, str_keys=True, dec_hook=_value_within)


def _with_ints(value: JSON) -> JSON:
    match value:
        case float():
            return int(value) if value.is_integer() else value
        case list():
            return [_with_ints(item) for item in value]
        case dict():
            return {name: _with_ints(item) for name, item in value.items()}
        case _:
            return value


def _schema_within(kind: type) -> dict[str, JSON]:
    """The schema of a type that the library does not know: `object`, or a pydantic model within another type."""
    if kind is object:
        return {"type": ["object", "array", "string", "number", "boolean", "null"]}
    own = getattr(kind, "model_json_schema", None)
    if own is None:
        raise NotImplementedError
    schema: dict[str, JSON] = own()
    return schema


def _value_within(kind: type, value: object) -> object:
    if kind is object:
        return value
    read = getattr(kind, "model_validate", None)
    if read is None:
        raise NotImplementedError
    return read(value)


def _hoisted(schema: dict[str, JSON]) -> dict[str, JSON]:
    """Move the definitions of schemas within a schema to its root, where their references look for them."""
    definitions: dict[str, JSON] = {}

    def without(value: JSON) -> JSON:
        if isinstance(value, list):
            return [without(item) for item in value]
        if not isinstance(value, dict):
            return value
        found = value.get("$defs")
        for name, definition in found.items() if isinstance(found, dict) else ():
            moved = without(definition)
            if definitions.setdefault(name, moved) != moved:
                raise TypeError(f"two different types are called {name}")
        return {key: without(item) for key, item in value.items() if key != "$defs"}

    bare = without(schema)
    assert isinstance(bare, dict)
    return {**bare, "$defs": definitions} if definitions else bare


def _itself(value: T) -> T:
    return value


def _described(hint: object) -> object:
    """`Annotated[str, "the city"]`, with the text as a description for the model."""
    if get_origin(hint) is not Annotated:
        return hint
    kind, *notes = get_args(hint)
    meta = list[object]()
    for note in notes:
        text = note if isinstance(note, str) else getattr(note, "documentation", None)  # as of annotated_doc's Doc
        meta.append(msgspec.Meta(description=text) if isinstance(text, str) else note)
    return Annotated[(kind, *meta)]


def _hints(function: Callable[..., object], name: str) -> dict[str, object]:
    function = without_partials(function)
    target = inspect.unwrap(function if inspect.isroutine(function) else type(function).__call__)
    try:
        return get_type_hints(target, include_extras=True)
    except NameError as error:
        raise InvalidInputError(
            message=f"tool {name}: {error}; types of tools must be importable where the function is written"
        ) from error


def _dump_pydantic(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
    return dump(mode="json")


def _jsonschema() -> ModuleType:
    try:
        return import_module("jsonschema")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "answers of a JSON schema need jsonschema, which is not installed: pip install 'wiro-async[tools]'"
        ) from error
