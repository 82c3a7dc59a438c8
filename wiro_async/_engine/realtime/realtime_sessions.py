"""The realtime sessions of a session: each has a socket of its own, opened before its run is submitted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING

import anyio
import attrs

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.task_calls import TaskCalls, TaskRef
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import ConnectionFailedError, SessionClosedError
from wiro_async._transport.websocket import Socket
from wiro_async._types import Timeouts

if TYPE_CHECKING:
    from wiro_async._engine.realtime.realtime_connection import OpenSocket, RealtimeLine

CONNECTS, CONNECT_PAUSE = 3, 0.2  # attempts to open a socket


@attrs.define(eq=False)
class Realtime:
    """Opens sockets, and knows the sessions on them."""

    background: BackgroundTasks
    tracker: Tracker
    _connect: Callable[[], AbstractAsyncContextManager[Socket]]
    _lines: set[RealtimeLine] = attrs.field(factory=set, init=False)

    def __len__(self) -> int:
        return len(self._lines)

    async def connect(self) -> OpenSocket:
        """Open a socket. Raises `ConnectionFailedError` if that cannot be done."""
        from wiro_async._engine.realtime.realtime_connection import OpenSocket

        for left in reversed(range(CONNECTS)):
            stack = AsyncExitStack()
            try:
                return OpenSocket(await stack.enter_async_context(self._connect()), stack)
            except ConnectionFailedError:
                if not left:
                    raise
            await anyio.sleep(CONNECT_PAUSE)
        raise AssertionError

    def begin(
        self, calls: TaskCalls, ref: TaskRef, model: str, opened: OpenSocket, timeouts: Timeouts, start: float
    ) -> RealtimeLine:
        """Own a task that was just submitted, and register it. Never waits.

        Args:
            start: the loop time from which time-outs count.
        """
        from wiro_async._engine.realtime.realtime_connection import RealtimeLine

        line = RealtimeLine(self.tracker, calls, ref, opened, timeouts, start)
        line.begin(self.background, model, self.connect)
        self._lines.add(line)
        line.on_closed = self._lines.discard
        return line

    async def aclose(self) -> None:
        """End all sessions, as gracefully as their tasks allow."""
        async with anyio.create_task_group() as group:
            for line in list(self._lines):
                line.fail(SessionClosedError("the session was closed while a realtime session was open"))
                group.start_soon(line.close)
