"""Conversations with LLMs as callers use them. https://wiro.ai/docs/llm-chat-streaming"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar, Unpack, overload
from uuid import uuid4

from wiro_async._api.conversation.chat_settings import (
    TOOL_PARAMETERS,
    ChatSettings,
    Messages,
    TurnSettings,
    check_values,
    settings_of_turn,
)
from wiro_async._api.conversation.chat_state import ChatState
from wiro_async._api.conversation.tools import Toolbox
from wiro_async._api.conversation.turn import Turn
from wiro_async._api.conversation.turn_result import TurnResult
from wiro_async._api.conversation.turn_stream import TurnStream
from wiro_async._api.options import check_options
from wiro_async._api.results.answer_reader import AnswerForm, ResponseModel, Schema
from wiro_async._api.tasks.runner import Runner
from wiro_async._errors import InvalidInputError
from wiro_async._protocol.http.requests import to_mapping
from wiro_async._protocol.models.turn_rules import SESSION_BYTES, continuation
from wiro_async._protocol.values.json import JSON
from wiro_async._public import public

T = TypeVar("T")
Prompt: TypeAlias = str | Messages


@public
class Conversation:
    """Turns with an LLM. Each one continues from the last good one.

    One turn runs at a time. A turn that fails or is cancelled leaves the conversation where it was, so it can be sent
    again. The settings of a conversation hold for all its turns. Those of a turn hold for that turn:

    Attributes:
        model: "owner/model".

    Args:
        session_id: the name that the service knows it by, at most 256 bytes of UTF-8. Generated if not given.
        previous_task_token: continue here: the `previous_task_token` of an earlier conversation.
        user_id: for the older chat models, which remember by `session_id` and `user_id` alone.
        input: parameters of the model for every run, such as a system prompt. Those of a turn are added. Files are
            sent with the first run of each turn only.
        tools: functions with type hints, async or not, whose docstrings describe them to the model. Also schemas of
            tools (`{"type": "function", "function": {…}}`), which are never run here.
        tool_choice, parallel_tool_calls: passed on to the model.
        run_tools: run the functions that the model calls, all calls of a run at the same time, and send their outputs
            until the model answers. Calls of schemas are left to you: send their outputs as `tool_outputs`.
        max_turns: the most runs that a turn may take then. 10 if not given.
        on_tool_error: "tell" sends the text of a tool's error to the model, "raise" raises it. "tell" if not given.
            Whatever a tool raises or does to its own task is such an error. Only cancelling the turn cancels it.
        tool_timeout: seconds for each call of a tool, then it is cancelled, which is an error of the tool. Or seconds
            by the names of tools, "*" for all others. A plain function runs on in its thread.
        raise_on_finish: the finish reasons that raise a `FinishReasonError`: "length", "content_filter", "error".
        timeout, queue_timeout, callback_url, project_id, on_cancel, validate: of each run, as in `AsyncWiro.run`.
    """

    def __init__(
        self,
        runner: Runner,
        model: str,
        session_id: str | None,
        previous_task_token: str | None,
        user_id: str | None,
        settings: ChatSettings,
    ) -> None:
        check_options("conversation", settings, ChatSettings)
        check_values(settings)
        if session_id is None:
            if previous_task_token is not None:
                raise InvalidInputError(
                    message="previous_task_token is given without the session_id of its conversation; give both"
                )
            session_id = str(uuid4())
        # A lone surrogate has no UTF-8, and must not hide the error that says what is allowed.
        given: object = session_id
        if not isinstance(given, str) or not 0 < len(session_id.encode(errors="surrogatepass")) <= SESSION_BYTES:
            raise InvalidInputError(message=f"session_id is {session_id!r}; give 1 to {SESSION_BYTES} bytes of UTF-8")
        self.model = model
        self._runner = runner
        self._settings = settings
        self._toolbox: Toolbox | None = None
        self._state = ChatState(session_id, previous_task_token, user_id)

    def __repr__(self) -> str:
        return f"Conversation({self.model!r}, session_id={self.session_id!r}, turns={len(self._state.history)})"

    @property
    def session_id(self) -> str:
        """The name that the service knows it by."""
        return self._state.session_id

    @property
    def previous_task_token(self) -> str | None:
        """The secret token of the last good run. With `session_id` it resumes the conversation elsewhere."""
        return self._state.token

    @property
    def history(self) -> Sequence[TurnResult[Any]]:
        """The turns that ended well."""
        return tuple(self._state.history)

    @property
    def cost(self) -> Decimal:
        """The cost of all runs in US dollars, those of failed turns too."""
        return self._state.cost

    @property
    def usage(self) -> Mapping[str, JSON]:
        """The token counters of all runs, those of failed turns too."""
        return self._state.usage

    @overload
    async def send(
        self, prompt: Prompt | None = None, *, response_model: None = None, **settings: Unpack[TurnSettings]
    ) -> TurnResult[None]: ...
    @overload
    async def send(
        self, prompt: Prompt | None = None, *, response_model: type[T], **settings: Unpack[TurnSettings]
    ) -> TurnResult[T]: ...
    @overload
    async def send(
        self, prompt: Prompt | None = None, *, response_model: Schema, **settings: Unpack[TurnSettings]
    ) -> TurnResult[JSON]: ...
    async def send(
        self,
        prompt: Prompt | None = None,
        *,
        response_model: ResponseModel[Any] | None = None,
        **settings: Unpack[TurnSettings],
    ) -> TurnResult[Any]:
        """Send a message, and wait for the answer.

        Cancelling this stops the run and the tools, and leaves the conversation where it was.

        Args:
            prompt: text, or a list of messages, which can also be given as `messages=`.
            response_model: the type of the answer, as in `AsyncWiro.run`. The value is `turn.parsed`.
            tool_outputs: the outputs of your tools, by the ids of their calls, instead of a prompt.
            settings: as of the conversation, for this turn.

        Raises:
            ConversationBusyError: another turn runs.
            InvalidInputError: the turn contradicts itself, or a tool cannot be one. Nothing was sent.
            ResponseFormatError, FinishReasonError, ToolError, TurnLimitError: with all runs that are billed.
            WiroError: others as of `AsyncWiro.run`.
        """
        check_options("send", settings, TurnSettings)
        with self._state.turn():
            return await (await self._turn(prompt, response_model, settings)).run()

    @overload
    def stream(
        self, prompt: Prompt | None = None, *, response_model: None = None, **settings: Unpack[TurnSettings]
    ) -> TurnStream[None]: ...
    @overload
    def stream(
        self, prompt: Prompt | None = None, *, response_model: type[T], **settings: Unpack[TurnSettings]
    ) -> TurnStream[T]: ...
    @overload
    def stream(
        self, prompt: Prompt | None = None, *, response_model: Schema, **settings: Unpack[TurnSettings]
    ) -> TurnStream[JSON]: ...
    def stream(
        self,
        prompt: Prompt | None = None,
        *,
        response_model: ResponseModel[Any] | None = None,
        **settings: Unpack[TurnSettings],
    ) -> TurnStream[Any]:
        """Send a message, and read the answer as it is written: `async with chat.stream("…") as stream`.

        Arguments and errors as in `send`. Leaving the stream before its end stops the run, and leaves the conversation
        where it was.
        """
        check_options("stream", settings, TurnSettings)
        return TurnStream(self._state, lambda: self._turn(prompt, response_model, settings))

    async def _turn(
        self, prompt: Prompt | None, response_model: ResponseModel[Any] | None, given: TurnSettings
    ) -> Turn[Any]:
        settings = settings_of_turn(self._settings, given)
        if "tools" in given:
            toolbox = Toolbox.of(given["tools"])
        else:
            toolbox = self._toolbox = self._toolbox or Toolbox.of(settings.get("tools", ()))
        parameters = {**to_mapping(settings.get("input")), **self._state.parameters}
        outputs = settings.get("tool_outputs")
        said = _messages_of(prompt, settings.get("messages"))
        if outputs is not None and said:
            raise InvalidInputError(message="a turn of tool_outputs has nothing new: no prompt, and no messages")
        for name in said:
            if name in parameters:
                raise InvalidInputError(message=f"{name} is given, and is in the input too; give one of them")
        parameters |= said
        if toolbox.declarations:
            parameters["tools"] = toolbox.declarations
        for name in TOOL_PARAMETERS:
            if (value := settings.get(name)) is not None:
                parameters[name] = value
        form: AnswerForm[Any] = AnswerForm.none()
        if response_model is not None:
            form = await AnswerForm.of(response_model)
            await self._runner.check_form(self.model, settings.get("validate"))
            parameters = form.add_to(parameters)
        if outputs is not None:
            parameters = continuation(parameters, self._state.tool_outputs(outputs))
        return Turn(self._runner, self.model, self._state, settings, toolbox, form, parameters)


def _messages_of(prompt: Prompt | None, messages: Messages | None) -> dict[str, object]:
    """The parameters of what a turn says. A prompt of messages comes before other messages."""
    if messages is not None:
        _check_messages("messages", messages, "give a list of messages")
    if prompt is not None and not isinstance(prompt, str):
        _check_messages("prompt", prompt, "give text, or a list of messages")
        return {"messages": prompt if messages is None else [*prompt, *messages]}
    said = {"prompt": prompt, "messages": messages}
    return {name: value for name, value in said.items() if value is not None}


def _check_messages(name: str, messages: object, remedy: str) -> None:
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes, bytearray, memoryview)):
        raise InvalidInputError(message=f"{name} is a {type(messages).__name__}; {remedy}")
    for message in messages:
        if not isinstance(message, Mapping):
            held = f"{type(messages).__name__} with a {type(message).__name__} in it"
            raise InvalidInputError(message=f"{name} is a {held}; {remedy}")
