"""WebSockets, the only place that knows the websockets library."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio.to_thread

from wiro_async._errors import ConnectionFailedError
from wiro_async._transport.tls import Tls

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

MAX_MESSAGE = 64 * 1024 * 1024
OPEN_SECONDS = 10.0
CLOSE_SECONDS = 1.0
PING_SECONDS = 20.0


class Socket:
    """An open socket. Sending and receiving raise `ConnectionFailedError` when it is lost."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, frame: str | bytes) -> None:
        """Send one frame."""
        from websockets.exceptions import ConnectionClosed

        try:
            await self._connection.send(frame)
        except ConnectionClosed as error:
            raise ConnectionFailedError(f"the socket was closed: {error}") from error

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The frames received, text as UTF-8, until the socket is closed by either side."""
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                yield await self._connection.recv(decode=False)
        except ConnectionClosed:
            return


@asynccontextmanager
async def connected(url: str, user_agent: str, tls: Tls, compression: bool) -> AsyncIterator[Socket]:
    """A socket, closed on leaving. Raises `ConnectionFailedError` if it cannot be opened."""
    connection = await _connect(url, user_agent, tls, compression)
    try:
        yield Socket(connection)
    finally:
        with anyio.CancelScope(shield=True):
            await connection.close()


async def _connect(url: str, user_agent: str, tls: Tls, compression: bool) -> ClientConnection:
    secure = url.startswith("wss")
    await anyio.to_thread.run_sync(_load, tls if secure else None)
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    try:
        return await connect(
            url,
            ssl=tls.context if secure else None,
            user_agent_header=user_agent,
            compression="deflate" if compression else None,
            max_size=MAX_MESSAGE,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
        )
    except (OSError, WebSocketException, TimeoutError) as error:
        raise ConnectionFailedError(f"no socket: {type(error).__name__}: {error}") from error


def _load(tls: Tls | None) -> None:
    import websockets.asyncio.client

    assert websockets.asyncio.client and (tls is None or tls.context)
