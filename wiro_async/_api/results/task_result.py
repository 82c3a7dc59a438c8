"""The result of a finished run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import anyio
import attrs

from wiro_async._api.results.byte_stream import ByteStream
from wiro_async._api.results.output import Output
from wiro_async._engine.downloads.downloader import Downloader
from wiro_async._errors import DownloadError, ResponseFormatError, WiroError
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.files.filenames import distinct_names
from wiro_async._protocol.messages.text_snapshot import TextSnapshot, join_surrogates
from wiro_async._protocol.messages.tool_calls import ASKS, ToolCall, calls_in
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import JSON
from wiro_async._public import public
from wiro_async._records.task_event import TaskEvent
from wiro_async._records.task_info import TaskInfo

if TYPE_CHECKING:
    from wiro_async._api.results.answer_reader import AnswerForm

T = TypeVar("T")
EMPTY = TextSnapshot("", "")
ZIP_EPOCH, ZIP_END = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)  # the range of times in a zip archive


@cuts_frames
@public
class TaskResult:
    """The result of a finished run.

    Attributes:
        info: the service's record of it.
        outputs: the files or texts that it made, in order.
        replayed: whether the journal knew the task, so that this call submitted nothing.
    """

    def __init__(self, info: TaskInfo, downloader: Downloader, replayed: bool = False) -> None:
        self.info = info
        self.replayed = replayed
        self._ref = TaskRef(info.id or None, info.token)
        self.outputs = tuple(Output(record, downloader, self._ref) for record in info.outputs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(info={self.info!r}, outputs={list(self.outputs)!r})"

    @property
    def output(self) -> Output:
        """The first output. Raises `DownloadError` if there is none."""
        if not self.outputs:
            error = DownloadError(
                f"task {self.info.id} of {self.info.model} made no output; what it wrote is in result.text"
            )
            raise error.with_task(self._ref.task_id, self._ref.token)
        return self.outputs[0]

    @property
    def succeeded(self) -> bool:
        """Whether it finished with exit code 0. `run()` and `await handle` raise an error for one that did not."""
        return self.info.succeeded

    @property
    def text(self) -> str:
        """An LLM's answer; for other models, their log."""
        return join_surrogates(self._snapshot.answer) if self._snapshot.has_text else self.info.log

    @property
    def text_source(self) -> Literal["output", "log", "stream"]:
        """Where `text` came from: the task's outputs, its log, or the messages that were streamed before its end.

        The last one means that Task/Detail did not show the text, or not all of it, within some seconds of the end.
        """
        own = next(filter(None, self._own_snapshots()), EMPTY)
        if own.has_text and own.answer == self._snapshot.answer:
            return "output"
        return "log" if self.text == self.info.log else "stream"

    @property
    def thinking(self) -> str:
        """An LLM's thoughts before its answer, "" if there are none."""
        return join_surrogates(self._snapshot.thinking)

    @property
    def segments(self) -> tuple[Mapping[str, JSON], ...]:
        """The ordered timeline of thoughts, answers and tool calls, from models that report one."""
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
        """Whether the model waits for tool outputs. Only then run its `tool_calls`, and only the completed ones."""
        return self.finish_reason == ASKS and bool(self.tool_calls)

    @property
    def usage(self) -> Mapping[str, JSON]:
        """An LLM's token counts: `input_tokens`, `output_tokens`, `total_tokens`."""
        return self._snapshot.usage

    @property
    def cost(self) -> Decimal | None:
        """What was billed, in US dollars."""
        return self.info.cost

    @property
    def elapsed(self) -> float | None:
        """How long the model ran, in seconds."""
        return self.info.elapsed

    def parse(self, kind: type[T]) -> T:
        """Read an LLM's answer as a value: `result.parse(Weather)`. JSON between code fences is accepted.

        Args:
            kind: an attrs class, a dataclass, a TypedDict, a pydantic model, or a type such as `list[str]`.

        Raises:
            ResponseFormatError: the answer does not match; the error holds the text and the task.
            ConfigurationError: the library for it is not installed: `pip install 'wiro-async[tools]'`.
        """
        from wiro_async._api.results import type_schemas as schemas
        from wiro_async._api.results.answer_reader import read_answer

        return read_answer(partial(schemas.decode_as, kind=kind), self.text, [self.info], self.finish_reason)

    async def save(
        self, directory: str | os.PathLike[str], *, overwrite: bool = False, max_bytes: int | None = None
    ) -> list[Path]:
        """Save all outputs into a directory, several at a time, and return their paths, in order.

        Outputs whose names a file system could mistake for one another get numbers. Cancelling keeps the files that
        are complete, and leaves no parts of others.

        Args:
            directory: made if it does not exist.
            overwrite: replace files of those names; otherwise numbers are added to the names.
            max_bytes: the most bytes that each may have; by default only the session's limit counts.

        Raises:
            DownloadError: at least one could not be fetched whole; the others were saved. If several failed, this is
                the first one's error, and its notes name the others.
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
        if failures:
            first, *others = (failures[index] for index in sorted(failures))
            for other in others:
                first.add_note(f"and another one: {other}")
            raise first
        return [saved[index] for index in range(len(self.outputs))]

    def zip_stream(self) -> ByteStream:
        """Make a zip archive of all outputs, as a stream: `StreamingResponse(result.zip_stream(), …)`.

        It takes constant memory: each file is passed on as it arrives. If you may leave it early, use
        `async with result.zip_stream() as chunks`, or call `aclose()`.

        Raises:
            DownloadError: on entering or while iterating: an output could not be fetched whole. The bytes so far are
                no valid archive.
        """
        from wiro_async._api.results.zip_archive import zipped

        ended = self.info.ended_at
        made_at = (ended.year, ended.month, ended.day, ended.hour, ended.minute, ended.second) if ended else ZIP_EPOCH
        made_at = min(max(made_at, ZIP_EPOCH), ZIP_END)
        return ByteStream(zipped(zip(self._names(), self.outputs, strict=True), made_at))

    def _names(self) -> list[str]:
        return distinct_names(output.name for output in self.outputs)

    @cached_property
    def _snapshot(self) -> TextSnapshot:
        streamed = TextSnapshot.from_wire(self.info.streamed, is_last=True)
        return streamed or next(filter(None, self._own_snapshots()), EMPTY)

    def _own_snapshots(self) -> Iterator[TextSnapshot | None]:
        return (TextSnapshot.from_wire(record.content, is_last=True) for record in self.info.outputs)


@public
class ParsedResult(TaskResult, Generic[T]):
    """The result of a run with a `response_model`, whose answer matches it."""

    def __init__(
        self,
        info: TaskInfo,
        downloader: Downloader,
        form: AnswerForm[T],
        tasks: Sequence[TaskInfo] | None = None,
        replayed: bool = False,
    ) -> None:
        super().__init__(info, downloader, replayed)
        self._tasks = tasks or [info]
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
    """The task has ended and was not cancelled. This is the last event.

    Attributes:
        result: its result; `result.succeeded` says whether the run succeeded.
    """

    result: TaskResult
