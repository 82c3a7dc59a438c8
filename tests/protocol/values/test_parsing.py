"""Values in the service's notation."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.values import parsing as values

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
)
READERS = [
    values.as_id,
    values.as_text,
    values.as_text_or_none,
    values.as_float,
    values.as_int,
    values.as_decimal,
    values.as_amount,
    values.as_rows,
    values.as_seconds,
    values.as_time,
    values.as_dict,
    values.as_list,
    values.as_texts,
]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@given(value=ANYTHING)
def test_any_value_is_accepted(read: Any, value: Any) -> None:
    """Every reader accepts every value, and numbers are finite."""
    expected = read(value)
    assert expected is None or isinstance(expected, (str, int, float, Decimal, dict, list, tuple))
    if isinstance(expected, (float, Decimal)):
        assert math.isfinite(expected)


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_numbers_of_thousands_of_digits(read: Any) -> None:
    """They are None, because Python could not write them."""
    assert not read(10**5000)


@pytest.mark.parametrize(
    "read, value, expected",
    [
        (values.as_text, "x", "x"),
        (values.as_text, 7, "7"),
        (values.as_text, 1.5, "1.5"),
        (values.as_text, True, "true"),
        (values.as_text, None, ""),
        (values.as_text, ["x"], ""),
        (values.as_text_or_none, "", None),
        (values.as_float, " 60% ", 60.0),
        (values.as_float, "", None),
        (values.as_float, True, None),
        (values.as_float, "inf", None),
        (values.as_int, "202472", 202472),
        (values.as_int, "6.0", 6),
        (values.as_int, "0.5", None),
        (values.as_int, "-1", -1),
        (values.as_int, False, None),
        (values.as_decimal, "0.003510000000", Decimal("0.003510000000")),
        (values.as_decimal, "NaN", None),
        (values.as_decimal, None, None),
        (values.as_decimal, "1e9999999", None),
        (values.as_decimal, "1e-9999999", None),
        (values.as_decimal, "1e2000", None),
        (values.as_amount, "0.5", Decimal("0.5")),
        (values.as_amount, "-1", None),
        (values.as_amount, "?", None),
        (values.as_seconds, "5s", 5.0),
        (values.as_seconds, "01:23", 83.0),
        (values.as_seconds, "1:02:03", 3723.0),
        (values.as_seconds, 7, 7.0),
        (values.as_seconds, "soon", None),
        (values.as_seconds, "1e308:1", None),
        (values.as_time, "1734513809", 1734513809.0),
        (values.as_time, "0", None),
        (values.as_time, "", None),
        (values.as_dict, '{"a": 1}', {"a": 1}),
        (values.as_dict, '{"a"', {}),
        (values.as_dict, [1], {}),
        (values.as_dict, '\ufeff {"a": 1}', {"a": 1}),
        (values.as_list, ' \n["é"]', ["é"]),
        (values.as_rows, '[{"a": 1}, 2]', [{"a": 1}, 2]),
        (values.as_rows, {"a": 1}, [{"a": 1}]),
        (values.as_rows, ' {"a": 1}', [{"a": 1}]),
        (values.as_rows, {}, []),
        (values.as_texts, ' ["a"]', ("a",)),
        (values.as_texts, " [] ", ()),
        (values.as_list, "[1]", [1]),
        (values.as_list, "[Note]", []),
        (values.as_list, {"a": 1}, []),
        (values.as_texts, ["a", 1, None], ("a", "1", "")),
        (values.as_texts, "a", ("a",)),
        (values.as_texts, '["a","b"]', ("a", "b")),
        (values.as_texts, "[a] b", ("[a] b",)),
        (values.as_texts, "[]", ()),
        (values.as_texts, "", ()),
        (values.as_texts, None, ()),
    ],
)
def test_readings(read: Any, value: Any, expected: object) -> None:
    """The service's notation, and its value."""
    assert read(value) == expected
    assert type(read(value)) is type(expected)


@pytest.mark.parametrize(
    "value, expected",
    [
        ("3066517", "3066517"),
        (3066517, "3066517"),
        (3066517.0, "3066517"),
        (" 3066517\n", "3066517"),
        ("\ufeff3066517\0", "3066517"),
        ("eDcC.t:o-k_en", "eDcC.t:o-k_en"),
        ("a+b/c==", "a+b/c=="),
        ("x" * 256, "x" * 256),
    ],
)
def test_ids(value: Any, expected: str) -> None:
    """Ids and tokens, also where they are numbers or have something around them."""
    assert values.as_id(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", True, False, "true", -1, math.nan, math.inf, "NaN", "-Infinity", "null", "None"),
        *("undefined", "30\ufffd", "30\ud83d", "30 66", "30\n66", "<b>30</b>", '30"', "x" * 257, 10**300, [1], {}),
    ],
)
def test_no_ids(value: Any) -> None:
    """What may name another task, or none, is no id."""
    assert not values.as_id(value)


@pytest.mark.parametrize("value, expected", [(0, ""), ("0", ""), (0.0, ""), ("7", "7"), (7, "7"), ("uuid-0", "uuid-0")])
def test_ids_of_tasks_that_were_made(value: Any, expected: str) -> None:
    """A 0 says that there is none."""
    assert values.as_new_id(value) == expected
