"""The events that one listener has not read yet.

A listener may be slow while the task speaks fast, and the reader of the socket must never wait for a listener. So the
buffer takes everything at once and stays small by merging: text joins the text before it, newer progress replaces
older. Text is never lost, only larger pieces arrive. Of log lines, progress and unknown messages the newest are kept.
"""

from __future__ import annotations

from collections import deque

import attrs

from wiro_async._protocol.tasks.events import LogLine, Progress, TextDelta, TextKind, TextReset, UnknownEvent
from wiro_async._records.task_event import TaskEvent

TEXT_EVENTS = (TextDelta, TextReset)
DISPOSABLE = (LogLine, Progress, UnknownEvent)  # these may come without end; of the rest there are few


class EventBuffer:
    """A queue of events that merges what newer events replace.

    Args:
        limit: how many events it holds before it drops disposable ones.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unread: deque[_Unread] = deque()
        self._last_text: _Unread | None = None

    def __len__(self) -> int:
        return len(self._unread)

    def push(self, event: TaskEvent) -> None:
        """Add an event; never waits."""
        if isinstance(event, TextReset):
            self._unread = deque(other for other in self._unread if not other.is_text_of(event.kind))
        is_text = isinstance(event, TEXT_EVENTS)
        # Text may be merged across other events: their order among each other carries no meaning.
        previous = self._last_text if is_text else self._unread[-1] if self._unread else None
        if previous is None or not previous.merge(event):
            self._unread.append(_Unread(event))
            if is_text:
                self._last_text = self._unread[-1]
        if len(self._unread) > self._limit:
            for place, unread in enumerate(self._unread):
                if isinstance(unread.event, DISPOSABLE):
                    del self._unread[place]
                    break

    def pop(self) -> TaskEvent:
        """Remove and return the oldest event. Raises `IndexError` if there is none."""
        first = self._unread.popleft()
        if first is self._last_text:
            self._last_text = None
        return first.event


@attrs.define(eq=False)
class _Unread:
    event: TaskEvent

    def is_text_of(self, kind: TextKind) -> bool:
        return isinstance(self.event, TEXT_EVENTS) and self.event.kind == kind

    def merge(self, new: TaskEvent) -> bool:
        """Merge a newer event into this one, if they belong together."""
        match self.event, new:
            case Progress(label=label), Progress() if label == new.label:
                self.event = new
            case TextDelta(kind=kind, index=index, text=text), TextDelta() if (kind, index) == (new.kind, new.index):
                self.event = attrs.evolve(new, text=text + new.text, raw={})
            case _:
                return False
        return True
