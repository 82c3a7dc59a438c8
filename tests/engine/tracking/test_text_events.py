"""Text, from frames to deltas: any news in any order, read at any speed.

HYPOTHESIS_PROFILE=thorough runs 10,000 scenarios.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias, cast, get_args

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiro_async import LogLine, StatusChanged, TaskEvent, TaskInfo, TextDelta, TextReset, Tuning
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.tracking.event_buffer import EventBuffer
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._protocol.messages import frames as messages
from wiro_async._protocol.messages.event_stream import ServerEvent, parse_event
from wiro_async._protocol.messages.frames import Message, parse_frame
from wiro_async._protocol.messages.text_snapshot import falls_short
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values import json as json_module

EXAMPLES = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 150
Generation: TypeAlias = Literal["raw", "lists", "segments", "wrapped"]
Envelope: TypeAlias = Literal["socket", "text", "odd", "sse"]
Other: TypeAlias = Literal["read", "log", "lost"]
GENERATIONS = st.sampled_from(get_args(Generation))
ENVELOPES = st.sampled_from(get_args(Envelope))
OTHERS = st.lists(st.sampled_from(get_args(Other)), max_size=2)
CHARACTERS = st.sampled_from("abc é–光😀<>/\n")
PIECES = st.text(CHARACTERS, max_size=8)
HALVES = st.sampled_from(["", "", "\ufffd", "\ud83d"])


@attrs.frozen
class Version:
    """What the model had written at one moment, and the form of its message."""

    thinking: str
    answer: str
    generation: Generation
    half: str = ""  # of the next character
    envelope: Envelope = "socket"

    def content(self, closing: str = "") -> dict[str, Any]:
        thinking, answer = self.thinking, self.answer + self.half
        if self.generation == "segments":
            return {"segments": [{"type": "thinking", "text": thinking}, {"type": "answer", "text": answer}]}
        if self.generation == "raw":
            return {"raw": answer}
        if self.generation == "wrapped":
            answer = f"\n<answer>{answer}{closing}"
        return {"isThinking": not answer, "raw": "", "thinking": [thinking] if thinking else [], "answer": [answer]}

    def message(self) -> Message:
        body: dict[str, Any] = {"type": "answer", "speed": "6.0", **self.content()}
        if self.envelope == "sse":
            event = parse_event(ServerEvent("task_output", json.dumps({"id": "7", "status": "task_output", **body})))
            assert isinstance(event, Message)
            return event
        frame: dict[str, Any] = {"type": "task_output", "id": "7", "message": body, "result": True}
        if self.envelope == "text":
            frame["message"] = json.dumps(body)
        if self.envelope == "odd":
            frame = dict(reversed(frame.items()))
        message = parse_frame(json.dumps(frame).encode())
        assert message is not None
        return message

    def said(self, kind: str) -> str:
        """Return a text as the message has it."""
        return "" if kind == "thinking" and self.generation == "raw" else getattr(self, kind)

    def detail(self) -> tuple[TaskInfo, str, str]:
        """Return the task at its end, and its texts."""
        record = {"id": "7", "status": "task_postprocess_end", "pexit": "0"}
        outputs: Any = [{"contenttype": "raw", "content": {"prompt": "x", **self.content("</answer> ")}}]
        thinking = "" if self.generation == "raw" else self.thinking
        return parse_task({**record, "outputs": outputs}), thinking, self.answer


@st.composite
def versions(draw: st.DrawFn) -> list[Version]:
    """A model writes. Sometimes it takes text back, or changes the form of its messages."""
    written, thinking, answer = list[Version](), "", ""
    for _ in range(draw(st.integers(1, 12))):
        match draw(st.sampled_from(["think", "answer", "answer", "answer", "rethink", "rewrite", "shorten"])):
            case "think":
                thinking += draw(PIECES)
            case "answer":
                answer += draw(PIECES)
            case "rethink":
                thinking = draw(PIECES)
            case "rewrite":
                answer = draw(PIECES)
            case _:
                answer = answer[: draw(st.integers(0, len(answer)))]
        written.append(Version(thinking, answer, draw(GENERATIONS), draw(HALVES), draw(ENVELOPES)))
    return written


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Version], list[Version | Other], Version]:
    """Versions, their arrival with gaps, repeats and other events in between, and the end."""
    whole = draw(versions())
    arrived: list[Version | Other] = []
    for version in draw(st.lists(st.sampled_from(whole), max_size=2 * len(whole))) if draw(st.booleans()) else whole:
        arrived += [version, *draw(OTHERS)]
    end = attrs.evolve(whole[-1], half="", generation=draw(GENERATIONS))
    if draw(st.booleans()):
        end = attrs.evolve(end, answer=draw(st.sampled_from([end.answer.rstrip(), end.answer[:1], "other", "<"])))
    if end.generation == "raw" or not end.thinking:  # else it would have no text at all
        end = attrs.evolve(end, answer=end.answer or "end")
    return whole, arrived, end


def _release(task: TrackedTask) -> None: ...


async def _nothing() -> None: ...


def listened_to(limit: int = 10_000) -> tuple[TrackedTask, EventBuffer]:
    """A task with a listener."""
    calls = cast("TaskCalls", SimpleNamespace(client=SimpleNamespace(account="")))
    background = BackgroundTasks(_nothing, _nothing)
    tracked = TrackedTask(TrackedTask.apply, _release, background, Tuning(), calls, TaskRef("7", "token"), None)
    buffer = EventBuffer(limit)
    tracked.listen(buffer)
    return tracked, buffer


async def available(tracked: TrackedTask, buffer: EventBuffer) -> AsyncIterator[TaskEvent]:
    """Yield the events that can be read now."""
    while True:
        if not buffer:
            tracked.catch_up()
        if not buffer:
            return
        yield buffer.pop()


class Reader:
    """Joins deltas, and clears the text at resets."""

    def __init__(self) -> None:
        self.text = {"thinking": "", "answer": ""}
        self.resets = list[str]()

    async def read(self, tracked: TrackedTask, buffer: EventBuffer) -> None:
        async for event in available(tracked, buffer):
            if isinstance(event, TextDelta):
                assert event.text
                event.text.encode()
                self.text[event.kind] += event.text
            elif isinstance(event, TextReset):
                self.text[event.kind] = ""
                self.resets.append(event.kind)


async def follow(arrived: list[Version | Other], end: TaskInfo) -> tuple[list[Reader], dict[str, str]]:
    """Play a delivery to a reader that reads sometimes, and to one that comes late. Also return what was known."""
    tracked, buffer = listened_to()
    reader, late, second = Reader(), Reader(), EventBuffer(10_000)
    for number, item in enumerate(arrived):
        if number == len(arrived) // 2:
            tracked.listen(second)
        match item:
            case "read":
                await reader.read(tracked, buffer)
            case "log":
                tracked.apply(Message("task_output", "7", "", {"type": "task_output", "message": "line"}))
            case "lost":
                tracked.reconnected()
            case _:
                tracked.apply(item.message())
    tracked.catch_up()
    known = {"thinking": tracked.state.text.thinking, "answer": tracked.state.text.answer}
    tracked.apply(end, patient=False)
    await reader.read(tracked, buffer)
    await late.read(tracked, second)
    return ([reader, late] if arrived else [reader]), known


@settings(max_examples=EXAMPLES, deadline=None)
@given(deliveries())
def test_joined_deltas_are_the_final_text(delivery: tuple[list[Version], list[Version | Any], Version]) -> None:
    """Always, unless that is only an older state of what messages brought. A text that only grew is never reset."""
    whole, arrived, end = delivery
    task, thinking, answer = end.detail()
    last = next((version for version in reversed(arrived) if isinstance(version, Version)), None)
    readers, known = asyncio.run(follow(arrived, task))
    for reader in readers:
        for kind, final in (("thinking", thinking), ("answer", answer)):
            if reader.text[kind] != final:
                assert falls_short(final, known[kind])
                assert reader.text[kind] == known[kind]
                is_plain = final.strip() and "<" not in final  # that may be the beginning of a tag
                assert not is_plain or last is None or last.said(kind) != final
        answers = [version.answer for version in whole] + [answer]
        if all(after.startswith(before) for before, after in pairwise(answers)):
            assert "answer" not in reader.resets


def frame(text: str) -> bytes:
    """A message with the text so far."""
    return json.dumps({"type": "task_output", "id": "7", "message": {"type": "answer", "raw": text}}).encode()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The frames that were decoded."""
    frames: list[bytes] = []
    decode = json_module.decode_or_none

    def record(data: bytes) -> Any:
        frames.append(data)
        return decode(data)

    monkeypatch.setattr(messages, "decode_or_none", record)
    return frames


