"""Audio frames, pacing, and messages of realtime sessions."""

from __future__ import annotations

import json
from array import array
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async import CostUpdate, InvalidInputError, LogLine, StatusChanged, Transcript, TurnEnded, UnknownEvent
from wiro_async._protocol.conversations.realtime_audio import (
    BYTES_PER_SECOND,
    FRAME_BYTES,
    AudioChunk,
    Chunker,
    Pacer,
    SampleJoiner,
    audio_prefix,
    command,
    is_about,
    parse_events,
    pcm_view,
)
from wiro_async._protocol.messages.frames import Message, parse_frame
from wiro_async._protocol.messages.task_state import TaskState

SIZES = st.lists(st.one_of(st.integers(0, 20), st.integers(9_500, 9_700), st.integers(0, 40_000)), max_size=12)


@given(SIZES, st.binary(min_size=1, max_size=64))
def test_any_sizes_become_frames_of_one_size(sizes: list[int], pattern: bytes) -> None:
    """The joined frames are the input. Only the last is shorter, and only half a sample is left."""
    total = sum(sizes)
    pcm = (pattern * (total // len(pattern) + 1))[:total]
    chunker, frames, start = Chunker(), list[bytes](), 0
    for size in sizes:
        frames += chunker.feed(memoryview(pcm)[start : start + size])
        start += size
        assert sum(map(len, frames)) == start // FRAME_BYTES * FRAME_BYTES
    assert {len(frame) for frame in frames} <= {FRAME_BYTES}
    rest = chunker.flush()
    assert len(rest) % 2 == 0
    assert b"".join(frames) + rest == pcm[: total // 2 * 2]
    assert chunker.flush() == b""
    assert b"".join([*chunker.feed(memoryview(b"\0" * FRAME_BYTES))])[: total % 2] == pcm[total // 2 * 2 :]


@given(st.lists(st.binary(max_size=7), max_size=12))
def test_half_a_sample_ends_with_its_source(pieces: list[bytes]) -> None:
    """Each piece that is handed on has whole samples. Only the last byte may be missing."""
    joiner = SampleJoiner()
    out = [bytes(joiner.feed(memoryview(piece))) for piece in pieces]
    pcm = b"".join(pieces)
    assert all(len(piece) % 2 == 0 for piece in out)
    assert b"".join(out) == pcm[: len(pcm) // 2 * 2]


def test_half_a_sample_can_be_dropped() -> None:
    """Whole samples before it stay."""
    chunker = Chunker()
    assert chunker.feed(memoryview(b"abc")) == ()
    chunker.align()
    assert chunker.feed(memoryview(b"de")) == ()
    assert chunker.flush() == b"abde"


def test_frames_that_are_not_consumed_are_dropped() -> None:
    """A sender that was cancelled within a piece continues after it."""
    chunker = Chunker()
    next(iter(chunker.feed(memoryview(b"a" * 3 * FRAME_BYTES + b"b"))))
    assert chunker.feed(memoryview(b"c")) == ()
    assert chunker.flush() == b"bc"


@given(st.lists(st.floats(0, 0.5), min_size=2, max_size=30))
def test_paced_audio_is_never_early(pauses: list[float]) -> None:
    """A frame is due after the duration of the earlier ones, or later, for any pauses."""
    pacer, now, sent = Pacer(), 100.0, list[float]()
    for pause in pauses:
        now += pause
        now += pacer.delay(now, FRAME_BYTES)
        sent.append(now)
    seconds = FRAME_BYTES / BYTES_PER_SECOND
    assert all(at - sent[0] >= seconds * place - 1.0 - 1e-6 for place, at in enumerate(sent))
    if not any(pauses[1:]):
        assert sent[-1] - sent[0] == pytest.approx(seconds * (len(sent) - 1))


def test_a_long_pause_is_not_made_up_for() -> None:
    """After a minute the schedule starts again."""
    pacer = Pacer()
    assert pacer.delay(100.0, FRAME_BYTES) == 0.0
    assert pacer.delay(160.0, FRAME_BYTES) == 0.0
    assert pacer.delay(160.0, FRAME_BYTES) == pytest.approx(0.2)


@pytest.mark.parametrize(
    "audio", [b"\1\2", bytearray(b"\1\2"), memoryview(b"\1\2"), array("h", [513]), memoryview(array("h", [513]))]
)
def test_values_that_are_audio(audio: Any) -> None:
    """Bytes, and arrays of 16-bit numbers."""
    assert bytes(pcm_view(audio)) == b"\1\2"


@pytest.mark.parametrize(
    "audio,words",
    [
        ("hello", "a str is not audio"),
        (None, "a NoneType"),
        ([1, 2], "a list"),
        (array("f", [0.5]), "format 'f'"),
        (memoryview(bytes(8)).cast("B", (2, 4)), "2 dimensions"),
        (memoryview(bytes(8))[::2], "gaps"),
    ],
)
def test_values_that_are_not_audio(audio: Any, words: str) -> None:
    """The error names the value and the expected types."""
    with pytest.raises(InvalidInputError, match=words) as caught:
        pcm_view(audio)
    assert "16-bit, little-endian, mono, 24 kHz" in str(caught.value)


def message(kind: str, payload: Any = None, **extra: Any) -> Message:
    """A message as it is received."""
    parsed = parse_frame(json.dumps({"type": kind, "id": "7", "message": payload, "result": True, **extra}))
    assert parsed is not None
    return parsed


def test_a_session_in_messages() -> None:
    """Each message becomes its event. Transcripts are kept unchanged."""
    state = TaskState()
    events = [
        *parse_events(message("task_stream_ready"), state),
        *parse_events(message("task_output", "Loading weights"), state),
        *parse_events(message("task_output", "TRANSCRIPT_USER: What is this?"), state),
        *parse_events(message("task_output", 'TRANSCRIPT_AI:{"a": 1}'), state),
        *parse_events(message("task_stream_end"), state),
        *parse_events(message("task_cost", turnCost="0.1", cumulativeCost=0.3, usage={"input_tokens": 3}), state),
        *parse_events(message("task_smell", "roses"), state),
    ]
    kinds = [StatusChanged, StatusChanged, LogLine, Transcript, Transcript, TurnEnded, CostUpdate, UnknownEvent]
    assert [type(event) for event in events] == kinds
    user, assistant, _, cost = events[3:7]
    assert isinstance(user, Transcript)
    assert isinstance(assistant, Transcript)
    assert isinstance(cost, CostUpdate)
    assert (user.role, user.text) == ("user", " What is this?")
    assert (assistant.role, assistant.text) == ("assistant", '{"a": 1}')
    assert (cost.turn, cost.total, cost.raw["usage"]) == (Decimal("0.1"), Decimal("0.3"), {"input_tokens": 3})
    assert state.has_started
    assert events[0].status == "task_stream_ready"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text() | st.sampled_from(["TRANSCRIPT_AI:", "{}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["task_output", "task_cost", "task_stream_end", "task_stream_ready", "task_error"]) | st.text(),
    JSON,
)
def test_nothing_is_raised(kind: str, payload: Any) -> None:
    """No content of a message raises an error."""
    parse_events(message(kind, payload, turnCost=payload, cumulativeCost=payload), TaskState())


def test_whose_message_it_is() -> None:
    """A message that names another task is not for this one. A message without a name is."""
    assert is_about(message("task_cost"), "7", "token")
    assert is_about(message("task_cost"), None, "token")
    assert is_about(Message("task_cost", "", "", {}), "7", "token")
    assert is_about(Message("task_cost", "", "token", {}), "7", "token")
    assert not is_about(message("task_cost"), "8", "token")
    assert not is_about(Message("task_cost", "7", "other", {}), "7", "token")
    assert not is_about(Message("connected", "", "", {}), "7", "token")


def test_frames_and_commands() -> None:
    """They have the format of the service."""
    assert audio_prefix("a-T.o_k:en") == b"a-T.o_k:en|"
    assert json.loads(command("task_session_end", "t")) == {"type": "task_session_end", "tasktoken": "t"}


def test_an_audio_chunk() -> None:
    """It has its duration, and its repr does not show its bytes."""
    chunk = AudioChunk(bytes(FRAME_BYTES))
    assert chunk.seconds == pytest.approx(0.2)
    assert repr(chunk) == "AudioChunk(status='', data=<9600 bytes>)"
