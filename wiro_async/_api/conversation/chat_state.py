"""What a conversation keeps from turn to turn."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import attrs

from wiro_async._api.conversation.chat_settings import ToolOutputs
from wiro_async._api.conversation.turn_result import TurnResult
from wiro_async._api.results.task_result import TaskResult
from wiro_async._errors import ConversationBusyError, InvalidInputError
from wiro_async._protocol.conversations.usage import add_usage
from wiro_async._protocol.messages.tool_calls import ToolOutput
from wiro_async._protocol.models.model import TURNS
from wiro_async._protocol.values.json import JSON, to_json
from wiro_async._protocol.values.parsing import as_texts


@attrs.define(eq=False)
class ChatState:
    """The state of a conversation. Only a turn that ended well advances it.

    Attributes:
        token: of the last run of the last good turn.
        sends_token: whether the model continues by token. Older models remember by session_id alone.
        history: the good turns.
        cost, usage: of all runs that ended, also those of turns that failed.
    """

    session_id: str
    token: str | None = attrs.field(repr=False)
    user_id: str | None
    sends_token: bool = True
    history: list[TurnResult[Any]] = attrs.field(factory=list)
    cost: Decimal = Decimal(0)
    usage: Mapping[str, JSON] = attrs.field(factory=dict)
    _is_busy: bool = False

    @contextmanager
    def turn(self) -> Generator[None]:
        """Enclose one turn. Raises `ConversationBusyError` within another one."""
        if self._is_busy:
            raise ConversationBusyError(
                "this conversation is still in a turn: wait for its end, or leave its `async with`; "
                "other conversations may run at the same time"
            )
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters that identify the conversation in every run."""
        token = self.token if self.sends_token else None
        given = {"session_id": self.session_id, "user_id": self.user_id, "previousTaskToken": token}
        return {name: value for name, value in given.items() if value is not None}

    def add_run(self, result: TaskResult) -> None:
        self.cost += result.cost or 0
        self.usage = add_usage(self.usage, result.usage)

    def advance(self, turn: TurnResult[Any]) -> None:
        """Continue from a turn that ended well."""
        self.token = turn.info.token
        categories = as_texts(turn.info.raw.get("categories"))
        self.sends_token = TURNS in categories if categories else bool(turn.finish_reason or turn.segments)
        self.history.append(turn)

    def tool_outputs(self, given: ToolOutputs) -> list[dict[str, JSON]]:
        """The outputs of the caller, with those of tools that were run here, as they are sent.

        Raises:
            InvalidInputError: they are not the outputs that the last turn waits for.
        """
        outputs: dict[str, JSON] = {}
        items = given.items() if isinstance(given, Mapping) else map(_id_and_output, given)
        for call_id, output in items:
            outputs[call_id] = to_json(output, f"the output of {call_id}")
        if not self.history:
            return to_wire(outputs.items())  # a conversation that was resumed does not know the calls
        last = self.history[-1]
        pending = {call.call_id: call.name for call in last.pending_calls}
        if unknown := sorted(outputs.keys() - pending.keys()):
            waiting = ", ".join(pending) or "none"
            raise InvalidInputError(message=f"no call {unknown[0]!r} waits for an output; these do: {waiting}")
        if missing := [call_id for call_id in pending if call_id not in outputs]:
            name = pending[missing[0]]
            raise InvalidInputError(message=f"call {missing[0]!r} of {name} has no output; every call needs one")
        return to_wire(({output.call_id: output.output for output in last.open_outputs} | outputs).items())


def to_wire(outputs: Iterable[tuple[str, JSON]]) -> list[dict[str, JSON]]:
    """Tool outputs, by the ids of their calls, as they are sent."""
    return [{"call_id": call_id, "output": output} for call_id, output in outputs]


def _id_and_output(item: ToolOutput | Mapping[str, object]) -> tuple[str, object]:
    if isinstance(item, ToolOutput):
        return item.call_id, item.output
    call_id = item.get("call_id")
    if not isinstance(call_id, str):
        raise InvalidInputError(message=f"{item!r} has no call_id; give tool_outputs={{call.call_id: output, …}}")
    return call_id, item.get("output")
