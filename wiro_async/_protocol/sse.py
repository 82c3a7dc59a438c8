"""What the events of Run/…/sync?stream=true say. https://wiro.ai/docs/run-a-model"""

from __future__ import annotations

import attrs

from wiro_async._protocol import status as states
from wiro_async._protocol.entities import Submitted, Task, tasks_of
from wiro_async._protocol.json import decode_or_none
from wiro_async._protocol.messages import Message
from wiro_async._protocol.values import as_text


@attrs.frozen
class ServerEvent:
    """One server-sent event."""

    name: str
    data: str = attrs.field(repr=False)


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
