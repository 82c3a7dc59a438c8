"""What an LLM asks for beyond text: calls of tools. https://wiro.ai/docs/run-a-model"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from wiro_async._protocol.messages.text_snapshot import CALL_TYPES
from wiro_async._protocol.tasks.events import TaskEvent
from wiro_async._protocol.values.json import JSON, encode
from wiro_async._protocol.values.parsing import as_text
from wiro_async._public import public

COMPLETED = "completed"
ASKS = "tool_calls"  # the finish reason of a run whose completed calls may be run


@public
@attrs.frozen(kw_only=True)
class ToolCall(TaskEvent):
    """A call that an LLM asks for: in `result.tool_calls`, and as an event once it is complete.

    Run it only when its run has ended with the finish reason "tool_calls".

    Attributes:
        call_id: what its output must be sent back under; its `id`, where the model tells none.
        name: the tool.
        arguments: JSON text (for a custom tool its plain input).
        status: the call's own; only a "completed" call may be run.
    """

    id: str
    call_id: str
    name: str
    arguments: str
    status: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the model has written all of it."""
        return self.status == COMPLETED

    @property
    def key(self) -> str:
        """What tells it apart from others of its run: its id, or else what it asks."""
        return self.call_id or f"{self.name} {self.arguments}"


@public
@attrs.frozen
class ToolOutput(TaskEvent):
    """What a tool gave for a call: as an event of a conversation's stream, and in `turn.tool_outputs`.

    Attributes:
        call_id: of the call.
        name: the tool.
        output: what the model is told.
        failed: whether that is an error's text.
    """

    call_id: str
    name: str
    output: JSON
    failed: bool = False


def calls_in(segments: Iterable[Mapping[str, JSON]]) -> tuple[ToolCall, ...]:
    """The calls of a timeline, complete or not, in order; one that is told again stays as it was first complete."""
    calls: dict[str, ToolCall] = {}
    for segment in segments:
        if segment.get("type") in CALL_TYPES:
            call = _call(segment)
            if call.key not in calls or not calls[call.key].is_complete:
                calls[call.key] = call
    return tuple(calls.values())


def _call(segment: Mapping[str, JSON]) -> ToolCall:
    own = as_text(segment.get("id"))
    return ToolCall(
        id=own,
        call_id=as_text(segment.get("call_id")) or own,
        name=as_text(segment.get("name")),
        arguments=_json_text(segment.get("arguments")) or _json_text(segment.get("input")),
        status=as_text(segment.get("status")),
        raw=segment,
    )


def _json_text(value: JSON) -> str:
    """JSON text as it is, and an object as JSON text, so that a tool is never called without what was meant for it."""
    return encode(value).decode() if isinstance(value, (dict, list)) else as_text(value)