def receive(tracked: TrackedTask, data: bytes) -> None:
    """Receive a frame."""
    message = parse_frame(data)
    assert message is not None
    tracked.apply(message)


async def test_for_a_slow_reader_only_the_newest_is_decoded(decoded: list[bytes]) -> None:
    """A message that a newer one replaces is never decoded."""
    tracked, buffer = listened_to()
    for end in range(1, 100):
        receive(tracked, frame("x" * end))
    assert decoded == []
    events = [event async for event in available(tracked, buffer)]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["x" * 99]
    assert decoded == [frame("x" * 99)]
    assert [type(event) for event in events] == [StatusChanged, TextDelta]


async def test_without_a_listener_nothing_is_decoded(decoded: list[bytes]) -> None:
    """The message still counts as a sign of life, and sets the status."""
    tracked, buffer = listened_to()
    tracked.unlisten(buffer)
    before = tracked.last_sign
    await asyncio.sleep(0.01)
    receive(tracked, frame("x"))
    assert (decoded, tracked.state.status, tracked.schedule.was_heard) == ([], "task_output", True)
    assert tracked.last_sign > before


async def test_other_messages_are_not_overtaken(decoded: list[bytes]) -> None:
    """Text is reported before the events that came after it."""
    tracked, buffer = listened_to()
    receive(tracked, frame("x"))
    receive(tracked, b'{"type":"task_end","id":"7"}')
    receive(tracked, frame("x, y"))
    events = [event async for event in available(tracked, buffer)]
    assert [type(event) for event in events] == [StatusChanged, TextDelta, StatusChanged, TextDelta]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["x", ", y"]


