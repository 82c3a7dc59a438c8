"""Snapshots of text, of all generations."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.messages.text_snapshot import TextSnapshot

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
)


def snapshot(**content: Any) -> TextSnapshot:
    """Return the snapshot of a content that has one."""
    parsed = TextSnapshot.from_wire(content)
    assert parsed is not None
    return parsed


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
        ({"segments": [{"type": "function_call", "name": "f"}], "raw": "f()"}, "", ""),
        ({"segments": [{"type": "output_text", "text": "a"}], "raw": "a"}, "", "a"),
        ({"segments": [{"type": "Answer"}, {"type": ["answer"]}], "answer": ["a"], "thinking": "hm"}, "hm", "a"),
        ({"finishreason": "stop"}, "", ""),
    ],
)
def test_three_generations(content: dict[str, Any], thinking: str, answer: str) -> None:
    """Segments take precedence over lists, and lists over raw text."""
    parsed = snapshot(**content)
    assert (parsed.thinking, parsed.answer) == (thinking, answer)


def test_the_end_of_a_text() -> None:
    """The stop reason and the cost, if the service reports them."""
    parsed = snapshot(answer=["a"], finishreason="tool_calls", usage={"total_tokens": 3})
    assert (parsed.finish_reason, parsed.usage) == ("tool_calls", {"total_tokens": 3})
    assert (snapshot(answer="a", usage="odd").finish_reason, snapshot(answer="a", usage="odd").usage) == (None, {})


@given(st.dictionaries(st.sampled_from(["segments", "thinking", "answer", "raw", "finishreason", "usage"]), ANYTHING))
def test_any_content_is_accepted(content: dict[str, Any]) -> None:
    """Any object gives a snapshot, or None."""
    parsed = TextSnapshot.from_wire(content)
    assert parsed is None or isinstance(parsed.answer + parsed.thinking, str)


@given(st.text("<>/answer \nx", max_size=30) | st.text(max_size=30))
def test_wrapped_answers_grow(text: str) -> None:
    """No tag shows at any length, and each visible text is a prefix of the next."""
    whole = f"\n<answer>{text}</answer>\n"
    assert snapshot(answer=whole).answer == text
    for end in range(1, len(whole)):
        parsed = TextSnapshot.from_wire({"answer": whole[:end]})
        assert parsed is not None
        if "</answer>" not in text:
            assert text.startswith(parsed.answer)


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
        ("<answer>x</answer> bye", "x bye"),
        ("<answer>x</answer> <", "x"),
        ("<answer>x</answer>y</answer>", "x</answer>y"),
    ],
)
def test_tags(answer: str, shown: str) -> None:
    """Only a wrapping tag is removed."""
    assert snapshot(answer=answer).answer == shown


def test_the_end_is_no_beginning_of_a_tag() -> None:
    """A partial tag at the end is text."""
    for text in ("<", "<answer", "  "):
        assert TextSnapshot.from_wire({"answer": [text]}) == TextSnapshot("", "")
        assert TextSnapshot.from_wire({"answer": [text]}, is_last=True) == TextSnapshot("", text)


def test_late_answers() -> None:
    """While a model thinks, `raw` is not the answer if the message has another field for it."""
    content: dict[str, Any] = {"raw": "hm", "thinking": [], "answer": []}
    assert TextSnapshot.from_wire({**content, "isThinking": True}) is None
    assert snapshot(**content, isThinking=False).answer == "hm"
    assert snapshot(raw="hm", isThinking=True).answer == "hm"


@pytest.mark.parametrize(
    "content, has_text",
    [
        ({"segments": [], "finishreason": "stop"}, False),
        ({"segments": [{"type": "output_text", "text": "a"}], "finishreason": "stop"}, False),
        ({"raw": "", "answer": [""], "thinking": [], "finishreason": "stop"}, False),
        ({"answer": "<answer></answer>"}, True),
        ({"thinking": ["hm"], "answer": [""]}, True),
        ({"segments": [{"type": "answer", "text": ""}]}, True),
        ({"segments": [{"type": "function_call"}]}, True),
    ],
)
def test_whether_there_is_text(content: dict[str, Any], has_text: bool) -> None:
    """An empty answer differs from none, for which the log is the fallback."""
    assert snapshot(**content).has_text == has_text
    assert not TextSnapshot("", "").has_text
