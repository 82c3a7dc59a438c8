"""The socket's frames: the one that registers a task, and those that report on it. https://wiro.ai/docs/websocket"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Literal

import attrs

from wiro_async._protocol.messages.lazy_text import parse_text_head
from wiro_async._protocol.messages.text_snapshot import TEXT_KEYS, TextSnapshot
from wiro_async._protocol.tasks.events import CostUpdate, LogLine, Progress, UnknownEvent
from wiro_async._protocol.tasks.records import decoded
from wiro_async._protocol.values.json import JSON, decode_or_none, encode
from wiro_async._protocol.values.parsing import as_dict, as_float, as_int, as_seconds, as_text
from wiro_async._records import status as states
from wiro_async._records.task_event import Raw, TaskEvent


@attrs.define
class Message:
    """One frame about one task.

    Attributes:
        type: what happened, mostly a status.
        task_id, token: the task; newer frames carry the id only. "" where absent.
        raw: the frame's object; a lazy message decodes it at first use.
        frame: the frame's bytes, if the message was made lazy.
    """

    type: str
    task_id: str
    token: str = attrs.field(repr=False)
    _raw: Raw | None = attrs.field(repr=False)
    _decode: Callable[[], Raw] | None = attrs.field(default=None, repr=False, eq=False)
    frame: bytes | None = attrs.field(default=None, repr=False, eq=False)

    @property
    def raw(self) -> Raw:
        if self._raw is None:
            self._raw = self._decode() if self._decode else {}
            self._decode = None
        return self._raw

    @cached_property
    def payload(self) -> JSON:
        """The message inside: text, an object, a list or nothing. JSON text is decoded."""
        return decoded(self.raw.get("message"))

    @property
    def is_lazy(self) -> bool:
        """Whether it is a snapshot of an LLM's text that was not decoded yet. The next such message replaces it."""
        return self._raw is None

    @property
    def holds_text(self) -> bool:
        """Whether it is such a snapshot, decoded or not."""
        if self.is_lazy:
            return True
        value = self.raw.get("message")
        if isinstance(value, str):
            return value.lstrip()[:1] == "{" and any(f'"{key}"' in value for key in TEXT_KEYS)
        return isinstance(value, dict) and not TEXT_KEYS.isdisjoint(value)


def registration(token: str) -> str:
    """Build the frame that asks for a task's messages."""
    return encode({"type": "task_info", "tasktoken": token}).decode()


def parse_frame(frame: bytes | str) -> Message | None:
    """Parse a text frame; None if it is no message. A snapshot of text stays lazy."""
    if isinstance(frame, bytes) and (head := parse_text_head(frame)) is not None:
        task_id, token = as_text(head.get("id")), as_text(head.get("tasktoken"))
        return Message(states.OUTPUT, task_id, token, None, lambda: as_dict(decode_or_none(frame)), frame)
    raw = decode_or_none(frame)
    if not isinstance(raw, dict):
        return None
    kind = raw.get("type")
    if not isinstance(kind, str):
        return None
    return Message(kind, as_text(raw.get("id")), as_text(raw.get("tasktoken")), raw)


def drop_text(message: Message) -> Raw:
    """The raw message without its text: it is kept with each delta, and all texts so far would fill memory."""
    payload = message.payload
    if not isinstance(payload, dict):
        return message.raw
    rest = {name: value for name, value in payload.items() if name not in TEXT_KEYS}
    return {**message.raw, "message": rest}


def parse_progress(payload: Mapping[str, JSON], status: str, raw: Raw) -> Progress | None:
    """Parse the progress in an object; None without any."""
    percentage = as_float(payload.get("percentage"))
    step, total = as_int(payload.get("stepCurrent")), as_int(payload.get("stepTotal"))
    if percentage is not None:
        fraction = percentage / 100
    elif step is not None and total:
        fraction = step / total
    else:
        return None
    speed = " ".join(filter(None, (as_text(payload.get("speed")), as_text(payload.get("speedType")))))
    return Progress(
        min(1.0, max(0.0, fraction)),
        step,
        total,
        speed or None,
        as_seconds(payload.get("remainingTime")),
        as_text(payload.get("task")),
        status=status,
        raw=raw,
    )


def parse_cost(raw: Raw, status: str) -> CostUpdate:
    return CostUpdate(as_text(raw.get("turnCost")), as_text(raw.get("cumulativeCost")), status=status, raw=raw)


def parse_output(message: Message, status: str) -> TextSnapshot | TaskEvent | None:
    """Parse a `task_output` or `task_error` message: text so far, progress, a line, or something unknown."""
    payload, line = message.payload, message.raw.get("message")
    if isinstance(payload, list) and isinstance(line, str):  # a program has printed a list
        payload = line
    match payload:
        case dict():
            snapshot = TextSnapshot.from_wire(payload)
            if snapshot is not None:
                return snapshot
            progress = parse_progress(payload, status, message.raw)
            if progress is not None or not payload or payload.keys() & TEXT_KEYS:
                return progress
        case str():
            stream: Literal["stdout", "stderr"] = "stderr" if message.type == states.ERROR else "stdout"
            return LogLine(payload, stream, status=status, raw=message.raw) if payload.strip() else None
        case None | []:
            return None
    return UnknownEvent(message.type, status=status, raw=message.raw)
