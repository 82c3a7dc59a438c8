"""A bounded queue: a slow reader slows the writers down.

anyio's memory stream does the same with two checkpoints an item, which for items that need no waiting would be most of
what an item costs. It also knows no sizes: here an item may weigh as much as its bytes.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import anyio

from wiro_async._engine.background.change import Change

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """First in, first out, for any number of writers and readers.

    Args:
        limit: the total size of waiting items from which on writers wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[tuple[T, int]] = deque()
        self._writers: deque[tuple[anyio.Event, int]] = deque()  # each with the size of its item
        self._admitted = 0  # writers that were woken and have not put their item yet,
        self._reserved = 0  # and the size of those items
        self._filled = Change()
        self._closed = False
        self._error: Exception | None = None
        self.size = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_blocked(self) -> bool:
        """Whether a writer waits: for room, or for its turn to put its item where there is room again."""
        return bool(self._writers) or self._admitted > 0

    async def put(self, item: T, size: int = 1) -> None:
        """Wait for room, then add an item; after `close` it is dropped. Cancelled, it is not added."""
        if self._writers or not self._has_room():
            await self._wait_for_room(size)
        if not self._closed:
            self._items.append((item, size))
            self.size += size
            self._filled.notify()

    async def get(self) -> T:
        """The next item. Cancelling loses none.

        Raises:
            anyio.EndOfStream: the queue was closed, and everything was read.
            Exception: the error with which it was closed.
        """
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise anyio.EndOfStream
            await self._filled.wait()
        item, size = self._items.popleft()
        self.size -= size
        self._admit()
        return item

    def set_limit(self, limit: int) -> None:
        """Change how much may wait."""
        self._limit = limit
        self._admit()

    def replace(self, items: list[tuple[T, int]]) -> None:
        """Put other items in the place of those that wait."""
        self._items = deque(items)
        self.size = sum(size for _, size in items)
        self._admit()

    def snapshot(self) -> list[tuple[T, int]]:
        """The items that wait, with their sizes."""
        return list(self._items)

    def close(self, error: Exception | None = None) -> None:
        """Take nothing more. Readers get what waits, then the error or `anyio.EndOfStream`."""
        if not self._closed:
            self._closed, self._error = True, error
            self._filled.notify()
            self._admit()

    def _has_room(self) -> bool:
        return self._closed or self.size + self._reserved < self._limit

    def _admit(self) -> None:
        while self._writers and self._has_room():
            turn, size = self._writers.popleft()
            self._admitted += 1
            self._reserved += size
            turn.set()

    async def _wait_for_room(self, size: int) -> None:
        turn = anyio.Event()
        self._writers.append((turn, size))
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                # The turn was given but is not used: pass it on, or the next writer waits for nothing.
                self._leave(size)
                self._admit()
            else:
                self._writers.remove((turn, size))
            raise
        self._leave(size)

    def _leave(self, size: int) -> None:
        self._admitted -= 1
        self._reserved -= size
