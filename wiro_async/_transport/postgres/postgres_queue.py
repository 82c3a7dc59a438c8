"""Statements on their way from the caller's event loop to the thread that runs them.

The queue has no limit of its own: while the database is away nothing new is submitted, so what waits is bounded by the
runs in flight.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import attrs

from wiro_async._errors import JournalError
from wiro_async._transport.postgres.postgres_connection import Row

logger = logging.getLogger("wiro_async")


@attrs.define(eq=False)
class QueuedStatement:
    """One statement on its way to the thread, and its outcome on the way back."""

    sql: str
    key: str | None  # statements of one key keep their order
    values: tuple[object, ...]
    many: bool  # it may return any number of rows, and goes alone
    future: asyncio.Future[list[Row]] | None
    deadline: float  # of the monotonic clock
    rows: list[Row] = attrs.field(factory=list)
    error: JournalError | None = None

    def deliver(self) -> None:
        """Give the outcome to the caller, in the caller's event loop."""
        if self.future is not None and not self.future.done():
            if self.error is not None:
                self.future.set_exception(self.error)
            else:
                self.future.set_result(self.rows)
        elif self.future is None and self.error is not None:
            logger.error("an entry could not be written: %s", self.error)


class ThreadQueue:
    """What belongs to the thread: calls that wait, and wishes of the caller's event loop."""

    def __init__(self) -> None:
        self.calls: deque[QueuedStatement] = deque()
        self.closing: asyncio.Event
        self.pulse_over: asyncio.Event
        self._loop: asyncio.AbstractEventLoop | None = None
        self._early: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self._lock = threading.RLock()  # the garbage collector may call `close` in between
        self._wake: asyncio.Event
        self._beat: asyncio.Event
        self._beats: list[asyncio.Future[None]] = []
        self._alone: set[QueuedStatement] = set()
        self._has_ended = False

    def start(self) -> ThreadQueue:
        """Take over the running event loop of the thread."""
        self.closing, self.pulse_over = asyncio.Event(), asyncio.Event()
        self._wake, self._beat = asyncio.Event(), asyncio.Event()
        with self._lock:
            self._loop = asyncio.get_running_loop()
            for function, arguments in self._early:
                self._loop.call_soon(function, *arguments)
        return self

    def end(self) -> None:
        with self._lock:
            self._has_ended = True

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function in the thread, from any other one."""
        with self._lock:
            if self._has_ended:
                return
            if self._loop is None:
                self._early.append((function, arguments))
            else:
                self._loop.call_soon_threadsafe(function, *arguments)

    def close(self) -> None:
        self.closing.set()
        self._wake.set()
        self._beat.set()

    def accept(self, calls: list[QueuedStatement]) -> None:
        self.calls.extend(calls)
        self._wake.set()

    def want_beat(self, beaten: asyncio.Future[None]) -> None:
        self._beats.append(beaten)
        self._beat.set()

    def take_beats(self) -> list[asyncio.Future[None]]:
        beats, self._beats = self._beats, []
        self._beat.clear()
        return beats

    def return_beats(self, beats: list[asyncio.Future[None]]) -> None:
        self._beats += [beaten for beaten in beats if not beaten.done()]

    async def wait_for_calls(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    async def wait_for_beat(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._beat.wait()

    async def sleep(self, seconds: float) -> None:
        """Sleep, or until the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closing.wait()
        if self.closing.is_set():
            await asyncio.sleep(min(seconds, 0.05))

    def take_batch(self, most: int) -> list[QueuedStatement]:
        """Take the oldest call, and others of its statement that overtake none of their own key."""
        while True:
            first = self.calls.popleft()
            if not self.calls or first.future is None or not first.future.cancelled():
                break  # calls that were cancelled in the queue are dropped
        if first.many or first in self._alone:
            self._alone.discard(first)
            return [first]
        batch, later = [first], list[QueuedStatement]()
        held = set[str | None]()
        while self.calls and len(batch) < most:
            call = self.calls.popleft()
            if call.many:  # a read must see what was requested before it
                later.append(call)
                break
            if call.sql == first.sql and call.key not in held and call not in self._alone:
                batch.append(call)
            else:
                held.add(call.key)
                later.append(call)
        self.calls.extendleft(reversed(later))
        return batch

    def return_calls(self, batch: list[QueuedStatement]) -> None:
        self.calls.extendleft(reversed(batch))

    def split(self, batch: list[QueuedStatement]) -> None:
        self._alone.update(batch)
        self.return_calls(batch)

    def take_all(self) -> list[QueuedStatement]:
        calls, self.calls = list(self.calls), deque()
        return calls

    def take_expired(self, now: float) -> list[QueuedStatement]:
        expired = [call for call in self.calls if call.deadline <= now]
        self.calls = deque(call for call in self.calls if call.deadline > now)
        return expired
