"""The one way to wait for something that others change.

An event that is set once cannot say "again", and swapping events by hand at every place is easy to get wrong: a waiter
that looks, then waits on an event that was swapped in between, sleeps through the news. Here the check and the wait
belong together, with no await between them.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio


class Change:
    """Wakes everybody who waits, each time something has changed."""

    def __init__(self) -> None:
        self._next: anyio.Event | None = None

    def notify(self) -> None:
        """Wake all who wait now."""
        if self._next is not None:
            event, self._next = self._next, None
            event.set()

    async def wait(self) -> None:
        """Wait for the next notification. Cancelling is harmless."""
        if self._next is None:
            self._next = anyio.Event()
        await self._next.wait()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds; it is checked now and after every notification. Cancelling is harmless."""
        while not condition():
            await self.wait()
