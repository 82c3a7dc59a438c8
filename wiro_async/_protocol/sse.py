"""What the events of Run/…/sync?stream=true say. https://wiro.ai/docs/run-a-model"""

from __future__ import annotations

import re

import attrs

from wiro_async._protocol import status as states
from wiro_async._protocol.entities import Submitted, Task, tasks_of
from wiro_async._protocol.json import decode_or_none
from wiro_async._protocol.messages import Message
from wiro_async._protocol.values import as_text

LINE_END = re.compile(rb"\r\n|\n|\r")


@attrs.frozen
class ServerEvent:
    """One server-sent event."""

    name: str
    data: str = attrs.field(repr=False)


class EventParser:
    """Server-sent events out of a stream of bytes, cut anywhere. https://html.spec.whatwg.org/#event-stream-interpretation"""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that are complete now."""
        text = self._rest + chunk
        end = len(text) - text.endswith(b"\r")  # perhaps half of a line's end
        *lines, rest = LINE_END.split(text[:end])
        self._rest = rest + text[end:]
        return [event for line in lines if (event := self._take(line)) is not None]

    def _take(self, line: bytes) -> ServerEvent | None:
        if not line:
            event = ServerEvent(self._name or "message", "\n".join(self._data)) if self._data else None
            self._name, self._data = "", []
            return event
        field, _, value = line.decode(errors="replace").removeprefix("\ufeff").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        return None


def told_by(event: ServerEvent) -> Submitted | Message | Task | None:
    """The ids of the task (from "start"), a message about it, its last state (from "done"), or nothing."""
    data = decode_or_none(event.data)
    if not isinstance(data, dict):
        return None
    if event.name == "done":
        tasks = tasks_of(data)
        return tasks[0] if tasks else None
    if event.name == "start":
        return Submitted.from_wire(data) or Submitted.from_wire({"taskid": data.get("id")})
    status = as_text(data.get("status")) or event.name
    kind = event.name if event.name in states.RANK else status
    return Message(kind, as_text(data.get("id")), "", {"type": kind, "message": data, "id": data.get("id")})
