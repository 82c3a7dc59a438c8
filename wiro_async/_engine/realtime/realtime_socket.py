"""The socket of one realtime session."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import anyio

from wiro_async._errors import ConnectionFailedError
from wiro_async._protocol.messages.frames import registration
from wiro_async._transport.websocket import Socket
from wiro_async._tuning import Tuning


class RealtimeSocket:
    """A socket that carries one task. A session cannot change to another socket: the service ends it with this one."""

    _socket: Socket

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Socket]], tuning: Tuning) -> None:
        self._connect = connect
        self._tuning = tuning
        self._open = AsyncExitStack()

    @property
    def closed_normally(self) -> bool:
        """Whether the service closed it as one does at the end."""
        return self._socket.closed_politely

    async def open(self) -> None:
        """Open it. Raises `ConnectionFailedError` if that fails several times, or at once if it will fail again."""
        for attempts_left in reversed(range(self._tuning.realtime_connects)):
            try:
                self._socket = await self._open.enter_async_context(self._connect())
            except ConnectionFailedError as error:
                if error.permanent or not attempts_left:
                    raise
                await anyio.sleep(self._tuning.realtime_connect_pause)
            else:
                return

    async def register(self, token: str) -> None:
        """Have the service send what happens to a task. Raises `ConnectionFailedError`."""
        # The socket was opened before the submit, so that no unreachable task is paid for. But a submit may wait for
        # minutes, and a proxy may have closed the silent socket meanwhile.
        if not self._socket.is_open:
            await self.aclose()
            await self.open()
        await self._socket.send(registration(token))

    async def send(self, frame: str | bytes) -> None:
        """Send one frame. Raises `ConnectionFailedError`. Cancelling it may have sent it."""
        await self._socket.send(frame)

    def frames(self) -> AsyncGenerator[bytes, None]:
        """The frames received, until the socket is closed by either side."""
        return self._socket.frames()

    async def is_alive(self, seconds: float) -> bool:
        """Whether the service responds to a ping within so many seconds."""
        return await self._socket.answers(seconds)

    async def aclose(self) -> None:
        """Close it. Closing it twice is harmless."""
        await self._open.aclose()
