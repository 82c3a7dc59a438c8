"""Encoding and decoding JSON."""

import json
import math
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._errors import InvalidInputError
from wiro_async._protocol.values.json import MAX_REPAIRED, decode, decode_object, decode_or_none, encode, to_json
from wiro_async._types import File

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


class Scalar:
    """A number of an array library."""

    shape = ()

    def item(self) -> float:
        return 0.5

    def __float__(self) -> float:
        return 0.5


class Text(str):
    """Text of a custom class."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another text"


class Seconds(float):
    """A number of a custom class."""


ANY_TEXT = st.text(st.characters(exclude_categories=()))  # halves of surrogate pairs too


@given(VALUES)
def test_encoding_and_decoding(value: Any) -> None:
    """Both return the value. Integers of over 64 bits return as floats."""
    decoded = decode(encode(value))
    assert decoded == json.loads(json.dumps(value)) or any(abs(number) >= 2**63 for number in _numbers(value))


@given(ANY_TEXT)
def test_any_text_survives(text: str) -> None:
    """Even halves of surrogate pairs, which the fast library refuses."""
    assert decode(encode({text: text})) == {text: text}


@given(st.integers(min_value=2**64))
def test_huge_numbers_are_sent_whole(number: int) -> None:
    """The fast library accepts 64 bits only."""
    assert json.loads(encode([number])) == [number]


@given(st.binary() | st.text())
def test_decoding_raises_nothing_but_value_errors(data: bytes | str) -> None:
    """Any text gives a value or a ValueError."""
    try:
        value = decode(data)
    except ValueError:
        value = None
    assert decode_or_none(data) == value or value != value


def test_nearly_valid_json_is_read() -> None:
    """NaN and lone surrogates occur in practice."""
    assert math.isnan(decode(b"[NaN]")[0])  # type: ignore[index, arg-type]
    assert decode(b'"\\ud83d"') == "\ud83d"


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 100_000 + f'"{"x" * MAX_REPAIRED}"' + "]" * 100_000])
def test_deep_nesting_is_a_value_error(text: str) -> None:
    """Where it breaks off, or is too large to be cut. A RecursionError would surprise callers."""
    with pytest.raises(ValueError, match="deep"):
        decode(text)


@given(VALUES)
def test_plain_values_pass_the_check_unchanged(value: Any) -> None:
    """The check copies containers and changes nothing."""
    assert to_json(value, "x") == value


@pytest.mark.parametrize(
    "value, plain",
    [
        (Decimal("0.1"), 0.1),
        (Decimal("5.0"), 5),
        (Decimal(2**70), 2**70),
        (Text("x"), "x"),
        (Seconds(1.5), 1.5),
        (True, True),
        ({Text("x"): [Seconds(2)]}, {"x": [2.0]}),
    ],
)
def test_subclasses_and_decimals_become_builtins(value: object, plain: object) -> None:
    """Integral decimals become ints, others floats. The encoder refuses subclasses."""
    converted = to_json(value, "x")
    assert (converted, type(converted)) == (plain, type(plain))
    assert decode(encode(converted)) == plain


@pytest.mark.parametrize(
    "data, value",
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "x\xffy", "b": 1}', {"a": "x\ufffdy", "b": 1}),
        (b'\xef\xbb\xbf["\xc3"]', ["\ufffd"]),
        (b'"\xed\xa0\x80"', "\ud800"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[1e999, -1e999]", [math.inf, -math.inf]),
        (b"18446744073709551617", 2**64 + 1),
        ('"\ud83d"', "\ud83d"),
    ],
)
def test_invalid_json_that_occurs_is_read(data: bytes | str, value: object) -> None:
    """A broken byte costs one character. A byte order mark is ignored."""
    assert decode(data) == value


def test_whole_numbers_of_any_length_are_read() -> None:
    """A number too long for Python stays text, and the rest is read."""
    decoded = decode(b'{"result": true, "n": %s, "m": 7}' % (b"9" * 5000))
    assert decoded == {"result": True, "n": "9" * 5000, "m": 7}
    with pytest.raises(ValueError, match="Expecting"):
        decode('["\ud800", ')


def test_the_check_makes_plain_types() -> None:
    """Tuples, ranges and mappings of other kinds become lists and dicts."""

    class Level(IntEnum):
        HIGH = 3

    assert to_json({"a": (1, range(2)), "b": Level.HIGH}, "x") == {"a": [1, [0, 1]], "b": 3}
    assert encode(to_json({"b": Level.HIGH}, "x")) == b'{"b":3}'


@pytest.mark.parametrize(
    "value, name, words",
    [
        (math.nan, "x", "is nan"),
        ([1, math.inf], "x[1]", "is inf"),
        ({"a": {"b": [0, {1, 2}]}}, "x['a']['b'][1]", "is a set"),
        (b"abc", "x", "wrap it to upload it"),
        (bytearray(b"abc"), "x", "wrap it to upload it"),
        (memoryview(b"abc"), "x", "wrap it to upload it"),
        ({"a": {2: 3}}, "x['a']", "key 2, a int"),
        (Decimal("NaN"), "x", "is nan"),
        (Decimal("1e400"), "x", "is inf"),
        ([10**4400], "x[0]", "is a number of over 4300 digits"),
        (object(), "x", "is a object"),
        (
            Fraction(1, 2),
            "x",
            "is a Fraction, which JSON cannot hold; convert it first, with int(value) or float(value)",
        ),
        (Scalar(), "x", "is a Scalar, which JSON cannot hold; convert it first: value.item()"),
        ({"a": Path("p")}, "x['a']", "parameter of its own"),
        ([[File(b"", "n")]], "x[0][0]", "parameter of its own"),
    ],
)
def test_what_cannot_be_sent_is_named(value: object, name: str, words: str) -> None:
    """The message names the place and the reason."""
    with pytest.raises(InvalidInputError) as caught:
        to_json(value, "x")
    assert str(caught.value).startswith(name)
    assert words in str(caught.value)


def _numbers(value: Any) -> list[int]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in _numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, int) else []


@pytest.mark.parametrize(
    "data, value",
    [
        (b'{"a": "x\x00\x1b[0m\ny\xe9"}', {"a": "x\x00\x1b[0m\ny\ufffd"}),
        (rb'{"a": "C:\dir \u12 \\ \n"}', {"a": "C:\\dir \\u12 \\ \n"}),
        (b'{"a": 1}\0\0 \xef\xbb\xbf', {"a": 1}),
        ('\ufeff{"a": 1}', {"a": 1}),
        (b'{"a": 1,\xff"b": 2}', {"a": 1, "b": 2}),
        (b'{"a": 1\xff2, "b": [tr\xffue, "\xff"], "c":\xc2\xa03}', {"a": None, "b": [None, "\ufffd"], "c": 3}),
        ('{"a": "x"}'.encode("utf-16"), {"a": "x"}),
    ],
)
def test_stray_bytes_cost_a_character_or_a_number(data: bytes | str, value: object) -> None:
    """A number that lost a digit is none: it would be another number."""
    assert decode(data) == value


@given(VALUES, st.integers(0, 200), st.sampled_from([b"\xff", b"\xe9", b"\x00", b"\x1b", b"\xc3"]))
def test_a_stray_byte_in_text_costs_no_other_text(value: Any, place: int, stray: bytes) -> None:
    """Wherever it is put in, the other values stay."""
    text = json.dumps({"before": value, "text": "x" * 200, "after": value}).encode()
    at = text.index(b"x" * 200) + place
    decoded: Any = decode(text[:at] + stray + text[at:])
    whole = decode(text)
    assert {**decoded, "text": ""} == {**whole, "text": ""} or decoded != decoded  # type: ignore[dict-item]
    assert len(decoded["text"]) == 201


@pytest.mark.parametrize(
    "data, value",
    [
        (b'{"result": true}xyz', {"result": True}),
        (b'Warning: {odd}\n{"result": true, "a": "\xe9"}', {"result": True, "a": "\ufffd"}),
        (b'{"a": 1}', {"a": 1}),
        (b'<script>{"a": 1}</script>', None),
        (b'{"result": true', None),
        (b"[1]", None),
        (b"", None),
    ],
)
def test_an_object_among_other_text(data: bytes, value: object) -> None:
    """It is found if it has the key. One of a web page has not."""
    assert decode_object(data, "result") == value


@pytest.mark.parametrize("opening, inner, closing", [("[", "", "]"), ('{"a":', "1", "}"), ('[{"a":', "null", "}]")])
@pytest.mark.parametrize("depth", [10, 150, 1000, 5000, 100_000])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_values_that_are_nested_deeply(opening: str, inner: str, closing: str, depth: int, as_bytes: bool) -> None:
    """They cost what is too deep, not what stands around them. Brackets in text do not count."""
    text = f'{{"before":"[[{{","x":{opening * depth}{inner}{closing * depth},"after":"]}}"}}'
    decoded = decode_object(text.encode() if as_bytes else text, "before")
    assert decoded is not None
    assert (decoded["before"], decoded["after"]) == ("[[{", "]}")
    assert decoded["x"]


@given(st.text('[]{}"\\,:a1', max_size=60), st.integers(195, 205))
def test_odd_text_in_deep_values(text: str, depth: int) -> None:
    """It gives a value or a ValueError."""
    nested = "[" * depth * 100 + text + "]" * depth * 100
    assert decode_or_none(nested) is None or isinstance(decode_or_none(nested), list)
