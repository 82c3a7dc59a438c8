"""Numbers of other libraries."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from wiro_async._protocol.values.scalars import to_builtin


class Scalar:
    """Of an array library."""

    shape = ()

    def __init__(self, value: object) -> None:
        self.item = lambda: value


class Whole:
    """A whole number of another kind."""

    def __index__(self) -> int:
        return 7


class Array:
    """Has the method of whole numbers, but no answer."""

    shape = (2,)

    def __index__(self) -> int:
        raise TypeError("only arrays of one item are indices")


@pytest.mark.parametrize(
    "given,own",
    [
        (Decimal("0.1"), 0.1),
        (Decimal("5.0"), 5),
        (Decimal(2**70), 2**70),
        (Decimal("1e999999"), math.inf),
        (Decimal("-Infinity"), -math.inf),
        (Fraction(1, 2), 0.5),
        (Fraction(4, 2), 2),
        (Fraction(10**400, 3), math.inf),
        (Whole(), 7),
        (Scalar(0.5), 0.5),
        (Scalar(True), True),
    ],
)
def test_they_become_pythons_own(given: object, own: object) -> None:
    """Whole numbers as ints, others as floats, booleans as such."""
    told = to_builtin(given)
    assert (told, type(told)) == (own, type(own))


@pytest.mark.parametrize("text", ["NaN", "sNaN"])
def test_what_is_no_number(text: str) -> None:
    """Stays what it is, for JSON to refuse it."""
    told: Any = to_builtin(Decimal(text))
    assert math.isnan(told)


@pytest.mark.parametrize("value", ["5", 5, 0.5, True, None, [1], {}, b"5", 1j, object(), Array()])
def test_all_else_stays(value: object) -> None:
    """The very same."""
    assert to_builtin(value) is value
