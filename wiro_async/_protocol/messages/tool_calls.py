"""Tool calls of LLMs, and the outputs of tools. https://wiro.ai/docs/run-a-model"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from wiro_async._protocol.messages.text_snapshot import CALL_TYPES
from wiro_async._protocol.values.json import JSON, encode
from wiro_async._protocol.values.parsing import as_text
from wiro_async._public import public
from wiro_async._records.task_event import TaskEvent

COMPLETED = "completed"
ASKS = "tool_calls"  # the finish reason of a run whose completed calls may be run


@public
@attrs.frozen(kw_only=True)
class ToolCall(TaskEvent):
    """A tool call that an LLM asks for: in `result.tool_calls`, and as an event once it is complete.

    Run the tool only when the run has ended with the finish reason "tool_calls".

    Attributes:
        call_id: the id to send its output with. Equals `id` where the model gives none.
        name: the tool.
        arguments: JSON text, or the plain input of a custom tool.
        status: of the call. Only a "completed" call may be run.
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
        """What identifies it within its run: its id, else its name and arguments."""
        return self.call_id or f"{self.name} {self.arguments}"


@public
@attrs.frozen
class ToolOutput(TaskEvent):
    """The output of a tool for a call: an event of a conversation's stream, also in `turn.tool_outputs`.

    Attributes:
        call_id: of the call.
        name: the tool.
        output: what is sent to the model.
        failed: whether that is the text of an error.
    """

    call_id: str
    name: str
    output: JSON
    failed: bool = False


def calls_in(segments: Iterable[Mapping[str, JSON]]) -> tuple[ToolCall, ...]:
    """The calls of a timeline, complete or not, in order. A repeated call stays as it was first complete."""
    calls: dict[str, ToolCall] = {}
    for segment in segments:
        if segment.get("type") in CALL_TYPES:
            own_id = as_text(segment.get("id"))
            call = ToolCall(
                id=own_id,
                call_id=as_text(segment.get("call_id")) or own_id,
                name=as_text(segment.get("name")),
                arguments=_json_text(segment.get("arguments")) or _json_text(segment.get("input")),
                status=as_text(segment.get("status")),
                raw=segment,
            )
            if call.key not in calls or not calls[call.key].is_complete:
                calls[call.key] = call
    return tuple(calls.values())


def _json_text(value: JSON) -> str:
    """JSON text as it is, other JSON as text: some models send the arguments as an object."""
    return encode(value).decode() if isinstance(value, (dict, list)) else as_text(value)
