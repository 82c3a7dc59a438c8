"""The text of one task, without its other events."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Self

from wiro_async._api.results.task_result import TaskFinished, TaskResult
from wiro_async._api.tasks.task_context import TaskContext
from wiro_async._api.tasks.task_events import EventStream
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.messages.text_snapshot import KINDS, GrowingText
from wiro_async._protocol.tasks.events import TaskCancelled, TextDelta, TextKind, TextReset
from wiro_async._public import public
from wiro_async._records.task_event import TaskEvent
from wiro_async._records.task_info import TaskInfo


class ReadText:
    """The text of one run, as far as it was read."""

    def __init__(self) -> None:
        self._read = {kind: GrowingText() for kind in KINDS}

    @property
    def thinking(self) -> str:
        """The thoughts."""
        return self._read["thinking"].text

    @property
    def answer(self) -> str:
        """The answer."""
        return self._read["answer"].text

    def note(self, event: TaskEvent) -> None:
        """Take an event that was read."""
        match event:
            case TextDelta(text=text, kind=kind):
                self._read[kind].add(text)
            case TextReset(kind=kind):
                self._read[kind] = GrowingText()

    def corrections(self, result: TaskResult) -> list[TextDelta | TextReset]:
        """The events that turn this text into the text of the result, which may come from the log or a later state."""
        final: dict[TextKind, str] = {"thinking": result.thinking, "answer": result.text}
        events, status = list[TextDelta | TextReset](), result.info.status
        for kind in KINDS:
            if final[kind] != self._read[kind].text:
                events += [TextReset(kind, status=status)] if self._read[kind] else []
                events += [TextDelta(final[kind], kind, KINDS.index(kind), status=status)] if final[kind] else []
        return events


@cuts_frames
@public
class TextDeltas:
    """An LLM's text while the model writes it: an async iterator, and an async context manager to leave it early."""

    def __init__(self, events: EventStream, context: TaskContext) -> None:
        self._events = events
        self._context = context
        self._unread: deque[TextDelta | TextReset] = deque()
        self._read = ReadText()

    @property
    def text_so_far(self) -> str:
        """The answer as far as it was read here."""
        return self._read.answer

    @property
    def thinking_so_far(self) -> str:
        """The thoughts as far as they were read here."""
        return self._read.thinking

    @property
    def over(self) -> TaskInfo | None:
        """The task, once all its text was read."""
        return self._events.over

    @property
    def is_over(self) -> bool:
        """Whether the task is known to be over, also when there is text left to read."""
        return self._events.is_over

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def aclose(self) -> None:
        """Do the same as `close`, for `contextlib.aclosing`."""
        self.close()

    def close(self) -> None:
        """Stop following. The task goes on."""
        self._unread.clear()
        self._events.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TextDelta | TextReset:
        while not self._unread:
            self._take(await anext(self._events))
        event = self._unread.popleft()
        self._read.note(event)
        return event

    def _take(self, event: TaskEvent) -> None:
        match event:
            case TextDelta() | TextReset():
                self._unread.append(event)
            case TaskFinished() | TaskCancelled() if self.over is not None:
                self._unread += self._read.corrections(self._context.result(self.over))
