"""The settings of a conversation and of its turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypedDict

from wiro_async._api.conversation.tools import OnToolError, Tools, ToolTimeout
from wiro_async._errors import InvalidInputError
from wiro_async._protocol.http.requests import to_mapping
from wiro_async._protocol.messages.tool_calls import ToolOutput
from wiro_async._public import public
from wiro_async._types import Input, OnCancel, Timeouts

Messages: TypeAlias = Sequence[Mapping[str, object]]
ToolOutputs: TypeAlias = Mapping[str, object] | Sequence[ToolOutput | Mapping[str, object]]
SET_BY_CONVERSATION = ("session_id", "previousTaskToken", "toolOutputs")
TOOL_PARAMETERS = ("tool_choice", "parallel_tool_calls")  # passed on to the model


@public
class ChatSettings(TypedDict, total=False):
    """Keyword arguments of conversations and turns. `Conversation` documents them, with their defaults."""

    input: Input | None
    tools: Tools
    tool_choice: str | Mapping[str, object] | None
    parallel_tool_calls: bool | None
    run_tools: bool
    max_turns: int
    on_tool_error: OnToolError
    tool_timeout: ToolTimeout | None
    raise_on_finish: Sequence[str]
    timeout: float | Timeouts | None
    queue_timeout: float | None
    callback_url: str | None
    project_id: str | None
    on_cancel: OnCancel
    validate: bool | None


@public
class TurnSettings(ChatSettings, total=False):
    """Keyword arguments of one turn. `Conversation.send` documents them."""

    messages: Messages | None
    tool_outputs: ToolOutputs | None


def check_values(settings: ChatSettings) -> None:
    """Raise `InvalidInputError` for a value that is not allowed, or contradicts another one."""
    tools: object = settings.get("tools", ())
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        name = getattr(tools, "__name__", "…")
        raise InvalidInputError(message=f"tools is a {type(tools).__name__}; give a list: tools=[{name}]")
    parameters = to_mapping(settings.get("input"))
    for name in SET_BY_CONVERSATION:
        if name in parameters:
            raise InvalidInputError(message=f"{name} is in the input; the conversation sets it by itself")
    for name in ("tools", *TOOL_PARAMETERS):
        if name in parameters and settings.get(name) not in ((), None):
            raise InvalidInputError(message=f"{name} is given, and is in the input too; give one of them")
    max_turns: object = settings.get("max_turns", 1)
    if not isinstance(max_turns, int) or isinstance(max_turns, bool) or max_turns < 1:
        raise InvalidInputError(message=f"max_turns is {max_turns!r}; give 1 or more")
    _check_tool_timeout(settings.get("tool_timeout"))
    if (on_tool_error := settings.get("on_tool_error", "tell")) not in ("tell", "raise"):
        raise InvalidInputError(message=f"on_tool_error is {on_tool_error!r}; give 'tell' or 'raise'")
    if isinstance(reasons := settings.get("raise_on_finish", ()), str):
        raise InvalidInputError(message=f"raise_on_finish is text; give ({reasons!r},)")


def _check_tool_timeout(given: object) -> None:
    values: list[object] = [*given.values()] if isinstance(given, Mapping) else [given]
    for seconds in values:
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0
        if seconds is not None and not is_number:
            raise InvalidInputError(
                message=f"tool_timeout is {given!r}; give seconds, or seconds by the names of tools, '*' for all others"
            )


def settings_of_turn(settings: ChatSettings, turn: TurnSettings) -> TurnSettings:
    """The settings of a conversation with those of one turn, which come first. Their inputs are merged.

    Raises:
        InvalidInputError: they contradict one another.
    """
    parameters = {**to_mapping(settings.get("input")), **to_mapping(turn.get("input"))}
    both: TurnSettings = {**settings, **turn, "input": parameters}
    check_values(both)
    return both
