"""Returns items in the order of their inputs."""

from __future__ import annotations

from wiro_async._api.batch.batch_items import BatchItem
from wiro_async._engine.background.change import Change


class ReorderBuffer:
    """Keeps ended items until it is their turn, and bounds how far inputs may be ahead.

    One slow item would otherwise pile up all that end after it. So inputs are taken only while fewer than `window` of
    them are ahead of the next item to return.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._early: dict[int, BatchItem] = {}
        self._taken = 0
        self._returned = 0
        self._changed = Change()

    async def reserve(self) -> None:
        """Wait for room for one more input."""
        await self._changed.until(lambda: self._taken < self._returned + self._window)
        self._taken += 1

    def add(self, item: BatchItem) -> None:
        """Keep an item that has ended."""
        self._early[item.index] = item

    def pop_next(self) -> BatchItem | None:
        """Take out the next item, if it has ended."""
        item = self._early.pop(self._returned, None)
        if item is not None:
            self._returned += 1
            self._changed.notify()
        return item

    def pop_rest(self) -> BatchItem | None:
        """Take out the first of the remaining items, where some before it will never end."""
        return self._early.pop(min(self._early)) if self._early else None
