"""Keys of items: equal for equal requests, different for others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.submission.journal_keys import digest, nth, short
from wiro_async._protocol.values.json import JSON

VALUES: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
INPUTS = st.dictionaries(st.text(max_size=5), VALUES, max_size=4)


@given(INPUTS)
def test_the_order_of_names_does_not_matter(values: dict[str, JSON]) -> None:
    """Equal parameters in another order are one request."""
    turned = dict(reversed(values.items()))
    assert digest("o/m", values) == digest("o/m", turned)


@given(INPUTS, st.text(min_size=1))
def test_every_difference_counts(values: dict[str, JSON], text: str) -> None:
    """Another model, another value, or another file makes another key."""
    one = digest("o/m", values, [("image", "a")])
    others = [
        digest("o/m2", values, [("image", "a")]),
        digest("o/m", {**values, "more": text}, [("image", "a")]),
        digest("o/m", values, [("image", "b")]),
        digest("o/m", values, [("picture", "a")]),
        digest("o/m", values),
    ]
    assert len({one, *others}) == 6


def test_big_integers_and_lone_surrogates() -> None:
    """Values that the fast encoder refuses have a digest too."""
    assert digest("o/m", {"seed": 2**70}) != digest("o/m", {"seed": 2**70 + 1})
    assert digest("o/m", {"prompt": "\ud800"}) != digest("o/m", {"prompt": "\ud801"})
    assert short("\ud800") != short("\ud801")


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_equal_requests_are_numbered(one: int, other: int) -> None:
    """The first has the plain digest, the others a number after it."""
    assert (nth("ab", one) == nth("ab", other)) == (one == other)
    assert nth("ab", 1) == "ab"