async def test_text_before_a_cancellation_is_reported() -> None:
    """The caller that cancels may want the text so far."""
    tracked, buffer = listened_to()
    receive(tracked, frame("half a sen"))
    tracked.apply(parse_task({"id": "7", "status": "task_cancel"}))
    reader = Reader()
    await reader.read(tracked, buffer)
    assert reader.text["answer"] == "half a sen"


async def test_text_is_never_dropped() -> None:
    """Of many unread lines, the newest are kept. All text is kept."""
    tracked, buffer = listened_to(20)
    for end in range(1, 100):
        receive(tracked, frame("x" * end))
        tracked.apply(Message("task_output", "7", "", {"type": "task_output", "message": f"line {end}"}))
    tracked.apply(Version("", "x" * 100, "raw").detail()[0])
    events = [event async for event in available(tracked, buffer)]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "x" * 100
    assert [event.text for event in events if isinstance(event, LogLine)][-1] == "line 99"
    assert len(events) == 20


async def test_texts_that_were_taken_back_are_not_kept() -> None:
    """A model that starts over repeatedly fills no memory while there is no reader."""
    tracked, buffer = listened_to()
    for number in range(100):
        receive(tracked, frame(f"{number} again"))
        tracked.catch_up()
    events = [event async for event in available(tracked, buffer)]
    assert [type(event) for event in events] == [StatusChanged, TextReset, TextDelta]


async def test_pieces_of_text_do_not_keep_all_of_it() -> None:
    """Otherwise a list of all pieces would hold the whole text once for each piece."""
    tracked, buffer = listened_to()
    receive(tracked, frame("Hello"))
    (piece,) = [event async for event in available(tracked, buffer) if isinstance(event, TextDelta)]
    assert piece.raw == {"type": "task_output", "id": "7", "message": {"type": "answer"}}
