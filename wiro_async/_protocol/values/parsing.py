"""Parse the service's values: numbers come as text, and null, "" or "0" mean that a value is absent."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from urllib.parse import SplitResult, urlsplit

from wiro_async._protocol.values.json import JSON, decode_or_none

BLANKS = " \t\r\n\ufeff"  # what may stand before JSON text
ID = re.compile(r"[!#-;=?-\[\]-~]{1,256}")  # printable, without what belongs to JSON or to a page: "<>\\
NO_IDS = frozenset({"-1", "null", "none", "undefined", "nan", "true", "false", "inf", "-inf", "infinity", "-infinity"})
MAX_DIGITS = 1000  # of a number; sums and products of longer ones would overflow


def as_text(value: JSON) -> str:
    """Text of a scalar; "" for anything else."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            try:
                return str(value)
            except ValueError:  # more digits than Python writes
                return ""
    return ""


def as_text_or_none(value: JSON) -> str | None:
    """Text of a scalar; None for "" and anything else."""
    return as_text(value) or None


def as_id(value: JSON) -> str:
    """An id or a token; "" for anything else. One with a broken character is none: it would name another task."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = as_text(value).strip(BLANKS + "\0")
    return text if ID.fullmatch(text) and text.lower() not in NO_IDS else ""


def as_new_id(value: JSON) -> str:
    """The id of a task that a run has made. The service writes 0 where there is nothing."""
    text = as_id(value)
    return "" if text == "0" else text


def as_float(value: JSON) -> float | None:
    """A finite number, also with a percent sign."""
    try:
        number = float(as_text(value).strip().rstrip("%"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def as_int(value: JSON) -> int | None:
    """A whole number, also written as "6.0"; None for 0.5, which must not become 0."""
    number = as_float(value)
    return int(number) if number is not None and number.is_integer() else None


def as_decimal(value: JSON) -> Decimal | None:
    """A finite number, exactly as written; None for one of more than a thousand digits."""
    try:
        number = Decimal(as_text(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) <= MAX_DIGITS else None


def as_amount(value: JSON) -> Decimal | None:
    """A number that cannot be negative, such as a price."""
    number = as_decimal(value)
    return number if number is not None and number >= 0 else None


def parse_url(value: object, schemes: tuple[str, str] = ("http", "https")) -> SplitResult | None:
    """Split a URL that can be requested; None for anything else."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return parts if parts and parts.scheme in schemes and parts.hostname else None


def as_seconds(value: JSON) -> float | None:
    """Seconds of "5s", "01:23", "1:02:03" or a plain number."""
    text = as_text(value).strip().removesuffix("s")
    total = 0.0
    for part in text.split(":"):
        number = as_float(part)
        if number is None:
            return None
        total = total * 60 + number
    return total if math.isfinite(total) else None


def as_time(value: JSON) -> float | None:
    """A unix time; None for "" and "0", which mean not yet."""
    return as_float(value) or None


def as_dict(value: JSON) -> dict[str, JSON]:
    """An object, or JSON text of one; otherwise empty."""
    if isinstance(value, str) and (text := value.lstrip(BLANKS))[:1] == "{":
        value = decode_or_none(text)
    return value if isinstance(value, dict) else {}


def as_list(value: JSON) -> list[JSON]:
    """A list, or JSON text of one; otherwise empty."""
    if isinstance(value, str) and (text := value.lstrip(BLANKS))[:1] == "[":
        value = decode_or_none(text)
    return value if isinstance(value, list) else []


def as_rows(value: JSON) -> list[JSON]:
    """The rows of a list (or JSON text of one); a single object is one row."""
    row = as_dict(value)
    return [row] if row else as_list(value)


def as_texts(value: JSON) -> tuple[str, ...]:
    """The texts of a list (or JSON text of one); a bare string is one text."""
    if isinstance(value, str):
        inner = as_list(value)
        return tuple(map(as_text, inner)) if inner else (value,) if value.strip(BLANKS) not in ("", "[]") else ()
    return tuple(map(as_text, as_list(value)))
