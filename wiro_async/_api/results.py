"""What a finished run gave."""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import anyio
import attrs

from wiro_async._api.outputs import Output
from wiro_async._engine.downloader import Downloader
from wiro_async._errors import DownloadError
from wiro_async._protocol.entities import Task
from wiro_async._protocol.events import TaskEvent
from wiro_async._protocol.json import JSON
from wiro_async._protocol.text import TextSnapshot
from wiro_async._protocol.values import as_text, as_text_or_none

TOOL_CALL_TYPES = ("function_call", "custom_tool_call")
EMPTY = TextSnapshot("", "")


@attrs.frozen
class ToolCall:
    """A call that an LLM asks for.

    Attributes:
        call_id: what its output must be sent back under.
        name: the tool.
        arguments: JSON text (for a custom tool its plain input).
        status: only a "completed" call may be run.
    """

    id: str
    call_id: str
    name: str
    arguments: str
    status: str
    raw: Mapping[str, JSON] = attrs.field(repr=False)


class TaskResult:
    """A finished run.

    Attributes:
        task: the service's record of it.
        outputs: what it made, in order.
    """

    def __init__(self, task: Task, downloader: Downloader) -> None:
        self.task = task
        self.outputs = tuple(Output(record, downloader) for record in task.outputs)

    def __repr__(self) -> str:
        return f"TaskResult(task={self.task!r}, outputs={list(self.outputs)!r})"

    @property
    def output(self) -> Output:
        """The first output. Raises `DownloadError` if there is none."""
        if not self.outputs:
            raise DownloadError(f"task {self.task.id} of {self.task.model} made no output")
        return self.outputs[0]

    @property
    def succeeded(self) -> bool:
        """Whether it finished with exit code 0; `await` and `run()` only give results that did."""
        return self.task.succeeded

    @property
    def text(self) -> str:
        """An LLM's answer; for other models what they wrote to their log."""
        return self._snapshot.answer or ("" if self._snapshot is not EMPTY else self.task.log)

    @property
    def thinking(self) -> str:
        """An LLM's thoughts before its answer."""
        return self._snapshot.thinking

    @property
    def segments(self) -> tuple[Mapping[str, JSON], ...]:
        """The ordered timeline of thoughts, answers and tool calls, from models that tell one."""
        return self._snapshot.segments

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the model asks for."""
        return tuple(_tool_call(segment) for segment in self.segments if segment.get("type") in TOOL_CALL_TYPES)

    @property
    def finish_reason(self) -> str | None:
        """Why an LLM stopped: "stop", "tool_calls", "length", "content_filter" or "error"."""
        return self._snapshot.finish_reason

    @property
    def usage(self) -> Mapping[str, JSON]:
        """An LLM's counted tokens: `input_tokens`, `output_tokens`, `total_tokens`."""
        return self._snapshot.usage

    @property
    def cost(self) -> Decimal | None:
        """What was billed, in US dollars."""
        return self.task.cost

    @property
    def elapsed(self) -> float | None:
        """Seconds the model ran."""
        return self.task.elapsed

    async def save(self, directory: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
        """Save all outputs into a directory, at the same time, and return where they lie, in order.

        Raises:
            DownloadError: one could not be fetched whole; the others that were complete are kept.
        """
        paths: list[Path] = [Path()] * len(self.outputs)

        async def save(index: int) -> None:
            paths[index] = await self.outputs[index].save(os.path.join(directory, ""), overwrite=overwrite)

        async with anyio.create_task_group() as group:
            for index in range(len(self.outputs)):
                group.start_soon(save, index)
        return paths

    @cached_property
    def _snapshot(self) -> TextSnapshot:
        snapshots = (TextSnapshot.from_wire(record.content) for record in self.task.outputs)
        return next(filter(None, snapshots), EMPTY)


@attrs.frozen
class TaskFinished(TaskEvent):
    """The task is over and was not cancelled: the last event.

    Attributes:
        result: what it gave; `result.succeeded` tells how it ended.
    """

    result: TaskResult


def _tool_call(segment: Mapping[str, JSON]) -> ToolCall:
    return ToolCall(
        as_text(segment.get("id")),
        as_text(segment.get("call_id")),
        as_text(segment.get("name")),
        as_text_or_none(segment.get("arguments")) or as_text(segment.get("input")),
        as_text(segment.get("status")),
        segment,
    )
