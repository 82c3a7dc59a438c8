"""When a request must be answered."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress


class Deadline:
    """The time left for one request. Each piece of a streamed body restarts it; waiting for a piece does not count.

    Args:
        seconds: how long it lasts; None for no limit.
        connect: the most seconds for connecting. It ends well before the deadline, which proves that nothing was sent.
    """

    def __init__(self, seconds: float | None, connect: float) -> None:
        self.seconds = seconds
        self.connect = connect if seconds is None else min(connect, seconds / 2)
        self._timer: asyncio.Timeout | None = None
        self._ends_at: float | None = None
        self.restart()

    def timer(self) -> asyncio.Timeout:
        """Start a block that raises `TimeoutError` at the deadline."""
        self._timer = asyncio.timeout_at(self._ends_at)
        return self._timer

    def restart(self) -> None:
        """Begin again with the full time."""
        self._end_at(None if self.seconds is None else asyncio.get_running_loop().time() + self.seconds)

    def expire(self) -> None:
        """End the running block now."""
        self._end_at(asyncio.get_running_loop().time())

    @contextmanager
    def paused(self) -> Generator[None, None, None]:
        """Stop the clock within the block, and restart it afterwards."""
        self._end_at(None)
        try:
            yield
        finally:
            self.restart()

    def _end_at(self, when: float | None) -> None:
        self._ends_at = when
        if self._timer is not None:
            with suppress(RuntimeError):  # the block is over; some transports go on reading the body all the same
                self._timer.reschedule(when)
