"""JSON as the emulator reads and writes it."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec.json

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""Any JSON value."""


def encode(value: object) -> bytes:
    return msgspec.json.encode(value)


def encode_text(value: object) -> str:
    """Return compact JSON as text, for values that the service nests as text."""
    return msgspec.json.encode(value).decode()


def decode(data: bytes | str) -> Json:
    """Parse JSON. Raises ValueError for anything else."""
    try:
        value: Json = msgspec.json.decode(data)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    return value
