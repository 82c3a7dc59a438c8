"""Sums of what LLMs count."""

from __future__ import annotations

from collections.abc import Mapping

from wiro_async._protocol.values.json import JSON
from wiro_async._protocol.values.parsing import as_decimal, as_dict


def summed(one: Mapping[str, JSON], other: Mapping[str, JSON]) -> dict[str, JSON]:
    """The counters of two runs, added name by name, those of details too."""
    return {
        name: _added(one.get(name), other.get(name)) for name in (*one, *(name for name in other if name not in one))
    }


def _added(one: JSON, other: JSON) -> JSON:
    if isinstance(one, dict) or isinstance(other, dict):
        return summed(as_dict(one), as_dict(other))
    numbers = [number for number in map(_number, (one, other)) if number is not None]
    return sum(numbers) if numbers else other if one is None else one


def _number(value: JSON) -> int | float | None:
    """A counter, which may come as text; whole ones exactly."""
    if isinstance(value, bool) or (number := as_decimal(value)) is None:
        return None
    return int(number) if number == number.to_integral_value() else float(number)
