"""JSON in and out.

msgspec is fast and strict. The service, proxies and models are not strict: NaN, half of a surrogate pair, a byte order
mark, broken UTF-8 and integers of thousands of digits all occur. So the standard library has a second try at whatever
msgspec refuses, and one broken byte costs one character, not the message.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Final

from wiro_async._errors import InvalidInputError
from wiro_async._records.json_value import JSON as JSON
from wiro_async._types import File

MAX_INT_BITS: Final = 14_280  # of an integer with 4,300 digits: Python writes no longer ones
MAX_DECIMAL_DIGITS: Final = 400  # of a whole Decimal that becomes an int; floats end before


@cache
def _encoder(order: str | None) -> Callable[[object], bytes]:
    # Imported at first use: it costs as much as a third of `import wiro_async`.
    import msgspec.json

    return msgspec.json.Encoder(order="deterministic" if order else None).encode


@cache
def _decoder() -> Callable[[bytes | str], JSON]:
    import msgspec.json

    return msgspec.json.Decoder().decode


def encode(value: object, *, sort_keys: bool = False) -> bytes:
    """Encode a value that `to_json` returned."""
    try:
        return _encoder("sorted" if sort_keys else None)(value)
    except UnicodeEncodeError:  # half of a surrogate pair, in text that came from the service
        return json.dumps(value, separators=(",", ":"), sort_keys=sort_keys).encode()


def decode(data: bytes | str) -> JSON:
    """Decode JSON. Raises ValueError for anything else."""
    # msgspec would encode text first: with characters beyond ASCII it takes twice as long as the standard library.
    if isinstance(data, bytes) or data.isascii():
        try:
            return _decoder()(data)
        except (ValueError, RecursionError):
            pass
    try:
        value: JSON = json.loads(data, parse_int=_parse_int)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    except UnicodeDecodeError:
        if isinstance(data, str):
            raise
        return decode(data.decode("utf-8-sig", errors="replace"))
    return value


def end_of_value(text: str, begin: int) -> int | None:
    """The place where the JSON value that begins at a place ends; None if none begins there, or it does not end."""
    try:
        return json.JSONDecoder(parse_int=_parse_int, parse_constant=_no_constant).raw_decode(text, begin)[1]
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _parse_int(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:  # more digits than Python reads
        return digits


def decode_or_none(data: bytes | str) -> JSON:
    try:
        return decode(data)
    except ValueError:
        return None


def to_json(value: object, name: str) -> JSON:
    """Convert a user's value to plain JSON types.

    Args:
        name: of the value, for the error.

    Raises:
        InvalidInputError: a part of it cannot be sent; the error names the part and the remedy.
    """
    match value:
        case None | bool():
            return value
        case int():
            if value.bit_length() > MAX_INT_BITS:
                raise InvalidInputError(message=f"{name} is a number of over 4300 digits, which cannot be sent")
            return int(value)
        case str():
            return str.__str__(check_encodable(value, name))
        case float() | Decimal():
            number = to_number(value)
            if not math.isfinite(number):
                raise InvalidInputError(message=f"{name} is {number}, which JSON cannot hold; give a finite number")
            return number
        case Mapping():
            return {_to_key(key, name): to_json(item, f"{name}[{key!r}]") for key, item in value.items()}
        case Sequence() if not isinstance(value, (bytes, bytearray, memoryview)):
            return [to_json(item, f"{name}[{index}]") for index, item in enumerate(value)]
    raise InvalidInputError(message=f"{name} is a {_describe_unsendable(value)}")


def to_number(value: float | Decimal) -> int | float:
    """Convert a float to a builtin one, a `Decimal` to an int if it is whole, else to a float."""
    if not isinstance(value, Decimal):
        return float(value)
    if not value.is_finite():
        return math.nan if value.is_nan() else float(value)
    is_whole = value.adjusted() < MAX_DECIMAL_DIGITS and value == value.to_integral_value()
    return int(value) if is_whole else float(value)


def check_encodable(text: str, name: str) -> str:
    """Return the text. Raises `InvalidInputError` if UTF-8 cannot hold it: nobody could say what would arrive."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInputError(
                message=f"{name} has half of a surrogate pair at character {error.start}, which cannot be sent: was it "
                "cut in two there? text.encode(errors='replace').decode() has a question mark instead"
            ) from None
    return text


def _to_key(key: object, name: str) -> str:
    if isinstance(key, str):
        return str.__str__(check_encodable(key, f"the key {key!r} of {name}"))
    raise InvalidInputError(message=f"{name} has the key {key!r}, a {type(key).__name__}; JSON keys are strings")


def _describe_unsendable(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{kind} object; wrap it to upload it: File(data, name='photo.png')"
    if isinstance(value, (File, os.PathLike)) or hasattr(value, "read"):
        return f"{kind} inside another value; a file must be a parameter of its own, or an item of a list that is one"
    if hasattr(value, "item") and hasattr(value, "shape"):  # numpy and the like
        return (
            f"{kind}, which JSON cannot hold; convert it first: value.item() for a scalar, value.tolist() for an array"
        )
    if hasattr(value, "__float__") or hasattr(value, "__index__"):
        return f"{kind}, which JSON cannot hold; convert it first, with int(value) or float(value)"
    return f"{kind}, which JSON cannot hold; give text, a number, a boolean, None, a list or a mapping"
