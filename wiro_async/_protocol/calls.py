"""What an LLM asks for beyond text: calls of tools. https://wiro.ai/docs/run-a-model"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import attrs

from wiro_async._protocol.events import TaskEvent
from wiro_async._protocol.json import JSON
from wiro_async._protocol.values import as_text, as_text_or_none

TYPES = ("function_call", "custom_tool_call")
COMPLETED = "completed"
ASKS = "tool_calls"  # the finish reason of a run whose completed calls may be run


@attrs.frozen(kw_only=True)
class ToolCall(TaskEvent):
    """A call that an LLM asks for: in `result.tool_calls`, and as an event once it is complete.

    Run it only when its run has ended with the finish reason "tool_calls".

    Attributes:
        call_id: what its output must be sent back under.
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


def calls_in(segments: Sequence[Mapping[str, JSON]]) -> tuple[ToolCall, ...]:
    """The calls of a timeline, complete or not, in order."""
    return tuple(_call(segment) for segment in segments if segment.get("type") in TYPES)


def is_complete_call(segment: Mapping[str, JSON], known: Container[object] = ()) -> bool:
    """Whether a segment is a call that the model has completed, and that is not among the known ids."""
    is_call = segment.get("type") in TYPES and segment.get("status") == COMPLETED
    return is_call and as_text(segment.get("call_id")) not in known


def _call(segment: Mapping[str, JSON]) -> ToolCall:
    return ToolCall(
        id=as_text(segment.get("id")),
        call_id=as_text(segment.get("call_id")),
        name=as_text(segment.get("name")),
        arguments=as_text_or_none(segment.get("arguments")) or as_text(segment.get("input")),
        status=as_text(segment.get("status")),
        raw=segment,
    )
