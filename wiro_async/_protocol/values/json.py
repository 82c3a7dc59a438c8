"""JSON in and out.

msgspec is fast and strict. The service, proxies and models are not strict: NaN, half of a surrogate pair, a byte order
mark, broken UTF-8, control characters and integers of thousands of digits all occur. So the standard library has a
second try at whatever msgspec refuses. If that fails too, stray characters are repaired and it has a third try. One
broken byte costs one character, or one number, not the message. A value that is nested too deeply for Python costs what
is below the limit.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, KeysView, Mapping, Sequence, Set, ValuesView
from decimal import Decimal
from functools import cache
from types import NoneType
from typing import Final

from wiro_async._errors import InvalidInputError
from wiro_async._records.json_value import JSON as JSON
from wiro_async._types import File

MAX_SHOWN_BITS: Final = 64
# What an object has, and how its owner makes a JSON value of it.
REMEDIES: Final = {
    "model_dump": "value.model_dump(mode='json')",  # pydantic
    "__attrs_attrs__": "attrs.asdict(value)",
    "__dataclass_fields__": "dataclasses.asdict(value)",
    "to_dict": "value.to_dict()",  # pandas
    "_value_": "value.value",  # an Enum
    "isoformat": "value.isoformat()",
    "total_seconds": "value.total_seconds()",
    "hex": "str(value)",  # a UUID
    "__await__": "await value",
}
MAX_INT_BITS: Final = 14_280  # of an integer with 4,300 digits: Python writes no longer ones
LARGE: Final = 1024 * 1024  # bytes; what is smaller cannot hold many values
MAX_VALUES: Final = 2_000_000  # each takes some 60 bytes or more, whereas "[]," takes three
MAX_REPAIRED: Final = 4 * 1024 * 1024  # characters; a repair takes several times as much memory
MAX_DEPTH: Final = 200  # of values that Python cannot nest: they are cut off there
MAX_DECIMAL_DIGITS: Final = 400  # of a whole Decimal that becomes an int; floats end before
_PADDING: Final = " \t\r\n\0\ufeff"  # may stand around JSON
_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*\\?"?|[^"\s,:{}\[\]]+|[^\S \t\r\n]+', re.DOTALL)
_STRING_OR_BRACKET: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]', re.DOTALL)
_OBJECT: Final = re.compile(r'\{\s*"')
_BACKSLASH: Final = re.compile(r'\\(["\\/bfnrt]|u[0-9A-Fa-f]{4})|\\')
_STRAY: Final = re.compile(r"[^\x21-\x7e]+")


@cache
def _encoder(order: str | None) -> Callable[[object], bytes]:
    # Imported at first use: it costs as much as a third of `import wiro_async`.
    import msgspec.json

    return msgspec.json.Encoder(order="deterministic" if order else None).encode


@cache
def _decoder() -> Callable[[bytes | str], JSON]:
    import msgspec.json

    return msgspec.json.Decoder().decode


@cache
def _lenient_decoder() -> json.JSONDecoder:
    return json.JSONDecoder(strict=False, parse_int=_parse_int)


def encode(value: object, *, sort_keys: bool = False) -> bytes:
    """Encode a value that `to_json` returned."""
    try:
        return _encoder("sorted" if sort_keys else None)(value)
    except UnicodeEncodeError:  # half of a surrogate pair, in text that came from the service
        return json.dumps(value, separators=(",", ":"), sort_keys=sort_keys).encode()


def decode(data: bytes | str) -> JSON:
    """Decode JSON. Raises ValueError for anything else, and for what would fill the memory."""
    if _is_too_much(data):
        raise ValueError(f"JSON has more than {MAX_VALUES} values")
    # msgspec would encode text first: with characters beyond ASCII it takes twice as long as the standard library.
    if isinstance(data, bytes) or data.isascii():
        try:
            return _decoder()(data)
        except (ValueError, RecursionError):
            pass
    text = _text(data)
    try:
        return _decode_leniently(text)
    except ValueError:
        repaired = _repair(text)
        if repaired == text:
            raise
        return _decode_leniently(repaired)


def _decode_leniently(text: str) -> JSON:
    try:
        value: JSON = _lenient_decoder().decode(text)
    except RecursionError:
        try:
            value = _lenient_decoder().decode(_cut_depth(text))
        except RecursionError as error:
            raise ValueError("JSON is nested too deeply") from error
    return value


def end_of_value(text: str, begin: int) -> int | None:
    """The place where the JSON value that begins at a place ends; None if none begins there, or it does not end."""
    try:
        return json.JSONDecoder(parse_int=_parse_int, parse_constant=_no_constant).raw_decode(text, begin)[1]
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _is_too_much(data: bytes | str) -> bool:
    """Whether it may hold more values than fit into the memory; commas within text count, too."""
    if len(data) <= LARGE:
        return False
    if isinstance(data, bytes):
        return data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES
    return data.count(",") + data.count("[") + data.count("{") > MAX_VALUES


def decode_object(data: bytes | str, key: str) -> dict[str, JSON] | None:
    """Decode an object that has a key, also between the warnings of a web server; None if there is none.

    Args:
        key: of the object. Without it, an object of a web page would be taken for a message of the service.
    """
    value = decode_or_none(data)
    if value is None:
        if _is_too_much(data):
            return None
        text = _repair(_text(data))
        begin = _OBJECT.search(text)
        try:
            value, _ = _lenient_decoder().raw_decode(text, begin.start() if begin else 0)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) and key in value else None
    return value if isinstance(value, dict) else None


def _text(data: bytes | str) -> str:
    if isinstance(data, str):
        return data.strip(_PADDING)
    try:
        return data.decode(json.detect_encoding(data), errors="surrogatepass").strip(_PADDING)
    except UnicodeDecodeError:
        return data.decode("utf-8", errors="replace").strip(_PADDING)


def _repair(text: str) -> str:
    """Make JSON of text with stray characters: in a string they stay, elsewhere they and the word they are in go."""
    if len(text) > MAX_REPAIRED:
        return text
    return _TOKEN.sub(_repair_token, text)


def _cut_depth(text: str) -> str:
    """Put null in place of every object and list that is nested too deeply."""
    if len(text) > MAX_REPAIRED:
        return text
    depth, begin, kept = 0, 0, list[str]()
    for found in _STRING_OR_BRACKET.finditer(text):
        if found[0] in ("{", "["):
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += text[begin : found.start()], "null"
        elif found[0] in ("}", "]"):
            if depth == MAX_DEPTH + 1:
                begin = found.end()
            depth -= 1
    return "".join([*kept, text[begin:]]) if depth <= MAX_DEPTH else text


def _repair_token(found: re.Match[str]) -> str:
    token = found[0]
    if token.startswith('"'):
        return _BACKSLASH.sub(lambda escape: escape[0] if escape[1] else "\\\\", token)
    stripped = _STRAY.sub("", token)
    return token if stripped == token else "null" if stripped else ""


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
    kind = type(key).__name__
    shown = f"{key!r}, a {kind}" if isinstance(key, (bool, float, NoneType)) or _is_short(key) else f"that is a {kind}"
    raise InvalidInputError(message=f"{name} has the key {shown}; JSON keys are strings: give str(key)")


def _is_short(key: object) -> bool:
    return isinstance(key, int) and key.bit_length() <= MAX_SHOWN_BITS


def _describe_unsendable(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, type):
        return f"{kind}, a class and no value; give an object of it"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{kind} object; wrap it to upload it: File(data, name='photo.png')"
    if hasattr(value, "save") and hasattr(value, "tobytes"):  # Pillow
        return (
            f"{kind}, which is no file yet; to upload it: image.save(buffer := io.BytesIO(), 'PNG'), then "
            "File(buffer.getvalue(), 'image.png')"
        )
    if isinstance(value, (File, os.PathLike)) or hasattr(value, "read"):
        return f"{kind} inside another value; a file must be a parameter of its own, or an item of a list that is one"
    if hasattr(value, "item") and hasattr(value, "shape"):  # numpy and the like
        return (
            f"{kind}, which JSON cannot hold; convert it first: value.item() for a scalar, value.tolist() for an "
            "array; or encode it as a picture or a sound, and give File(data, name='image.png')"
        )
    remedy = next((remedy for mark, remedy in REMEDIES.items() if hasattr(value, mark)), None)
    if remedy is not None:
        return f"{kind}, which JSON cannot hold; convert it first: {remedy}"
    if isinstance(value, (Set, Iterator, KeysView, ValuesView, range)):
        return f"{kind}, which JSON cannot hold; convert it first: list(value)"
    if hasattr(value, "__float__") or hasattr(value, "__index__"):
        return f"{kind}, which JSON cannot hold; convert it first, with int(value) or float(value)"
    return f"{kind}, which JSON cannot hold; give text, a number, a boolean, None, a list or a mapping"
