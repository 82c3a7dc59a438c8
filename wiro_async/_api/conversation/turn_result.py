"""The result of a turn of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import reduce

from wiro_async._api.results.answer_reader import AnswerForm
from wiro_async._api.results.task_result import ParsedResult, T, TaskResult
from wiro_async._engine.downloads.downloader import Downloader
from wiro_async._protocol.conversations.usage import add_usage
from wiro_async._protocol.messages.tool_calls import ToolCall, ToolOutput
from wiro_async._protocol.values.json import JSON
from wiro_async._public import public


@public
class TurnResult(ParsedResult[T]):
    """A finished turn: the result of its last run, with `usage`, `cost` and `elapsed` of all of them.

    Attributes:
        runs: the results of all runs of the turn, in order. More than one if tools were run.
        tool_outputs: the outputs of the tools that were run here, in order.
        open_outputs: those that the model does not know yet, because it waits for outputs of yours too.
    """

    def __init__(
        self,
        runs: Sequence[TaskResult],
        tool_outputs: Sequence[ToolOutput],
        open_outputs: Sequence[ToolOutput],
        downloader: Downloader,
        form: AnswerForm[T],
    ) -> None:
        self.runs = tuple(runs)
        self.tool_outputs = tuple(tool_outputs)
        self.open_outputs = tuple(open_outputs)
        super().__init__(runs[-1].info, downloader, form, [run.info for run in runs])

    @property
    def pending_calls(self) -> tuple[ToolCall, ...]:
        """The completed calls that wait for your outputs: `chat.send(tool_outputs={call.call_id: …})`."""
        if not self.asks_for_tools:
            return ()
        answered = {output.call_id for output in self.open_outputs}
        return tuple(call for call in self.tool_calls if call.is_complete and call.call_id not in answered)

    @property
    def usage(self) -> Mapping[str, JSON]:
        """The token counters of all runs: `input_tokens`, `output_tokens`, `total_tokens`."""
        return reduce(add_usage, (run.usage for run in self.runs), {})

    @property
    def cost(self) -> Decimal | None:
        """The cost of all runs in US dollars. None if it is known of none of them."""
        costs = [run.cost for run in self.runs if run.cost is not None]
        return sum(costs, Decimal(0)) if costs else None

    @property
    def elapsed(self) -> float | None:
        """Seconds that the model ran."""
        times = [run.elapsed for run in self.runs if run.elapsed is not None]
        return sum(times) if times else None
