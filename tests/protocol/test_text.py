"""Text that grows."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.text import KINDS, TextFold, TextSnapshot

WHOLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=60)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
)


def snapshot(**content: Any) -> TextSnapshot:
    """The snapshot in a content that has one."""
    told = TextSnapshot.from_wire(content)
    assert told is not None
    return told


def joined(fold: TextFold, snapshots: list[TextSnapshot], is_last: bool = False) -> dict[str, str]:
    """What a reader who adds deltas and heeds resets ends up with."""
    text: dict[str, str] = dict.fromkeys(KINDS, "")
    for number, told in enumerate(snapshots, 1):
        for change in fold.update(told, is_last and number == len(snapshots)):
            text[change.kind] = change.text if change.reset else text[change.kind] + change.text
            change.text.encode()  # no half of a character is ever given
    return text


@pytest.mark.parametrize(
    "content, thinking, answer",
    [
        ({"thinking": ["hm"], "answer": ["a", "b"]}, "hm", "ab"),
        ({"thinking": None, "answer": "bare"}, "", "bare"),
        ({"thinking": [None, "x"], "answer": "[Note] 1"}, "x", "[Note] 1"),
        ({"answer": '["a","b"]'}, "", '["a","b"]'),
        ({"raw": "all there is"}, "", "all there is"),
        ({"raw": "<think>", "answer": ["a"]}, "", "a"),
        ({"segments": [{"type": "thinking", "text": "hm"}, {"type": "answer", "text": "a"}]}, "hm", "a"),
        ({"segments": [{"type": "answer", "text": "a"}, {"type": "answer", "text": "b"}], "answer": ["old"]}, "", "ab"),
        ({"segments": [None, {"type": "function_call", "name": "f"}, {"text": "odd"}]}, "", ""),
        ({"finishreason": "stop"}, "", ""),
    ],
)
def test_three_generations(content: dict[str, Any], thinking: str, answer: str) -> None:
    """Segments go before lists, lists before raw text."""
    told = snapshot(**content)
    assert (told.thinking, told.answer) == (thinking, answer)


def test_the_end_of_a_text() -> None:
    """Why it stopped and what it cost, where that is told."""
    told = snapshot(answer=["a"], finishreason="tool_calls", usage={"total_tokens": 3})
    assert (told.finish_reason, told.usage) == ("tool_calls", {"total_tokens": 3})
    assert (snapshot(answer="a", usage="odd").finish_reason, snapshot(answer="a", usage="odd").usage) == (None, {})


@given(st.dictionaries(st.sampled_from(["segments", "thinking", "answer", "raw", "finishreason", "usage"]), ANYTHING))
def test_no_content_is_too_strange(content: dict[str, Any]) -> None:
    """Any object is a snapshot or none."""
    told = TextSnapshot.from_wire(content)
    assert told is None or isinstance(told.answer + told.thinking, str)


@given(st.text("<>/answer \nx", max_size=30) | st.text(max_size=30))
def test_wrapped_answers_grow(text: str) -> None:
    """However far the wrapped answer has come, no tag shows, and what shows is the beginning of what comes."""
    whole = f"\n<answer>{text}</answer>\n"
    assert snapshot(answer=whole).answer == text
    for end in range(1, len(whole)):
        told = TextSnapshot.from_wire({"answer": whole[:end]})
        assert told is not None
        if "</answer>" not in text:
            assert text.startswith(told.answer)


@pytest.mark.parametrize(
    "answer, shown",
    [
        ("<answer>x</answer>", "x"),
        (" <answer>x</answer> \n", "x"),
        ("<answer>x</ans", "x"),
        ("<answer>x<", "x"),
        ("<answer>x < y", "x < y"),
        ("<ans", ""),
        (" <", ""),
        ("<a href='#'>x</a>", "<a href='#'>x</a>"),
        ("<b>x", "<b>x"),
        ("x <answer>y</answer>", "x <answer>y</answer>"),
    ],
)
def test_tags(answer: str, shown: str) -> None:
    """Only a wrapping one is taken off."""
    assert snapshot(answer=answer).answer == shown


@given(WHOLE, st.lists(st.integers(0, 60)), st.randoms(use_true_random=False))
def test_growing_text_comes_once(text: str, cuts: list[int], rng: random.Random) -> None:
    """In any order, with repeats and gaps, the deltas make the text, without a reset."""
    snapshots = [TextSnapshot("", text[:cut]) for cut in cuts]
    rng.shuffle(snapshots)
    fold = TextFold()
    changes = [change for told in [*snapshots, TextSnapshot("", text)] for change in fold.update(told, is_last=True)]
    assert "".join(change.text for change in changes) == text
    assert not any(change.reset for change in changes)


@given(st.lists(st.tuples(st.text(), st.text())))
def test_deltas_since_the_last_reset_are_the_text(texts: list[tuple[str, str]]) -> None:
    """Whatever the model takes back, a reader has what the fold has."""
    fold = TextFold()
    assert joined(fold, [TextSnapshot(*pair) for pair in texts]) == {"thinking": fold.thinking, "answer": fold.answer}


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_last_text_stands(first: str, last: str) -> None:
    """Also a text that has nothing to do with the one before; only an older one is passed over."""
    fold = TextFold()
    told = joined(fold, [TextSnapshot("", first), TextSnapshot("", last)], is_last=True)["answer"]
    assert told == last or first.rstrip("\ufffd").startswith(last)


@given(WHOLE)
def test_no_character_is_split(text: str) -> None:
    """Snapshots that are cut within a character, as bytes or as UTF-16, cause no reset and no half characters."""
    data, units = text.encode(), text.encode("utf-16-le")
    by_bytes = [TextSnapshot("", data[:end].decode(errors="replace")) for end in range(len(data) + 1)]
    by_units = [
        TextSnapshot("", units[:end].decode("utf-16-le", errors="surrogatepass")) for end in range(0, len(units) + 1, 2)
    ]
    for snapshots in (by_bytes, by_units):
        fold = TextFold()
        changes = [change for told in snapshots for change in fold.update(told)]
        assert "".join(change.text for change in changes) == text
        assert not any(change.reset for change in changes)


def test_a_text_that_ends_in_a_replacement_character() -> None:
    """It is given when nothing more can come."""
    fold = TextFold()
    assert [change.text for change in fold.update(TextSnapshot("", "a\ufffd"))] == ["a"]
    assert [change.text for change in fold.update(TextSnapshot("", "a\ufffd"), is_last=True)] == ["\ufffd"]


def test_a_reset() -> None:
    """What stood there is thrown away, of that kind only."""
    fold = TextFold("thought", "one")
    (change,) = fold.update(TextSnapshot("thought", "two"))
    assert (change.kind, change.text, change.reset) == ("answer", "two", True)
    assert (fold.thinking, fold.answer) == ("thought", "two")


def test_places_in_the_timeline() -> None:
    """The last segment of a kind; without segments each kind has a place of its own."""
    told = snapshot(segments=[{"type": "answer", "text": "a"}, {"type": "thinking"}, {"type": "answer", "text": "b"}])
    assert (told.index("answer"), told.index("thinking")) == (2, 1)
    assert (snapshot(answer="a").index("thinking"), snapshot(answer="a").index("answer")) == (0, 1)
