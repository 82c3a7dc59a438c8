"""What a conversation remembers from turn to turn."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import attrs

from wiro_async._api.conversation.chat_options import ToolOutputs
from wiro_async._api.conversation.turn_result import TurnResult
from wiro_async._api.results.task_result import TaskResult
from wiro_async._errors import ConversationBusyError, InvalidInputError
from wiro_async._protocol.conversations.tool_calls import ToolCall, ToolOutput
from wiro_async._protocol.conversations.usage import summed
from wiro_async._protocol.models.model import TURNS
from wiro_async._protocol.values.json import JSON, to_json
from wiro_async._protocol.values.parsing import as_texts


@attrs.define(eq=False)
class ChatState:
    """Where a conversation stands; only a turn that ended well moves it on.

    Attributes:
        token: of the last good turn's last run.
        sends_token: whether the model goes by it; older ones remember by session_id alone.
        history: the good turns.
        cost, usage: of all runs that ended, also those of turns that were of no use.
    """

    session_id: str
    token: str | None = attrs.field(repr=False)
    user_id: str | None
    sends_token: bool = True
    history: list[TurnResult[Any]] = attrs.field(factory=list)
    cost: Decimal = Decimal(0)
    usage: Mapping[str, JSON] = attrs.field(factory=dict)
    _busy: bool = False

    @contextmanager
    def turn(self) -> Generator[None]:
        """For one turn; raises `ConversationBusyError` within another one."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        """Start a turn. Raises `ConversationBusyError` while another one runs."""
        if self._busy:
            raise ConversationBusyError(
                "this conversation is still in a turn: wait for its end, or leave its `async with`; "
                "other conversations may run at the same time"
            )
        self._busy = True

    def end(self) -> None:
        """A turn ended, well or not."""
        self._busy = False

    def count(self, result: TaskResult) -> None:
        """A run ended, and is paid for."""
        self.cost += result.cost or 0
        self.usage = summed(self.usage, result.usage)

    def move_on(self, turn: TurnResult[Any]) -> None:
        """A turn ended well."""
        self.token, self.sends_token = turn.info.token, _takes_turns(turn)
        self.history.append(turn)

    @property
    def own(self) -> dict[str, object]:
        """What every run of the conversation says."""
        said = {"session_id": self.session_id, "user_id": self.user_id}
        if self.sends_token:
            said["previousTaskToken"] = self.token
        return {name: value for name, value in said.items() if value is not None}

    def answers(self, given: ToolOutputs) -> list[dict[str, JSON]]:
        """The caller's outputs, with those of tools that were run here. Raises `InvalidInputError`."""
        outputs = {call_id: to_json(output, f"the output of {call_id}") for call_id, output in _outputs(given).items()}
        if self.history:
            last = self.history[-1]
            _check_ids(set(outputs), last.pending_calls)
            outputs = {output.call_id: output.output for output in last.open_outputs} | outputs
        return wire(outputs.items())


def wire(outputs: Iterable[tuple[str, JSON]]) -> list[dict[str, JSON]]:
    """Outputs and their calls' ids, as they are sent."""
    return [{"call_id": call_id, "output": output} for call_id, output in outputs]


def _outputs(given: ToolOutputs) -> dict[str, object]:
    if isinstance(given, Mapping):
        return dict(given)
    found: dict[str, object] = {}
    for item in given:
        call_id = item.call_id if isinstance(item, ToolOutput) else item.get("call_id")
        if not isinstance(call_id, str):
            raise InvalidInputError(message=f"{item!r} has no call_id; give tool_outputs={{call.call_id: output, …}}")
        found[call_id] = item.output if isinstance(item, ToolOutput) else item.get("output")
    return found


def _check_ids(given: set[str], pending: Sequence[ToolCall]) -> None:
    wanted = {call.call_id: call.name for call in pending}
    if unknown := sorted(given - wanted.keys()):
        waiting = ", ".join(wanted) or "none"
        raise InvalidInputError(message=f"no call {unknown[0]!r} waits for an output; these do: {waiting}")
    if missing := [call_id for call_id in wanted if call_id not in given]:
        raise InvalidInputError(
            message=f"call {missing[0]!r} of {wanted[missing[0]]} has no output; every call needs one"
        )


def _takes_turns(turn: TaskResult) -> bool:
    told = as_texts(turn.info.raw.get("categories"))
    return TURNS in told if told else bool(turn.finish_reason or turn.segments)
