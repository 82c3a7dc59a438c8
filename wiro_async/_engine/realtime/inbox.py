"""What a realtime session has received and nobody has read yet: bounded, so that a slow reader slows the sender."""

from __future__ import annotations

from collections import deque

import anyio

from wiro_async._errors import WiroError
from wiro_async._protocol.conversations.realtime_audio import AudioChunk
from wiro_async._protocol.tasks.events import TaskEvent

ENOUGH = 1024 * 1024  # bytes unread from which on the socket is not read: 22 s of audio
MOST = 64 * 1024 * 1024  # the same while somebody waits for the other side, which may wait for us: 23 min


class Inbox:
    """Events in order, for one reader.

    Attributes:
        size: bytes that are unread.
        held: whether whoever fills it waits for its reader.
    """

    def __init__(self) -> None:
        self._unread: deque[tuple[TaskEvent, int]] = deque()
        self._most = ENOUGH
        self._news = anyio.Event()
        self._room = anyio.Event()
        self._closed = False
        self._error: Exception | None = None
        self._being_read = False
        self._unwanted = False
        self.size = 0
        self.held = False

    async def put(self, event: TaskEvent, size: int) -> None:
        """Take an event, once there is room."""
        while self.size >= self._most and not (self._unwanted or self._closed):
            self.held = True
            self._room = anyio.Event()
            await self._room.wait()
        self.held = False
        if not (self._unwanted or self._closed):
            self._unread.append((event, size))
            self.size += size
            self._news.set()

    def relieve(self) -> None:
        """Somebody waits for the other side, who perhaps waits until we read: take more than is reasonable."""
        self._most = MOST
        self._room.set()

    def tighten(self) -> None:
        """Nobody waits any more."""
        self._most = ENOUGH

    def drop_audio(self) -> None:
        """Forget audio that was not read."""
        self._unread = deque((event, size) for event, size in self._unread if not isinstance(event, AudioChunk))
        self.size = sum(size for _, size in self._unread)
        self._room.set()

    def discard(self) -> None:
        """Nobody will read any more: forget everything, and what still comes."""
        self._unwanted = True
        self._unread.clear()
        self.size = 0
        self._room.set()

    def close(self, error: Exception | None = None) -> None:
        """Nothing more is taken; the reader gets the error after all that came before."""
        if not self._closed:
            self._closed, self._error = True, error
            self._news.set()
            self._room.set()

    async def next(self) -> TaskEvent | None:
        """The next event; None after the last. Cancelling loses nothing."""
        if self._being_read:
            raise WiroError("somebody reads this session already: one loop reads it, and matches on the events' types")
        self._being_read = True
        try:
            while not self._unread:
                if self._error is not None:
                    raise self._error
                if self._closed:
                    return None
                self._news = anyio.Event()
                await self._news.wait()
        finally:
            self._being_read = False
        event, size = self._unread.popleft()
        self.size -= size
        self._room.set()
        return event
