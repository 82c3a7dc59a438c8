"""All realtime connections of a session. Each has a socket and a background task of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING

import anyio
import attrs

from wiro_async._engine.background.background_tasks import BackgroundTask, BackgroundTasks
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import SessionClosedError
from wiro_async._protocol.conversations.realtime_phases import EndReason
from wiro_async._transport.websocket import Socket
from wiro_async._tuning import Tuning
from wiro_async._types import Timeouts

if TYPE_CHECKING:  # most sessions never use realtime models: imported with the first connection
    from wiro_async._engine.realtime.realtime_connection import RealtimeConnection
    from wiro_async._engine.realtime.realtime_socket import RealtimeSocket


@attrs.define(eq=False)
class RealtimeConnections:
    """Opens sockets, runs the connections on them, and closes them with the session."""

    _tuning: Tuning
    _background: BackgroundTasks
    _tracker: Tracker
    _connect: Callable[[], AbstractAsyncContextManager[Socket]]
    _running: dict[RealtimeConnection, BackgroundTask] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._running)

    async def open_socket(self) -> RealtimeSocket:
        """Open a socket. Raises `ConnectionFailedError` if that fails several times."""
        from wiro_async._engine.realtime.realtime_socket import RealtimeSocket

        socket = RealtimeSocket(self._connect, self._tuning)
        await socket.open()
        return socket

    def begin(self, task: TrackedTask, socket: RealtimeSocket, timeouts: Timeouts, start: float) -> RealtimeConnection:
        """Own a task that was just submitted, and register it in the background. Never waits.

        Args:
            start: the loop time from which timeouts count.
        """
        from wiro_async._engine.realtime.realtime_connection import RealtimeConnection

        connection = RealtimeConnection(self._tuning, self._tracker, task, socket, timeouts, start)
        self._running[connection] = self._background.start(self._run, connection)
        return connection

    async def close(self, connection: RealtimeConnection) -> None:
        """End a session, gracefully if it does so within `Tuning.realtime_end`, else by stopping its task.

        Shielded, and waits for `Tuning.realtime_leave` at most. Then, or if this is cancelled all the same, the session
        ends in the background.
        """
        connection.leave()
        if (task := self._running.get(connection)) is not None:
            with anyio.move_on_after(self._tuning.realtime_leave, shield=True), suppress(SessionClosedError):
                await task.wait()

    async def aclose(self) -> None:
        """End all sessions. Those who read or send get a `SessionClosedError`."""
        async with anyio.create_task_group() as group:
            for connection in list(self._running):
                error = SessionClosedError("the session was closed while a realtime session was open")
                connection.fail(EndReason.SESSION_CLOSED, error)
                group.start_soon(self.close, connection)

    async def _run(self, connection: RealtimeConnection) -> None:
        try:
            await connection.run()
        finally:
            del self._running[connection]
