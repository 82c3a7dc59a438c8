"""One turn: a run, the tools it calls, the run that gets their outputs, and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic

import attrs

from wiro_async._api.conversation.chat_settings import TurnSettings
from wiro_async._api.conversation.chat_state import ChatState, to_wire
from wiro_async._api.conversation.tools import Toolbox
from wiro_async._api.conversation.turn_result import TurnResult
from wiro_async._api.results.answer_reader import AnswerForm
from wiro_async._api.results.task_result import T, TaskResult
from wiro_async._api.tasks.runner import Runner, RunSpec
from wiro_async._errors import AnswerError, FinishReasonError, InvalidInputError, TurnLimitError, WiroError
from wiro_async._protocol.http.requests import to_mapping
from wiro_async._protocol.messages.tool_calls import ToolOutput
from wiro_async._protocol.models.turn_rules import continuation, tool_names, turn_problems
from wiro_async._records.task_info import TaskInfo
from wiro_async._types import OnCancel, Timeouts


@attrs.define(eq=False)
class Turn(Generic[T]):
    """A turn and what has come of it so far.

    Attributes:
        input: of the next run.
        results: of the runs so far.
        outputs: of the tools so far.
        open_outputs: those that the model does not know yet, as other calls are left to the caller.
    """

    runner: Runner
    model: str
    state: ChatState
    settings: TurnSettings = attrs.field(repr=False)
    toolbox: Toolbox
    form: AnswerForm[T]
    input: Mapping[str, object]
    results: list[TaskResult] = attrs.field(factory=list)
    outputs: list[ToolOutput] = attrs.field(factory=list)
    open_outputs: Sequence[ToolOutput] = ()

    @property
    def timeouts(self) -> Timeouts:
        return self.runner.timeouts(self.settings.get("timeout"), self.settings.get("queue_timeout"))

    @property
    def on_cancel(self) -> OnCancel:
        """Whether a run that is given up is stopped."""
        return self.settings.get("on_cancel", "stop")

    @property
    def infos(self) -> list[TaskInfo]:
        """The tasks of the runs so far."""
        return [result.info for result in self.results]

    def next_run(self) -> RunSpec:
        """The next run. Raises `InvalidInputError` if its input contradicts itself."""
        problems = [f"{name}: given {given}; allowed {allowed}" for name, given, allowed in turn_problems(self.input)]
        if problems:
            raise InvalidInputError(message=f"this turn cannot be sent: {'; '.join(problems)}", errors=problems)
        return RunSpec(
            self.model,
            self.input,
            callback_url=self.settings.get("callback_url"),
            project_id=self.settings.get("project_id"),
            on_cancel=self.on_cancel,
            validate=self.settings.get("validate"),
        )

    async def run(self) -> TurnResult[T]:
        try:
            while await self.continue_after(await self.runner.run(self.next_run(), self.timeouts)):
                pass
            return self.finish()
        except WiroError as error:
            self.note_earlier_runs(error)
            raise

    async def continue_after(self, result: TaskResult) -> bool:
        """Take the result of a run, and run the tools it asks for. Returns whether another run follows.

        Raises:
            FinishReasonError, TurnLimitError, ToolError: as the settings say.
        """
        self.results.append(result)
        self.state.add_run(result)
        if result.finish_reason in self.settings.get("raise_on_finish", ()):
            raise FinishReasonError(result.finish_reason or "", result.text, self.infos)
        if not (self.settings.get("run_tools", False) and result.asks_for_tools):
            return False
        calls = [call for call in result.tool_calls if call.is_complete]
        in_input = to_mapping(self.settings.get("input")).get("tools")
        declared = [*tool_names(self.toolbox.declarations), *tool_names(in_input)]
        ours = [call for call in calls if self.toolbox.runs(call, declared)]
        if not ours:
            return False
        is_left_to_caller = len(ours) < len(calls)
        max_turns = self.settings.get("max_turns", 10)
        if len(self.results) >= max_turns and not is_left_to_caller:
            raise TurnLimitError(max_turns, self.infos)
        outputs = await self.toolbox.run(
            ours,
            self.settings.get("on_tool_error", "tell"),
            self.infos,
            self.settings.get("tool_timeout"),
            self.runner.engine.tuning.tool_end,
        )
        self.outputs += outputs
        if is_left_to_caller:
            # The model wants the outputs of all calls in one run, so these wait for those of the caller.
            self.open_outputs = outputs
            return False
        to_send = to_wire((output.call_id, output.output) for output in outputs)
        self.input = continuation({**self.input, "previousTaskToken": result.info.token}, to_send)
        return True

    def finish(self) -> TurnResult[T]:
        """The result of the turn. The conversation continues from there. Raises `ResponseFormatError`."""
        downloader = self.runner.context.downloader
        turn = TurnResult(self.results, self.outputs, self.open_outputs, downloader, self.form)
        self.state.advance(turn)
        return turn

    def note_earlier_runs(self, error: WiroError) -> None:
        """Add a note to an error about the runs of the turn that ended well before it: they are billed."""
        if self.results and not isinstance(error, AnswerError):
            runs = ", ".join(str(info.id) for info in self.infos)
            error.add_note(f"earlier runs of this turn ended well, and are paid for: task {runs}")
