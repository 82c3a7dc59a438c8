"""The wire format of realtime sessions: audio frames, commands and messages. https://wiro.ai/docs/realtime-voice"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from wiro_async._errors import InvalidInputError
from wiro_async._protocol.messages.frames import Message
from wiro_async._protocol.messages.task_state import TaskState
from wiro_async._protocol.tasks.events import LogLine, UnknownEvent
from wiro_async._protocol.values.json import encode
from wiro_async._public import public
from wiro_async._records.task_event import Role, TaskEvent, Transcript

if TYPE_CHECKING:
    from typing_extensions import Buffer

SAMPLE_RATE: Final = 24_000  # samples a second: signed 16-bit little-endian, mono
SAMPLE_BYTES: Final = 2
FRAME_BYTES: Final = 9_600  # 4,800 samples, 200 ms
BYTES_PER_SECOND: Final = SAMPLE_RATE * SAMPLE_BYTES
CATCH_UP_SECONDS = 1.0  # paced audio that is late by more than this starts a new schedule instead of catching up

Command: TypeAlias = Literal["task_session_interrupt", "task_session_end"]
PCM: TypeAlias = "Buffer"  # audio to send: bytes, or an array of 16-bit numbers
SPEAKERS: Final[dict[str, Role]] = {"TRANSCRIPT_USER:": "user", "TRANSCRIPT_AI:": "assistant"}
FORMATS = frozenset(("B", "b", "c", "h", "<h", "=h", "@h"))


@public
@attrs.frozen
class AudioChunk(TaskEvent):
    """Audio of a realtime model.

    Attributes:
        data: PCM, signed 16-bit little-endian mono at 24 kHz, usually 200 ms.
    """

    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")

    @property
    def seconds(self) -> float:
        """Its duration."""
        return len(self.data) / BYTES_PER_SECOND


@public
@attrs.frozen
class TurnEnded(TaskEvent):
    """The model has finished its turn."""


@attrs.define
class Chunker:
    """Cuts audio of any sizes into frames of one size."""

    _rest: bytes = b""

    def feed(self, pcm: memoryview) -> Iterable[bytes]:
        """The frames that are full now. The rest is kept for the next ones."""
        rest, cut = self._rest, FRAME_BYTES - len(self._rest)
        if len(pcm) < cut:
            self._rest = rest + bytes(pcm)
            return ()
        ends = range(cut, len(pcm) + 1, FRAME_BYTES)
        self._rest = bytes(pcm[ends[-1] :])
        return chain([rest + pcm[:cut]], (bytes(pcm[end - FRAME_BYTES : end]) for end in ends[1:]))

    def flush(self) -> bytes:
        """The whole samples of the rest. Half a sample stays."""
        whole = len(self._rest) // SAMPLE_BYTES * SAMPLE_BYTES
        out, self._rest = self._rest[:whole], self._rest[whole:]
        return out

    def align(self) -> None:
        """Drop half a sample at the end: the other half does not come."""
        self._rest = self._rest[: len(self._rest) // SAMPLE_BYTES * SAMPLE_BYTES]

    def clear(self) -> None:
        self._rest = b""


@attrs.define
class SampleJoiner:
    """Joins the pieces of one source, which may cut samples in two. Half a sample ends with its source."""

    _half: bytes = b""

    def feed(self, pcm: memoryview) -> memoryview:
        """Return the whole samples so far."""
        if not self._half and len(pcm) % SAMPLE_BYTES == 0:
            return pcm
        joined = self._half + bytes(pcm)
        whole = len(joined) // SAMPLE_BYTES * SAMPLE_BYTES
        self._half = joined[whole:]
        return memoryview(joined)[:whole]


@attrs.define
class Pacer:
    """Schedules audio so that it is sent no faster than it is spoken. The caller gives the times."""

    _due: float = 0.0

    def delay(self, now: float, size: int) -> float:
        """Seconds to wait before this many bytes may be sent. They count as sent then."""
        if now - self._due > CATCH_UP_SECONDS:
            self._due = now
        wait = max(0.0, self._due - now)
        self._due += size / BYTES_PER_SECOND
        return wait


def pcm_view(audio: object) -> memoryview:
    """The bytes of audio. Raises `InvalidInputError` unless it is bytes or 16-bit numbers."""
    try:
        view = memoryview(audio)  # type: ignore[arg-type]  # whether it has a buffer is the question
    except TypeError:
        raise _not_audio(f"a {type(audio).__name__}") from None
    if view.format not in FORMATS:
        raise _not_audio(f"a {type(audio).__name__} of numbers in the format {view.format!r}")
    if not view.c_contiguous or view.ndim != 1:
        raise _not_audio(f"a {type(audio).__name__} with {view.ndim} dimensions, or with gaps")
    return view.cast("B")


def _not_audio(given: str) -> InvalidInputError:
    return InvalidInputError(
        message=f"{given} is not audio; give PCM bytes: signed 16-bit, little-endian, mono, 24 kHz"
    )


def audio_prefix(token: str) -> bytes:
    return token.encode() + b"|"


def command(kind: Command, token: str) -> str:
    return encode({"type": kind, "tasktoken": token}).decode()


def is_about(message: Message, task_id: str | None, token: str) -> bool:
    """Whether a message is about the task of this socket. Some messages carry neither an id nor a token."""
    return (
        message.type != "connected"
        and message.token in ("", token)
        and (message.task_id in ("", task_id) or task_id is None)
    )


def parse_events(message: Message, state: TaskState) -> list[TaskEvent]:
    """The events of a message of a realtime task. Log lines that hold transcripts become `Transcript`."""
    events = list[TaskEvent]()
    for event in state.apply_message(message):
        match event:
            case LogLine(text=text) if (prefix := next(filter(text.startswith, SPEAKERS), None)) is not None:
                said = text[len(prefix) :]
                events.append(Transcript(SPEAKERS[prefix], said, status=event.status, raw=event.raw))
            case UnknownEvent(type="task_stream_end"):
                events.append(TurnEnded(status=event.status, raw=event.raw))
            case _:
                events.append(event)
    return events
