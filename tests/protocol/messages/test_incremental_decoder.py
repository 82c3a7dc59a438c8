"""Decoding only the new bytes of a message gives exactly the result of decoding the whole message."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async import TaskEvent, TextDelta
from wiro_async._protocol.messages import frames as messages
from wiro_async._protocol.messages import incremental_decoder
from wiro_async._protocol.messages.frames import parse_frame
from wiro_async._protocol.messages.task_state import TaskState
from wiro_async._protocol.values import json as json_module

CHARACTERS = st.sampled_from(
    ['a"', "\\", "é", "😀", "</answer>", "<answer>", "\n", '"}]}', '"}', "\ufffd", "\ud83d", "\ude00", "<", " "]
)
TEXTS = st.lists(CHARACTERS | st.text("ab", max_size=3), max_size=4).map("".join)
TAME = st.text('aé"\\\n<😀', min_size=1, max_size=4)
SEGMENTS = st.builds(lambda kind, text: {"type": kind, "text": text}, st.sampled_from(["answer", "thinking"]), TEXTS)
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"text": "x", "type": "answer"},
        {"type": "answer", "text": 5},
        {"type": "answer", "text": "x", "more": {"text": "y"}},
        {"type": "output_text", "text": "x"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "answer"},
        {},
        None,
    ]
)
HEADS = st.fixed_dictionaries(
    {}, optional={"type": st.just("answer"), "speed": TEXTS, "isThinking": st.booleans(), "": st.just(1)}
)
BETWEEN = st.fixed_dictionaries({}, optional={"raw": TEXTS, "elapsed": st.just("1s"), "answer": st.just(["x"])})
AFTER = st.fixed_dictionaries({}, optional={"finishreason": st.sampled_from(["stop", ""]), "raw": TEXTS})
OUTER = st.fixed_dictionaries(
    {}, optional={"result": st.booleans(), "time": st.just(1.5), "x": TEXTS, "y": st.just([1])}
)


@st.composite
def growing_texts(draw: st.DrawFn) -> list[bytes]:
    """Frames of a text that mostly grows, in one form of messages."""
    form = draw(st.sampled_from(["segments", "raw", "lists"]))
    ascii_only, spaces = draw(st.booleans()), draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    is_tame = draw(st.booleans())
    between, after, outer = ({}, {}, {"result": True}) if is_tame else (draw(BETWEEN), draw(AFTER), draw(OUTER))
    texts = TAME if is_tame else TEXTS
    segments, raw = list[Any](), ""
    frames = list[bytes]()
    for _ in range(draw(st.integers(2, 8))):
        match draw(st.sampled_from(["grow", "add"] if is_tame else ["grow", "add", "odd", "shorten", "change"])):
            case "grow" if segments and segments[-1] and isinstance(segments[-1].get("text"), str):
                segments[-1] = {**segments[-1], "text": segments[-1]["text"] + draw(texts)}
            case "add" | "grow":
                segments = [*segments, *draw(st.lists(SEGMENTS, min_size=1, max_size=3))]
            case "odd":
                segments = [*segments, draw(ODD), *draw(st.lists(SEGMENTS, max_size=1))]
            case "shorten":
                segments = segments[:-1]
            case _:
                after, outer = draw(AFTER), draw(OUTER)
        raw += draw(texts)
        text: dict[str, Any] = {"segments": segments}
        if form != "segments":
            text = {"raw": raw} if form == "raw" else {"raw": raw, "thinking": [], "answer": [raw]}
        message: Any = {**draw(HEADS), **between, **text, **after}
        if draw(st.integers(0, 9)) == 0:
            message = json.dumps(message)
        frame = {"type": "task_output", "id": "1", "message": message, **outer}
        data = json.dumps(frame, ensure_ascii=ascii_only, separators=spaces)
        frames.append(data.encode("utf-8", "surrogatepass") if ascii_only else data.encode(errors="replace"))
    return frames


def receive(state: TaskState, frame: bytes, *, whole: bool) -> list[TaskEvent]:
    """Return the events of a frame."""
    message = parse_frame(frame)
    assert message is not None
    return state.apply_message(attrs.evolve(message, frame=None) if whole else message)


@given(growing_texts(), st.data())
def test_results_are_equal(frames: list[bytes], data: st.DataObject) -> None:
    """Equal events, raw messages and texts, in any order, for late listeners too."""
    if data.draw(st.booleans()):
        frames = data.draw(st.lists(st.sampled_from(frames), max_size=12))
    one, other = TaskState(), TaskState()
    for frame in frames:
        assert receive(one, frame, whole=False) == receive(other, frame, whole=True)
        assert one.snapshot_events() == other.snapshot_events()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many bytes each call decodes."""
    sizes = list[int]()
    decode = json_module.decode_or_none

    def note(data: bytes) -> Any:
        sizes.append(len(data))
        return decode(data)

    monkeypatch.setattr(messages, "decode_object", lambda data, key: note(data))

    def note_text(data: bytes) -> Any:
        return decode(data) if data.startswith(b"{") else note(data)  # an object is the message without its text

    monkeypatch.setattr(incremental_decoder, "decode_or_none", note_text)
    return sizes


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("form", ["raw", "segments", "many segments"])
def test_only_new_bytes_are_decoded(decoded: list[int], form: str, ascii_only: bool) -> None:
    """For text that grows by a word in each message, even if each word is a segment."""
    state, words = TaskState(), [f"wörd {number}😀 " for number in range(500)]
    deltas = list[TaskEvent]()
    for end in range(1, len(words) + 1):
        said: Any = {"type": "answer", "speed": f"{end}", "raw": "".join(words[:end])}
        if form == "segments":
            said = {**said, "raw": "", "segments": [{"type": "answer", "text": "".join(words[:end])}]}
        elif form == "many segments":
            kinds = ["answer", "thinking"]
            parts = [{"type": kinds[place % 2], "text": word} for place, word in enumerate(words[:end])]
            said = {"type": "answer", "speed": f"{end}", "segments": parts}
        frame = {"type": "task_output", "id": "1", "message": said, "result": True}
        deltas += receive(state, json.dumps(frame, ensure_ascii=ascii_only).encode(), whole=False)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == "".join(words)
    assert sum(size > 200 for size in decoded) <= 1
    assert len(decoded) == len(words)
    assert deltas[-1].raw == {
        "type": "task_output",
        "id": "1",
        "message": {"type": "answer", "speed": "500"},
        "result": True,
    }
