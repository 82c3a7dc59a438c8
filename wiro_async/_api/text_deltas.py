"""The text of one task, without its other events."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Self

from wiro_async._api.following import EventStream, Following
from wiro_async._api.results import TaskFinished
from wiro_async._protocol.entities import Task
from wiro_async._protocol.events import TaskCancelled, TaskEvent, TextDelta, TextReset
from wiro_async._protocol.text import KINDS, TextKind


class TextDeltas:
    """An LLM's text as it is written: an async iterator, and an async context manager for those who leave early."""

    def __init__(self, events: EventStream, following: Following) -> None:
        self._events = events
        self._following = following
        self._unread: deque[TextDelta | TextReset] = deque()
        self._read: dict[TextKind, list[str]] = {kind: [] for kind in KINDS}

    @property
    def text_so_far(self) -> str:
        """The answer as far as it was read here."""
        return self._joined("answer")

    @property
    def thinking_so_far(self) -> str:
        """The thoughts as far as they were read here."""
        return self._joined("thinking")

    @property
    def over(self) -> Task | None:
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
        """The same as `close`, for `contextlib.aclosing`."""
        self.close()

    def close(self) -> None:
        """Stop following; the task goes on."""
        self._unread.clear()
        self._events.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TextDelta | TextReset:
        while not self._unread:
            self._take(await anext(self._events))
        return self._give(self._unread.popleft())

    def _take(self, event: TaskEvent) -> None:
        match event:
            case TextDelta() | TextReset():
                self._unread.append(event)
            case TaskFinished() | TaskCancelled() if self.over is not None:
                self._settle(self._following.result(self.over).text, event.status)

    def _give(self, event: TextDelta | TextReset) -> TextDelta | TextReset:
        if isinstance(event, TextDelta):
            self._read[event.kind].append(event.text)
        else:
            self._read[event.kind].clear()
        return event

    def _settle(self, text: str, status: str) -> None:
        """The result's text may come from elsewhere than the model's outputs: then it replaces what was told."""
        if text != self.text_so_far:
            if self.text_so_far:
                self._unread.append(TextReset("answer", status=status))
            if text:
                self._unread.append(TextDelta(text, "answer", KINDS.index("answer"), status=status))

    def _joined(self, kind: TextKind) -> str:
        parts = self._read[kind]
        parts[:] = ["".join(parts)]
        return parts[0]
