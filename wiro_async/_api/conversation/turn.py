"""One turn: a run, the tools it calls, the run that gets their outputs, and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic

import attrs

from wiro_async._api.conversation.answer_reader import AnswerForm
from wiro_async._api.conversation.chat_options import ChatOptions
from wiro_async._api.conversation.chat_state import ChatState, wire
from wiro_async._api.conversation.tools import Toolbox
from wiro_async._api.conversation.turn_result import TurnResult
from wiro_async._api.results.task_result import T, TaskResult
from wiro_async._api.tasks.runner import Runner, RunSpec
from wiro_async._errors import AnswerError, FinishReasonError, InvalidInputError, TurnLimitError, WiroError
from wiro_async._protocol.conversations.tool_calls import ToolCall, ToolOutput
from wiro_async._protocol.conversations.turn_rules import continuation, tool_names, turn_problems
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._types import Timeouts


@attrs.define(eq=False)
class Turn(Generic[T]):
    """What a turn is made of, and what it has come to.

    Attributes:
        given: the input of the run that comes next.
    """

    runner: Runner
    model: str
    state: ChatState
    options: ChatOptions
    toolbox: Toolbox
    form: AnswerForm[T]
    given: Mapping[str, object]
    results: list[TaskResult] = attrs.field(factory=list)
    outputs: list[ToolOutput] = attrs.field(factory=list)
    open_outputs: Sequence[ToolOutput] = ()

    @property
    def timeouts(self) -> Timeouts:
        """Those of each run."""
        return self.runner.timeouts(self.options.timeout, self.options.queue_timeout)

    @property
    def tasks(self) -> list[TaskInfo]:
        """The runs so far."""
        return [result.info for result in self.results]

    def spec(self) -> RunSpec:
        """The run that comes next. Raises `InvalidInputError` if its input contradicts itself."""
        problems = [f"{name}: given {given}; allowed {allowed}" for name, given, allowed in turn_problems(self.given)]
        if problems:
            raise InvalidInputError(message=f"this turn cannot be sent: {'; '.join(problems)}", errors=problems)
        options = self.options
        return RunSpec(
            self.model, self.given, options.callback_url, options.project_id, options.on_cancel, options.validate
        )

    async def run(self) -> TurnResult[T]:
        """All of it."""
        try:
            while await self.goes_on(await self.runner.run(self.spec(), self.timeouts)):
                pass
            return self.finished()
        except WiroError as error:
            self.tell_earlier_runs(error)
            raise

    async def goes_on(self, result: TaskResult) -> bool:
        """Take the result of a run, and run the tools it asks for. Whether there is another run to come.

        Raises:
            FinishReasonError, TurnLimitError, ToolError: what the options want to be raised.
        """
        self.results.append(result)
        self.state.count(result)
        if result.finish_reason in self.options.raise_on_finish:
            raise FinishReasonError(result.finish_reason or "", result.text, self.tasks)
        calls = [call for call in result.tool_calls if call.is_complete] if result.asks_for_tools else []
        ours = self._ours(calls)
        if not ours:
            return False
        is_left_to_caller = len(ours) < len(calls)
        if len(self.results) >= self.options.max_turns and not is_left_to_caller:
            raise TurnLimitError(self.options.max_turns, self.tasks)
        outputs = await self.toolbox.run(ours, self.options.on_tool_error, self.tasks)
        self.outputs += outputs
        if is_left_to_caller:
            self.open_outputs = outputs
            return False
        told = wire((output.call_id, output.output) for output in outputs)
        self.given = continuation({**self.given, "previousTaskToken": result.info.token}, told)
        return True

    def finished(self) -> TurnResult[T]:
        """What it gave; the conversation goes on from there. Raises `ResponseFormatError`."""
        downloader = self.runner.context.downloader
        turn = TurnResult(self.results, self.outputs, self.open_outputs, downloader, self.form)
        self.state.move_on(turn)
        return turn

    def tell_earlier_runs(self, error: WiroError) -> None:
        """Note in an error which runs of the turn went well before it, for they are paid for."""
        if self.results and not isinstance(error, AnswerError):
            runs = ", ".join(str(result.info.id) for result in self.results)
            error.add_note(f"before that, this turn had the model run and is paid for it: task {runs}")

    def _ours(self, calls: Sequence[ToolCall]) -> list[ToolCall]:
        if not self.options.run_tools:
            return []
        declared = [*tool_names(self.toolbox.declarations), *tool_names(self.options.parameters.get("tools"))]
        return [call for call in calls if self.toolbox.runs(call, declared)]
