"""Reading the service's values: numbers come as text, absent things as null, "" or "0"."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from wiro_async._protocol.json import JSON, decode_or_none


def as_text(value: JSON) -> str:
    """Text of a scalar; "" for anything else."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    return ""


def as_text_or_none(value: JSON) -> str | None:
    return as_text(value) or None


def as_float(value: JSON) -> float | None:
    try:
        number = float(as_text(value).strip().rstrip("%"))
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def as_int(value: JSON) -> int | None:
    number = as_float(value)
    return None if number is None else int(number)


def as_decimal(value: JSON) -> Decimal | None:
    try:
        number = Decimal(as_text(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def as_seconds(value: JSON) -> float | None:
    """Seconds of "5s", "01:23", "1:02:03" or a plain number."""
    text = as_text(value).strip().removesuffix("s")
    total = 0.0
    for part in text.split(":"):
        number = as_float(part)
        if number is None:
            return None
        total = total * 60 + number
    return total


def as_time(value: JSON) -> float | None:
    """A unix time; "" and "0" mean not yet."""
    return as_float(value) or None


def as_dict(value: JSON) -> dict[str, JSON]:
    """An object, or JSON text of one; otherwise empty."""
    if isinstance(value, str) and value[:1] == "{":
        value = decode_or_none(value)
    return value if isinstance(value, dict) else {}


def as_list(value: JSON) -> list[JSON]:
    """A list, or JSON text of one; otherwise empty."""
    if isinstance(value, str) and value[:1] == "[":
        value = decode_or_none(value)
    return value if isinstance(value, list) else []


def as_texts(value: JSON) -> tuple[str, ...]:
    """The texts of a list, of one bare string, or of nothing."""
    if isinstance(value, str) and value[:1] != "[":
        return (value,) if value else ()
    return tuple(as_text(item) for item in as_list(value))
