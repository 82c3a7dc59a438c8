"""Parse the server-sent events of Run/…/sync?stream=true. https://wiro.ai/docs/run-a-model"""

from __future__ import annotations

import attrs

from wiro_async._errors import DecodingError
from wiro_async._protocol.messages.frames import Message
from wiro_async._protocol.messages.lazy_text import parse_event_head
from wiro_async._protocol.tasks.records import Submitted, parse_run_ids, tasks_of
from wiro_async._protocol.values.json import JSON, decode_object, decode_or_none
from wiro_async._protocol.values.parsing import as_dict, as_id, as_list, as_new_id, as_text
from wiro_async._records import status as states
from wiro_async._records.task_info import TaskInfo

MAX_EVENT = 64 * 1024 * 1024
BOM = b"\xef\xbb\xbf"


@attrs.frozen
class ServerEvent:
    """One server-sent event."""

    name: str
    data: str = attrs.field(repr=False)


class EventParser:
    """Parse server-sent events out of chunks that are cut anywhere.

    https://html.spec.whatwg.org/#event-stream-interpretation
    """

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max_event = max_event  # bytes
        self._rest: list[bytes] = []
        self._name = ""
        self._data: list[str] = []
        self._size = 0  # bytes of the event that is not complete yet

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Take a chunk, and return the events that it completes. Raises `DecodingError` for an event without an end."""
        self._rest.append(chunk)
        self._size += len(chunk)
        if self._size > self._max_event:
            raise DecodingError(f"an event of the event stream is larger than {self._max_event} bytes")
        # A long line comes in many chunks, which are joined when it ends. The chunk before may hold half of "\r\n".
        if not any(b"\n" in part or b"\r" in part for part in self._rest[-2:]):
            return []
        text = b"".join(self._rest)
        end = len(text) - text.endswith(b"\r")
        lines = text[:end].splitlines(keepends=True)
        rest = lines.pop() if lines and not lines[-1].endswith((b"\r", b"\n")) else b""
        self._rest = [rest + text[end:]]
        events: list[ServerEvent] = []
        for line in lines:
            name, _, value = line.rstrip(b"\r\n").removeprefix(BOM).partition(b":")
            if not line.rstrip(b"\r\n"):  # an empty line ends an event
                if self._data:
                    events.append(ServerEvent(self._name or "message", "\n".join(self._data)))
                self._name, self._data, self._size = "", [], len(self._rest[0])
            elif name == b"event":
                self._name = value.removeprefix(b" ").decode(errors="replace")
            elif name == b"data":
                self._data.append(value.removeprefix(b" ").decode(errors="replace"))
        return events


def parse_event(event: ServerEvent) -> Submitted | Message | TaskInfo | None:
    """Parse an event: "start" has the ids of the task, "done" its last state, the others are messages about it."""
    if event.name == states.OUTPUT and (head := parse_event_head(event.data)) is not None:
        return Message(
            event.name,
            as_text(head.get("id")),
            "",
            None,
            lambda: _as_frame(event.name, as_dict(decode_or_none(event.data))),
        )
    data = decode_object(event.data, {"start": "taskid", "done": "tasklist"}.get(event.name, "id"))
    if data is None and event.name == "start":
        data = parse_run_ids(event.data.encode())
    if data is None:
        return None
    match event.name:
        case "done":
            return next(iter(tasks_of(data)), None)
        case "start":
            return _parse_ids(data)
        case name:
            kind = name if name in states.RANK else as_text(data.get("status")) or name
            ids = _parse_ids(data)
            task_id, token = (ids.task_id, ids.token) if ids else ("", None)
            return Message(kind, task_id, token or "", _as_frame(kind, data))


def find_ids(parsed: Submitted | Message | TaskInfo | None) -> Submitted | None:
    match parsed:
        case Message(task_id=task_id, token=token) if task_id or token:
            return Submitted(task_id, token or None)
        case TaskInfo(id=task_id, token=token) if task_id or token:
            return Submitted(task_id, token)
        case Submitted():
            return parsed
    return None


def _parse_ids(data: dict[str, JSON]) -> Submitted | None:
    """Parse the ids in an event's data: as Run answers, as Task/Detail does, or one level deeper."""
    outer = (data, as_dict(data.get("data")))
    for place in (*outer, *(as_dict(row) for around in outer for row in as_list(around.get("tasklist"))[:1])):
        task_id = as_new_id(place.get("taskid")) or as_new_id(place.get("id"))
        token = as_id(place.get("socketaccesstoken")) or as_id(place.get("tasktoken"))
        if task_id or token:
            return Submitted(task_id, token or None)
    return None


def _as_frame(kind: str, data: dict[str, JSON]) -> dict[str, JSON]:
    """The frame by which the socket would report the same."""
    return {"type": kind, "message": data, "id": data.get("id")}
