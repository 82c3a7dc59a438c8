"""What a finished run gave."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
import attrs

from wiro_async._api.results.byte_stream import ByteStream
from wiro_async._api.results.output import Output
from wiro_async._engine.calls.task_calls import TaskRef
from wiro_async._engine.downloads.downloader import Downloader
from wiro_async._errors import DownloadError, ResponseFormatError, WiroError
from wiro_async._protocol.conversations.tool_calls import ASKS, ToolCall, calls_in
from wiro_async._protocol.files.filenames import distinct_names
from wiro_async._protocol.messages.text_snapshot import TextSnapshot, join_surrogates
from wiro_async._protocol.tasks.events import TaskEvent
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._protocol.values.json import JSON
from wiro_async._public import public

if TYPE_CHECKING:
    from wiro_async._api.conversation.answer_reader import AnswerForm

T = TypeVar("T")
EMPTY = TextSnapshot("", "")
ZIP_EPOCH, ZIP_END = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)  # the times that a zip archive can tell


@public
class TaskResult:
    """A finished run.

    Attributes:
        task: the service's record of it.
        outputs: what it made, in order.
    """

    def __init__(self, task: TaskInfo, downloader: Downloader) -> None:
        self.task = task
        self._ref = TaskRef(task.id or None, task.token)
        self.outputs = tuple(Output(record, downloader, self._ref) for record in task.outputs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(task={self.task!r}, outputs={list(self.outputs)!r})"

    @property
    def output(self) -> Output:
        """The first output. Raises `DownloadError` if there is none."""
        if not self.outputs:
            error = DownloadError(f"task {self.task.id} of {self.task.model} made no output")
            raise error.with_task(self._ref.task_id, self._ref.token)
        return self.outputs[0]

    @property
    def succeeded(self) -> bool:
        """Whether it finished with exit code 0; `await` and `run()` only give results that did."""
        return self.task.succeeded

    @property
    def text(self) -> str:
        """An LLM's answer; for other models what they wrote to their log."""
        return join_surrogates(self._snapshot.answer) if self._snapshot.has_text else self.task.log

    @property
    def thinking(self) -> str:
        """An LLM's thoughts before its answer."""
        return join_surrogates(self._snapshot.thinking)

    @property
    def segments(self) -> tuple[Mapping[str, JSON], ...]:
        """The ordered timeline of thoughts, answers and tool calls, from models that tell one."""
        return self._snapshot.segments

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the model asks for."""
        return calls_in(self.segments)

    @property
    def finish_reason(self) -> str | None:
        """Why an LLM stopped: "stop", "tool_calls", "length", "content_filter" or "error"."""
        return self._snapshot.finish_reason

    @property
    def asks_for_tools(self) -> bool:
        """Whether its calls wait to be run: only then may they be, and of them the completed ones."""
        return self.finish_reason == ASKS and bool(self.tool_calls)

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

    def parse(self, kind: type[T]) -> T:
        """An LLM's answer as a value: `result.parse(Weather)`. JSON between code fences will do.

        Args:
            kind: an attrs class, a dataclass, a TypedDict, a pydantic model, or such as `list[str]`.

        Raises:
            ResponseFormatError: the answer does not fit; the error holds the text and the task.
            ConfigurationError: the library for it is not installed: `pip install 'wiro-async[tools]'`.
        """
        from wiro_async._api.conversation import type_schemas as schemas
        from wiro_async._api.conversation.answer_reader import reading

        return reading(partial(schemas.decoded_as, kind=kind), self.text, [self.task], self.finish_reason)

    async def save(
        self, directory: str | os.PathLike[str], *, overwrite: bool = False, max_bytes: int | None = None
    ) -> list[Path]:
        """Save all outputs into a directory, several at a time, and return where they lie, in order.

        Outputs whose names a file system could take for one another get numbers. Cancelling leaves those files that
        were complete, and no parts of others.

        Args:
            directory: made if it does not exist.
            overwrite: replace files of those names; otherwise numbers are added to the names.
            max_bytes: the most that each may have; no limit but the session's, if not given.

        Raises:
            DownloadError: at least one could not be fetched whole; the others were saved. If several failed, the
                notes of the error tell of the rest.
            OSError: at least one could not be written.
        """
        saved: dict[int, Path] = {}
        failures: dict[int, Exception] = {}

        async def save(index: int, path: Path) -> None:
            try:
                saved[index] = await self.outputs[index].save_as(path, overwrite=overwrite, max_bytes=max_bytes)
            except (WiroError, OSError) as error:
                failures[index] = error

        async with anyio.create_task_group() as group:
            for index, name in enumerate(self._names()):
                group.start_soon(save, index, Path(directory, name))
        _raise_first([failures[index] for index in sorted(failures)])
        return [saved[index] for index in range(len(self.outputs))]

    def zip_stream(self) -> ByteStream:
        """A zip archive of all outputs, as it is made: `StreamingResponse(result.zip_stream(), …)`.

        It takes constant memory: each file is passed on as it is fetched. If you may leave it early, use it as
        `async with result.zip_stream() as chunks`, or close it (`aclose()`).

        Raises:
            DownloadError: on entering or while iterating: one could not be fetched whole. What came is no archive then.
        """
        from wiro_async._api.results.zip_archive import zipped

        ended = self.task.ended_at
        made_at = (ended.year, ended.month, ended.day, ended.hour, ended.minute, ended.second) if ended else ZIP_EPOCH
        made_at = min(max(made_at, ZIP_EPOCH), ZIP_END)
        return ByteStream(zipped(zip(self._names(), self.outputs, strict=True), made_at))

    def _names(self) -> list[str]:
        return distinct_names(output.name for output in self.outputs)

    @cached_property
    def _snapshot(self) -> TextSnapshot:
        snapshots = (TextSnapshot.from_wire(record.content, is_last=True) for record in self.task.outputs)
        return next(filter(None, snapshots), EMPTY)


@public
class ParsedResult(TaskResult, Generic[T]):
    """A finished run whose answer was asked for by `response_model`, and fits."""

    def __init__(
        self, task: TaskInfo, downloader: Downloader, form: AnswerForm[T], tasks: Sequence[TaskInfo] | None = None
    ) -> None:
        super().__init__(task, downloader)
        self._tasks = tasks or [task]
        self._values = [] if self.asks_for_tools else [form.read(self.text, self._tasks, self.finish_reason)]

    @property
    def parsed(self) -> T:
        """The answer. Raises `ResponseFormatError` while the model asks for tools instead."""
        if not self._values:
            raise ResponseFormatError(self.text, "the model asks for tools first", self._tasks)
        return self._values[0]


@public
@attrs.frozen
class TaskFinished(TaskEvent):
    """The task is over and was not cancelled: the last event.

    Attributes:
        result: what it gave; `result.succeeded` tells how it ended.
    """

    result: TaskResult


def _raise_first(failures: Sequence[Exception]) -> None:
    for failure in failures[:1]:
        for other in failures[1:]:
            failure.add_note(f"and another one: {other}")
        raise failure
