"""Token counters of LLMs."""

from __future__ import annotations

from collections.abc import Mapping

from wiro_async._protocol.values.json import JSON
from wiro_async._protocol.values.parsing import as_decimal, as_dict


def add_usage(one: Mapping[str, JSON], other: Mapping[str, JSON]) -> dict[str, JSON]:
    """Add the counters of two runs name by name, nested ones too."""
    return {name: _add(one.get(name), other.get(name)) for name in (*one, *(name for name in other if name not in one))}


def _add(one: JSON, other: JSON) -> JSON:
    if isinstance(one, dict) or isinstance(other, dict):
        return add_usage(as_dict(one), as_dict(other))
    numbers = [number for number in map(_number, (one, other)) if number is not None]
    return sum(numbers) if numbers else other if one is None else one


def _number(value: JSON) -> int | float | None:
    """A counter, which may be text. Whole numbers stay exact."""
    if isinstance(value, bool) or (number := as_decimal(value)) is None:
        return None
    return int(number) if number == number.to_integral_value() else float(number)
