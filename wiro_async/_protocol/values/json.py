"""JSON in and out, as lenient in reading as the world demands."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TypeAlias

import orjson

from wiro_async._errors import InvalidInputError
from wiro_async._protocol.values.scalars import to_builtin
from wiro_async._types import File

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
MOST_BITS = 14_280  # of an integer that has 4300 digits, the most that Python writes


def encode(value: object) -> bytes:
    """JSON bytes of a value that `to_json` has passed."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # integers over 64 bits, lone surrogates
        return json.dumps(value).encode()


def decode(data: bytes | str) -> JSON:
    """The value of JSON text. Raises ValueError for anything else."""
    if isinstance(data, str) and not data.isascii():
        return _decoded_leniently(data)  # orjson would make bytes of it first
    try:
        value: JSON = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _decoded_leniently(data)
    return value


def _decoded_leniently(data: bytes | str) -> JSON:
    """Also what holds lone surrogates and NaN, which do occur."""
    try:
        value: JSON = json.loads(data)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    except json.JSONDecodeError:
        raise
    except ValueError:  # a whole number of more digits than Python reads
        value = json.loads(data, parse_int=_whole)
    return value


def _whole(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return digits


def decode_or_none(data: bytes | str) -> JSON:
    """The value of JSON text, or None."""
    try:
        return decode(data)
    except ValueError:
        return None


def decode_text_or_none(data: bytes) -> JSON:
    """The same for an LLM's text, which is long and rarely plain ASCII: there msgspec is the faster by a third."""
    try:
        value = _text_decoder()(data)
    except (ValueError, RecursionError):
        value = decode_or_none(data)
    return value


@cache
def _text_decoder() -> Callable[[bytes], JSON]:
    import msgspec.json  # opening the first socket imports it, off the loop

    return msgspec.json.Decoder().decode


def to_json(value: object, name: str) -> JSON:
    """The value with plain JSON types only; `InvalidInputError` names the part that cannot be sent."""
    match value:
        case None | bool():
            return value
        case int():
            if value.bit_length() > MOST_BITS:
                raise InvalidInputError(message=f"{name} is a number of over 4300 digits, which cannot be sent")
            return value
        case str():
            return check_encodable(value, name)
        case float():
            if not math.isfinite(value):
                raise InvalidInputError(message=f"{name} is {value}, which JSON cannot hold; give a finite number")
            return value
        case Mapping():
            return {_checked_key(key, name): to_json(item, f"{name}[{key!r}]") for key, item in value.items()}
        case Sequence() if not isinstance(value, (bytes, bytearray, memoryview)):
            return [to_json(item, f"{name}[{index}]") for index, item in enumerate(value)]
    number = to_builtin(value)
    if number is not value:
        return to_json(number, name)
    raise InvalidInputError(message=f"{name} is a {_described(value)}")


def check_encodable(text: str, name: str) -> str:
    """The text. Raises `InvalidInputError` if UTF-8 cannot hold it, for then nobody knows what would arrive."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInputError(
                message=f"{name} has half of a surrogate pair at character {error.start}, which cannot be sent: was it "
                "cut in two there? text.encode(errors='replace').decode() has a question mark instead"
            ) from None
    return text


def _checked_key(key: object, name: str) -> str:
    if isinstance(key, str):
        return check_encodable(key, f"the key {key!r} of {name}")
    raise InvalidInputError(message=f"{name} has the key {key!r}, a {type(key).__name__}; JSON keys are strings")


def _described(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{kind} object; wrap it to upload it: File(data, name='photo.png')"
    if isinstance(value, (File, os.PathLike)) or hasattr(value, "read"):
        return f"{kind} inside another value; a file must be a parameter of its own, or an item of a list that is one"
    return f"{kind}, which JSON cannot hold; give text, a number, a boolean, None, a list or a mapping"
