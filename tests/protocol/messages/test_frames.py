"""The socket's frames, of both generations."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.messages.frames import (
    Message,
    parse_cost,
    parse_frame,
    parse_output,
    parse_progress,
    registration,
)
from wiro_async._protocol.messages.text_snapshot import TextSnapshot
from wiro_async._protocol.tasks.events import CostUpdate, LogLine, Progress, UnknownEvent

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
)
PAYLOAD_KEYS = [
    "type", "task", "percentage", "stepCurrent", "stepTotal", "speed", "speedType", "remainingTime",
    "raw", "thinking", "answer", "segments", "finishreason", "usage",
]  # fmt: skip
PAYLOADS = ANYTHING | st.dictionaries(st.sampled_from(PAYLOAD_KEYS) | st.text(), ANYTHING)
PROGRESS = {
    "type": "progressGenerate",
    "task": "Generate",
    "percentage": "60",
    "stepCurrent": "6",
    "stepTotal": "10",
    "speed": "1.2",
    "speedType": "it/s",
    "elapsedTime": "5s",
    "remainingTime": "3s",
}


def output(payload: Any, kind: str = "task_output") -> Any:
    """Parse a message with this payload."""
    frame = json.dumps({"type": kind, "id": "1", "message": payload}).encode()
    message = parse_frame(frame)
    assert message is not None
    return parse_output(message, "task_start")


def test_a_registration() -> None:
    """It has the format of the service."""
    assert json.loads(registration("t")) == {"type": "task_info", "tasktoken": "t"}


@pytest.mark.parametrize(
    "frame, parsed",
    [
        ({"type": "task_output", "id": "2221", "tasktoken": "t", "message": "m"}, ("task_output", "2221", "t")),
        ({"type": "task_end", "id": 2221, "success": True, "terminal": True}, ("task_end", "2221", "")),
        ({"type": "connected", "version": "1.0"}, ("connected", "", "")),
        ({"type": "task_end", "id": None, "tasktoken": None}, ("task_end", "", "")),
    ],
)
def test_frames(frame: dict[str, Any], parsed: tuple[str, str, str]) -> None:
    """With or without a token, the id as text or as a number."""
    message = parse_frame(json.dumps(frame).encode())
    assert message is not None
    assert (message.type, message.task_id, message.token) == parsed
    assert message.raw == frame


@pytest.mark.parametrize(
    "frame", [b"", b"[]", b"1", b"{}", b'{"type":1}', b'{"type":null}', b"{", b"token|\x00\xff\x01"]
)
def test_invalid_frames(frame: bytes) -> None:
    """They give None, not an error."""
    assert parse_frame(frame) is None


@given(st.binary() | st.text())
def test_any_bytes_are_parsed(frame: bytes | str) -> None:
    """Any bytes give a message, or None."""
    assert parse_frame(frame) is None or isinstance(parse_frame(frame), Message)


@given(st.sampled_from(["task_output", "task_error"]), PAYLOADS)
def test_any_payload_is_parsed(kind: str, payload: Any) -> None:
    """Any payload is accepted, and no contents are lost."""
    parsed = parse_output(Message(kind, "1", "", {"type": kind, "message": payload}), "task_start")
    assert parsed is None or isinstance(parsed, (TextSnapshot, Progress, LogLine, UnknownEvent))
    if isinstance(parsed, Progress):
        assert 0 <= parsed.fraction <= 1
    if isinstance(parsed, UnknownEvent):
        assert parsed.raw["message"] == payload or payload != payload


@pytest.mark.parametrize("payload", [PROGRESS, json.dumps(PROGRESS)], ids=["object", "text"])
def test_progress(payload: object) -> None:
    """All fields, also as JSON text."""
    parsed = output(payload)
    assert isinstance(parsed, Progress)
    assert (parsed.fraction, parsed.step, parsed.total) == (0.6, 6, 10)
    assert (parsed.speed, parsed.eta, parsed.label, parsed.status) == ("1.2 it/s", 3.0, "Generate", "task_start")


@pytest.mark.parametrize(
    "payload, fraction",
    [
        ({"percentage": "60%"}, 0.6),
        ({"percentage": 150}, 1.0),
        ({"percentage": -1}, 0.0),
        ({"stepCurrent": "3", "stepTotal": "4"}, 0.75),
        ({"stepCurrent": 1e308, "stepTotal": 1}, 1.0),
        ({"stepCurrent": 10**400, "stepTotal": 1}, None),
        ({"stepCurrent": "3", "stepTotal": "0"}, None),
        ({"stepCurrent": "3"}, None),
        ({"percentage": "soon"}, None),
        ({}, None),
    ],
)
def test_progress_from_little(payload: dict[str, Any], fraction: float | None) -> None:
    """From the percentage, else from steps, else None."""
    parsed = parse_progress(payload, "", {})
    assert (parsed and parsed.fraction) == fraction


@pytest.mark.parametrize(
    "payload",
    [None, "", "  ", [], {}, {"raw": ""}, {"thinking": [], "answer": []}, {"type": "answer", "segments": []}],
    ids=str,
)
def test_messages_without_contents(payload: object) -> None:
    """They give no event."""
    assert output(payload) is None


@pytest.mark.parametrize("payload", [{"height": "3 m"}, [1], 5, True], ids=str)
def test_unknown_contents_are_kept(payload: object) -> None:
    """The event has the whole message."""
    parsed = output(payload)
    assert isinstance(parsed, UnknownEvent)
    assert parsed.raw["message"] == payload
    assert parsed.type == "task_output"


@pytest.mark.parametrize("kind, stream", [("task_output", "stdout"), ("task_error", "stderr")])
def test_lines(kind: str, stream: str) -> None:
    """Plain text is a log line."""
    parsed = output("loading {weights}", kind)
    assert isinstance(parsed, LogLine)
    assert (parsed.text, parsed.stream) == ("loading {weights}", stream)


def test_text_goes_before_progress() -> None:
    """LLMs put both into one message."""
    parsed = output({**PROGRESS, "answer": ["Hi"], "thinking": []})
    assert isinstance(parsed, TextSnapshot)
    assert parsed.answer == "Hi"


def test_lines_that_look_like_lists() -> None:
    """A program may print a list as text. A real list is an unknown content."""
    parsed = output("[1, 2, 3]")
    assert isinstance(parsed, LogLine)
    assert parsed.text == "[1, 2, 3]"
    assert isinstance(output([1, 2, 3]), UnknownEvent)


def test_costs() -> None:
    """They are at the top level of the message."""
    parsed = parse_cost({"type": "task_cost", "turnCost": 0.1, "cumulativeCost": "0.3"}, "task_start")
    assert parsed == CostUpdate(Decimal("0.1"), Decimal("0.3"), status="task_start", raw=parsed.raw)
    assert (parsed.turn, parsed.total) == (Decimal("0.1"), Decimal("0.3"))
    assert parse_cost({"type": "task_cost", "turnCost": "odd"}, "task_start").turn is None


def test_a_message_shows_no_token() -> None:
    """Its repr may be logged."""
    assert "s3cret" not in repr(parse_frame(b'{"type":"task_end","tasktoken":"s3cret"}'))
