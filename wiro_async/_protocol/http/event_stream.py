"""What the events of Run/…/sync?stream=true say. https://wiro.ai/docs/run-a-model"""

from __future__ import annotations

import attrs

from wiro_async._protocol.messages.frames import Message
from wiro_async._protocol.messages.lazy_text import parse_event_head
from wiro_async._protocol.tasks import status as states
from wiro_async._protocol.tasks.records import Submitted, TaskInfo, tasks_of
from wiro_async._protocol.values.json import JSON, decode_or_none
from wiro_async._protocol.values.parsing import as_dict, as_list, as_text

BOM = b"\xef\xbb\xbf"


@attrs.frozen
class ServerEvent:
    """One server-sent event."""

    name: str
    data: str = attrs.field(repr=False)


class EventParser:
    """Server-sent events out of a stream of bytes, cut anywhere. https://html.spec.whatwg.org/#event-stream-interpretation"""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that are complete now."""
        self._rest.append(chunk)
        if not any(map(_may_end_a_line, self._rest[-2:])):
            return []
        text = b"".join(self._rest)
        end = len(text) - text.endswith(b"\r")  # perhaps half of a line's end
        lines = text[:end].splitlines(keepends=True)
        rest = lines.pop() if lines and not lines[-1].endswith((b"\r", b"\n")) else b""
        self._rest = [rest + text[end:]]
        return [event for line in lines if (event := self._take(line.rstrip(b"\r\n"))) is not None]

    def _take(self, line: bytes) -> ServerEvent | None:
        if not line:
            event = ServerEvent(self._name or "message", "\n".join(self._data)) if self._data else None
            self._name, self._data = "", []
            return event
        name, _, rest = line.removeprefix(BOM).partition(b":")
        value = rest.removeprefix(b" ").decode(errors="replace")
        if name == b"event":
            self._name = value
        elif name == b"data":
            self._data.append(value)
        return None


def _may_end_a_line(chunk: bytes) -> bool:
    return b"\n" in chunk or b"\r" in chunk


def parse_event(event: ServerEvent) -> Submitted | Message | TaskInfo | None:
    """The ids of the task (from "start"), a message about it, its last state (from "done"), or nothing."""
    if event.name == states.OUTPUT and (told := parse_event_head(event.data)) is not None:
        return Message(event.name, as_text(told.get("id")), "", None, lambda: _opened(event))
    data = decode_or_none(event.data)
    if not isinstance(data, dict):
        return None
    if event.name == "done":
        tasks = tasks_of(data)
        return tasks[0] if tasks else None
    if event.name == "start":
        return _submitted(data)
    status = as_text(data.get("status")) or event.name
    kind = event.name if event.name in states.RANK else status
    submitted = _submitted(data)
    task_id, token = (submitted.task_id, submitted.token) if submitted else ("", None)
    return Message(kind, task_id, token or "", _as_frame(kind, data))


def find_ids(told: Submitted | Message | TaskInfo | None) -> Submitted | None:
    """The ids of the task that an event is about, as far as it tells them."""
    match told:
        case Message(task_id=task_id, token=token) if task_id or token:
            return Submitted(task_id, token or None)
        case TaskInfo(id=task_id, token=token) if task_id or token:
            return Submitted(task_id, token)
        case Submitted():
            return told
    return None


def _submitted(data: dict[str, JSON]) -> Submitted | None:
    """The ids in an event's data: as Run answers, as Task/Detail does, or one level deeper."""
    outer = (data, as_dict(data.get("data")))
    for place in (*outer, *(as_dict(row) for around in outer for row in as_list(around.get("tasklist"))[:1])):
        task_id = as_text(place.get("taskid")) or as_text(place.get("id"))
        token = as_text(place.get("socketaccesstoken")) or as_text(place.get("tasktoken"))
        if task_id or token:
            return Submitted(task_id, token or None)
    return None


def _as_frame(kind: str, data: dict[str, JSON]) -> dict[str, JSON]:
    """The same message as a socket would bring it."""
    return {"type": kind, "message": data, "id": data.get("id")}


def _opened(event: ServerEvent) -> dict[str, JSON]:
    return _as_frame(event.name, as_dict(decode_or_none(event.data)))
