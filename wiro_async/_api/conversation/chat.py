"""Conversations with LLMs. https://wiro.ai/docs/llm-chat-streaming"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar, Unpack, overload
from uuid import uuid4

from wiro_async._api.conversation.answer_reader import AnswerForm, ResponseModel, Schema
from wiro_async._api.conversation.chat_options import (
    OF_TOOLS,
    ChatOptions,
    ChatSettings,
    Messages,
    ToolOutputs,
    TurnSettings,
    check_names,
)
from wiro_async._api.conversation.chat_state import ChatState
from wiro_async._api.conversation.tools import Toolbox
from wiro_async._api.conversation.turn import Turn
from wiro_async._api.conversation.turn_result import TurnResult
from wiro_async._api.conversation.turn_stream import TurnStream
from wiro_async._api.tasks.runner import Runner
from wiro_async._errors import InvalidInputError
from wiro_async._protocol.conversations.turn_rules import SESSION_BYTES, continuation
from wiro_async._protocol.values.json import JSON
from wiro_async._public import public

T = TypeVar("T")
Prompt: TypeAlias = str | Messages


@public
class Conversation:
    """Turns with an LLM, each of which goes on from the last good one.

    One turn at a time. A turn that fails, is cancelled or raises leaves the conversation where it was, so it may be
    sent again. The settings of a conversation hold for all its turns; those of a turn are for it alone:

    Attributes:
        model: "owner/model".

    Args:
        session_id: under which the service keeps it, at most 256 bytes of UTF-8; generated if not given.
        previous_task_token: where to go on: the `previous_task_token` of a conversation that was left.
        user_id: for the older chat models, which remember by `session_id` and `user_id` alone.
        input: parameters of the model for every run, such as a system prompt; a turn's are added to them. Files are
            sent with the first run of each turn only.
        tools: functions with type hints, async or not, whose docstrings tell the model what they do; and schemas of
            tools (`{"type": "function", "function": {…}}`), which are never run here. Functions need the extra `tools`.
        tool_choice, parallel_tool_calls: passed on to the model.
        run_tools: run the functions that the model calls, all calls of a run at the same time, and send their outputs
            until it answers. Calls of schemas come back to you: send what they gave as `tool_outputs`.
        max_turns: how many runs a turn may take then.
        on_tool_error: "tell" the model what a tool raised (the text of the error goes to the model), or "raise".
        raise_on_finish: which finish reasons raise a `FinishReasonError`: "length", "content_filter", "error".
        timeout, queue_timeout, callback_url, project_id, on_cancel, check: of each run, as in `AsyncWiro.run`.
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
        self.model = model
        self._runner = runner
        check_names(settings)
        self._options = ChatOptions(**settings)
        self._toolbox: Toolbox | None = None
        if previous_task_token is not None and session_id is None:
            raise InvalidInputError(
                message="previous_task_token is given without the session_id of its conversation; give both"
            )
        self._state = ChatState(_checked(session_id), previous_task_token, user_id)

    def __repr__(self) -> str:
        return f"Conversation({self.model!r}, session_id={self.session_id!r}, turns={len(self._state.history)})"

    @property
    def session_id(self) -> str:
        """The service's name for it."""
        return self._state.session_id

    @property
    def previous_task_token(self) -> str | None:
        """The secret token of the last good run; with `session_id` it picks the conversation up again elsewhere."""
        return self._state.token

    @property
    def history(self) -> Sequence[TurnResult[Any]]:
        """The turns that ended well here."""
        return tuple(self._state.history)

    @property
    def cost(self) -> Decimal:
        """What all its runs were billed, in US dollars, those of turns that raised too."""
        return self._state.cost

    @property
    def usage(self) -> Mapping[str, JSON]:
        """The counted tokens of all its runs, those of turns that raised too."""
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
        """Say something, and wait for the answer.

        Cancelling it stops the run, and the tools, and leaves the conversation where it was.

        Args:
            prompt: text, or a list of messages, which may also be given as `messages=`.
            response_model: what the answer is to be, as in `AsyncWiro.run`; it comes as `turn.parsed`.
            tool_outputs: instead of a prompt, what your tools gave, by the ids of the calls.
            settings: as of the conversation.

        Raises:
            ConversationBusyError: another turn runs.
            InvalidInputError: the turn contradicts itself, or a tool is no tool; nothing was sent.
            ResponseFormatError, FinishReasonError, ToolError, TurnLimitError: with all runs that were paid for.
            WiroError: others as of `AsyncWiro.run`.
        """
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
        """Say something, and read the answer as it is written: `async with chat.stream("…") as stream`.

        Arguments and errors as in `send`. Leaving it before its end stops the run, and leaves the conversation where
        it was.
        """
        check_names(settings)
        return TurnStream(self._state, lambda: self._turn(prompt, response_model, settings))

    async def _turn(
        self, prompt: Prompt | None, response_model: ResponseModel[Any] | None, settings: TurnSettings
    ) -> Turn[Any]:
        messages, outputs = settings.pop("messages", None), settings.pop("tool_outputs", None)
        options = self._options.for_turn(settings)
        toolbox = await self._with_tools(options)
        given: dict[str, object] = {**options.parameters, **self._state.own, **_said(prompt, messages, outputs)}
        given |= {"tools": toolbox.declarations} if toolbox.declarations else {}
        given |= {name: getattr(options, name) for name in OF_TOOLS[1:] if getattr(options, name) is not None}
        form: AnswerForm[Any] = AnswerForm.none()
        if response_model is not None:
            form = await AnswerForm.of(response_model)
            await self._runner.check_form(self.model, options.validate)
            given = form.asked_for(given)
        if outputs is not None:
            given = continuation(given, self._state.answers(outputs))
        return Turn(self._runner, self.model, self._state, options, toolbox, form, given)

    async def _with_tools(self, options: ChatOptions) -> Toolbox:
        """The toolbox, kept as long as the tools are those of the conversation."""
        if options.tools is not self._options.tools:
            return await Toolbox.of(options.tools)
        if self._toolbox is None:
            self._toolbox = await Toolbox.of(options.tools)
        return self._toolbox


def _said(prompt: Prompt | None, messages: Messages | None, outputs: ToolOutputs | None) -> dict[str, object]:
    if messages is not None:
        _check_messages("messages", messages, "give a list of messages")
    said = {"prompt": prompt, "messages": messages}
    if prompt is not None and not isinstance(prompt, str):
        _check_messages("prompt", prompt, "give text, or a list of messages")
        said = {"prompt": None, "messages": prompt if messages is None else [*prompt, *messages]}
    said = {name: value for name, value in said.items() if value is not None}
    if outputs is not None and said:
        raise InvalidInputError(message="a turn of tool_outputs has nothing new: no prompt, and no messages")
    return dict(said)


def _check_messages(name: str, messages: object, remedy: str) -> None:
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes, bytearray, memoryview)):
        raise InvalidInputError(message=f"{name} is a {type(messages).__name__}; {remedy}")
    for message in messages:
        if not isinstance(message, Mapping):
            held = f"{type(messages).__name__} with a {type(message).__name__} in it"
            raise InvalidInputError(message=f"{name} is a {held}; {remedy}")


def _checked(session_id: object) -> str:
    if session_id is None:
        return str(uuid4())
    if (
        not isinstance(session_id, str)
        or not session_id
        or len(session_id.encode(errors="surrogatepass")) > SESSION_BYTES
    ):
        raise InvalidInputError(message=f"session_id is {session_id!r}; give 1 to {SESSION_BYTES} bytes of UTF-8")
    return session_id
