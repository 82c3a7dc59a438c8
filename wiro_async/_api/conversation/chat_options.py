"""The settings of a conversation and of its turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TypeAlias, TypedDict

import attrs

from wiro_async._api.conversation.tools import OnToolError, Tools
from wiro_async._errors import InvalidInputError
from wiro_async._protocol.conversations.tool_calls import ToolOutput
from wiro_async._protocol.http.requests import to_mapping
from wiro_async._public import public
from wiro_async._types import Input, OnCancel, Timeouts

Messages: TypeAlias = Sequence[Mapping[str, object]]
ToolOutputs: TypeAlias = Mapping[str, object] | Sequence[ToolOutput | Mapping[str, object]]
OURS = ("session_id", "previousTaskToken", "toolOutputs")
OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")


@public
class ChatSettings(TypedDict, total=False):
    """Keyword arguments of conversations and turns; `Conversation` tells what they mean."""

    input: Input | None
    tools: Tools
    tool_choice: str | Mapping[str, object] | None
    parallel_tool_calls: bool | None
    run_tools: bool
    max_turns: int
    on_tool_error: OnToolError
    raise_on_finish: Sequence[str]
    timeout: float | Timeouts | None
    queue_timeout: float | None
    callback_url: str | None
    project_id: str | None
    on_cancel: OnCancel
    validate: bool | None


@public
class TurnSettings(ChatSettings, total=False):
    """Keyword arguments of one turn; `Conversation.send` tells what they mean."""

    messages: Messages | None
    tool_outputs: ToolOutputs | None


@attrs.frozen
class ChatOptions:
    """The settings, checked."""

    input: Input | None = None
    tools: Tools = ()
    tool_choice: str | Mapping[str, object] | None = None
    parallel_tool_calls: bool | None = None
    run_tools: bool = False
    max_turns: int = 10
    on_tool_error: OnToolError = "tell"
    raise_on_finish: Sequence[str] = ()
    timeout: float | Timeouts | None = None
    queue_timeout: float | None = None
    callback_url: str | None = attrs.field(default=None, repr=False)
    project_id: str | None = None
    on_cancel: OnCancel = "stop"
    validate: bool | None = None

    def __attrs_post_init__(self) -> None:
        _check_tools(self.tools)
        given = self.parameters
        wrong = [name for name in OURS if name in given]
        if wrong:
            raise InvalidInputError(message=f"{wrong[0]} is in the input; the conversation sets it by itself")
        twice = [name for name in OF_TOOLS if getattr(self, name) not in ((), None) and name in given]
        if twice:
            raise InvalidInputError(message=f"{twice[0]} is given, and is in the input too; give one of them")
        if self.max_turns < 1:
            raise InvalidInputError(message=f"max_turns is {self.max_turns!r}; give 1 or more")
        if self.on_tool_error not in ("tell", "raise"):
            raise InvalidInputError(message=f"on_tool_error is {self.on_tool_error!r}; give 'tell' or 'raise'")
        if isinstance(self.raise_on_finish, str):
            raise InvalidInputError(message=f"raise_on_finish is text; give ({self.raise_on_finish!r},)")

    @property
    def parameters(self) -> Input:
        """The input, if there is one."""
        return to_mapping(self.input)

    def for_turn(self, settings: ChatSettings) -> ChatOptions:
        """The same for one turn, with what is given for it; inputs are put together."""
        check_names(settings)
        both: ChatSettings = {**settings, "input": {**self.parameters, **to_mapping(settings.get("input"))}}
        return attrs.evolve(self, **both)


def check_names(settings: Mapping[str, object]) -> None:
    """Raises TypeError for a setting that there is not."""
    known = TurnSettings.__annotations__
    for name in settings.keys() - known.keys():
        meant = get_close_matches(name, known, 1)
        hint = f"did you mean {meant[0]}?" if meant else f"these are all: {', '.join(known)}"
        raise TypeError(f"there is no setting {name}; {hint}")


def _check_tools(tools: object) -> None:
    if isinstance(tools, Sequence) and not isinstance(tools, str):
        return
    name = getattr(tools, "__name__", "…")
    raise InvalidInputError(message=f"tools is a {type(tools).__name__}; give a list: tools=[{name}]")
