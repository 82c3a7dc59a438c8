"""A bounded queue between the stages of a batch: a slow reader slows the writers down.

anyio's memory stream does the same with two checkpoints an item, which for runs that come from the journal would be
most of what an item costs.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Outbox(Generic[T]):
    """First in, first out, for any number of writers and readers.

    Args:
        size: how many items wait at most.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._writers: deque[anyio.Event] = deque()
        self._admitted = 0
        self._readers = 0
        self._news = anyio.Event()
        self._closed = False

    async def put(self, item: T) -> None:
        """Wait for room, and put an item there. Cancelled, it is not there."""
        if self._writers or len(self._items) + self._admitted >= self._size:
            await self._stand_in_line()
        self._items.append(item)
        if self._readers:
            self._tell()

    async def get(self) -> T:
        """The next item. Cancelling loses none.

        Raises:
            anyio.EndOfStream: it was closed, and everything was read.
        """
        while not self._items:
            if self._closed:
                raise anyio.EndOfStream
            self._readers += 1
            try:
                await self._news.wait()
            finally:
                self._readers -= 1
        item = self._items.popleft()
        if self._writers:
            self._admit()
        return item

    def close(self) -> None:
        """Nothing more will be put there."""
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    def _admit(self) -> None:
        while self._writers and len(self._items) + self._admitted < self._size:
            self._admitted += 1
            self._writers.popleft().set()

    async def _stand_in_line(self) -> None:
        turn = anyio.Event()
        self._writers.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self._admitted -= 1
                self._admit()
            else:
                self._writers.remove(turn)
            raise
        self._admitted -= 1
