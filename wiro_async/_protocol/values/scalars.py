"""Numbers of other libraries, as Python's own: what JSON, price tables and schemas understand."""

from __future__ import annotations

import math
from decimal import Decimal
from numbers import Rational, Real
from operator import index
from typing import SupportsIndex

OWN = frozenset({str, int, float, bool, type(None), list, dict, tuple})
MOST_DIGITS = 400  # of a whole number that is no int; floats end before


def to_builtin(value: object) -> object:
    """A `Decimal`, a fraction or an array library's number or boolean as an int, a float or a bool; else the value."""
    if type(value) in OWN:
        return value
    shape: object = getattr(value, "shape", None)
    item = getattr(value, "item", None)
    if isinstance(shape, tuple) and not shape and callable(item):
        own: object = item()
        return own
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, SupportsIndex):
        return _of_index(value)
    if isinstance(value, Decimal):
        return _of_decimal(value)
    return _of_real(value) if isinstance(value, Real) else value


def _of_index(value: SupportsIndex) -> object:
    try:
        return index(value)
    except TypeError:  # arrays have the method, but only those of one item know an answer
        return value


def _of_decimal(number: Decimal) -> int | float:
    if not number.is_finite():
        return math.nan if number.is_nan() else float(number)
    is_whole = number.adjusted() < MOST_DIGITS and number == number.to_integral_value()
    return int(number) if is_whole else float(number)


def _of_real(number: Real) -> int | float:
    if isinstance(number, Rational) and number.denominator == 1:
        return int(number.numerator)
    try:
        return float(number)
    except OverflowError:
        return math.inf
