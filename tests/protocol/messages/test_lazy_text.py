"""Which frames stay undecoded: those that certainly contain an LLM's text so far."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.messages.frames import parse_frame
from wiro_async._protocol.messages.lazy_text import parse_event_head, parse_text_head
from wiro_async._protocol.messages.text_snapshot import TEXT_KEYS

ANSWER = {"type": "answer", "speed": "6.0", "isThinking": False, "raw": 'é "x"', "thinking": [], "answer": ["x"]}
SCALARS = st.none() | st.booleans() | st.integers() | st.text()
NAMES = st.sampled_from(["type", "id", "tasktoken", "message", "raw", "answer", "segments", "x"]) | st.text()
ANYTHING = st.recursive(
    SCALARS | st.just("task_output") | st.builds(json.dumps, st.dictionaries(NAMES, SCALARS)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("message", [ANSWER, json.dumps(ANSWER), {"segments": [{}]}, {"raw": ""}], ids=str)
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
@pytest.mark.parametrize("ids", [{"id": "1", "tasktoken": "t"}, {"id": 1}, {}])
def test_text(message: object, separators: tuple[str, str], ids: dict[str, Any]) -> None:
    """It is routed without decoding, and decodes to the message."""
    frame = {"type": "task_output", **ids, "message": message, "result": True}
    parsed = parse_frame(json.dumps(frame, separators=separators).encode())
    assert parsed is not None
    assert parsed.is_lazy
    assert (parsed.type, parsed.task_id, parsed.token) == ("task_output", "1" if ids else "", ids.get("tasktoken", ""))
    assert parsed.raw == frame
    assert not parsed.is_lazy


@pytest.mark.parametrize(
    "message",
    [
        "raw",
        'loaded {"raw": 1}',
        "TRANSCRIPT_AI:raw",
        {"type": "progressGenerate", "percentage": "60"},
        {"meta": {"raw": 1}},
        [{"raw": 1}],
        {"x": "raw"},
        {"x": "1" * 5000, "raw": ""},
        None,
    ],
    ids=lambda message: str(message)[:30],
)
def test_other_contents_are_decoded(message: object) -> None:
    """They are decoded at once, because a later message may not repeat them."""
    parsed = parse_frame(json.dumps({"type": "task_output", "id": "1", "message": message}).encode())
    assert parsed is not None
    assert not parsed.is_lazy


def test_other_types() -> None:
    """Only outputs are replaced by newer ones. A truncated frame is not lazy."""
    for kind in ("task_error", "task_output_full", "task_postprocess_end"):
        assert parse_text_head(json.dumps({"type": kind, "message": ANSWER}).encode()) is None
    whole = json.dumps({"type": "task_output", "message": ANSWER}).encode()
    assert parse_text_head(whole[:-2]) is None
    assert parse_text_head(json.dumps({"message": ANSWER, "type": "task_output"}).encode()) is None


@given(st.dictionaries(NAMES, ANYTHING, max_size=5), st.booleans())
def test_nothing_else_is_taken_for_text(frame: dict[str, Any], ascii_only: bool) -> None:
    """A lazy message has a text key at the expected place."""
    if parse_text_head(json.dumps(frame, ensure_ascii=ascii_only).encode(errors="replace")) is not None:
        message = frame["message"]
        assert frame["type"] == "task_output"
        assert (json.loads(message) if isinstance(message, str) else message).keys() & TEXT_KEYS
    if parse_event_head(json.dumps(frame)) is not None:
        assert frame.keys() & TEXT_KEYS


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_parsed(data: bytes) -> None:
    """Any bytes give a message, or None."""
    assert parse_text_head(data) is None or json.loads(data)


def test_a_text_that_cannot_be_decoded() -> None:
    """It gives no event."""
    parsed = parse_frame(b'{"type":"task_output","id":"1","message":{"raw":"x"]}}')
    assert parsed is not None
    assert (parsed.raw, parsed.payload) == ({}, None)
