"""Items in the order of their inputs."""

from __future__ import annotations

import anyio

from wiro_async._api.batch.batch_items import BatchItem


class Ordering:
    """Keeps ended items until it is their turn.

    Args:
        window: how many items may be taken ahead of the next one to be given.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._early: dict[int, BatchItem] = {}
        self._given = 0
        self._moved = anyio.Event()

    def add(self, item: BatchItem) -> None:
        """An item has ended."""
        self._early[item.index] = item

    def due(self) -> BatchItem | None:
        """The next item, if it has ended."""
        item = self._early.pop(self._given, None)
        if item is not None:
            self._given += 1
            moved, self._moved = self._moved, anyio.Event()
            moved.set()
        return item

    def rest(self) -> BatchItem | None:
        """The next of those that have ended, where some before it never will."""
        return self._early.pop(min(self._early)) if self._early else None

    @property
    def most(self) -> int:
        """How many inputs may be taken by now, in all."""
        return self._given + self._window

    async def moved(self) -> None:
        """Wait until an item was given."""
        await self._moved.wait()
