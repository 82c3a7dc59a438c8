"""WebSockets, the only place that knows the websockets library."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from wiro_async._errors import ConnectionFailedError
from wiro_async._transport.exchange import reason
from wiro_async._transport.tls import Tls

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

MAX_MESSAGE = 64 * 1024 * 1024
OPEN_SECONDS = 10.0
SEND_SECONDS = 20.0
CLOSE_SECONDS = 1.0
PING_SECONDS = 20.0
NORMAL_CLOSURE = 1000


class Discreet(logging.LoggerAdapter[logging.Logger]):
    """A logger without DEBUG, at which the library logs every frame, and with them the tokens."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        """Whether a level is logged."""
        return level > logging.DEBUG and super().isEnabledFor(level)


logger = Discreet(logging.getLogger("wiro_async.socket"), {})


class Socket:
    """An open socket. Sending raises `ConnectionFailedError` when it is lost."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, frame: str | bytes) -> None:
        """Send one frame. Cancelling it may have sent it."""
        from websockets.exceptions import ConnectionClosed

        try:
            with anyio.fail_after(SEND_SECONDS):
                await self._connection.send(frame)
        except ConnectionClosed as error:
            raise ConnectionFailedError(f"the socket was closed: {error}") from error
        except TimeoutError as error:
            raise ConnectionFailedError(f"the socket took nothing for {SEND_SECONDS:g} s") from error

    async def answers(self, seconds: float) -> bool:
        """Whether the other side answers a ping within so many seconds."""
        from websockets.exceptions import ConnectionClosed

        try:
            with anyio.move_on_after(seconds):
                await (await self._connection.ping())
                return True
        except ConnectionClosed:
            pass
        return False

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed, as far as is known."""
        return self._connection.close_code is None

    @property
    def closed_politely(self) -> bool:
        """Whether the other side closed it, and as one does when all is said."""
        return self._connection.close_code == NORMAL_CLOSURE

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The frames received, text as UTF-8, until the socket is closed by either side."""
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                yield await self._connection.recv(decode=False)
        except ConnectionClosed:
            return


@asynccontextmanager
async def connected(
    url: str, user_agent: str, tls: Tls, compression: bool, pings: bool = True
) -> AsyncGenerator[Socket, None]:
    """A socket, closed on leaving. Raises `ConnectionFailedError` if it cannot be opened.

    Args:
        pings: whether it is lost if a ping is not answered in time. False for a reader who may be slow on purpose, for
            the answers wait behind what was not read: who is that asks by `Socket.answers`.
    """
    connection = await _connect(url, user_agent, tls, compression, pings)
    try:
        yield Socket(connection)
    finally:
        await _closed(connection)


async def _closed(connection: ClientConnection) -> None:
    try:
        # The library's own time-out begins after the close frame was taken, which may be never.
        with anyio.move_on_after(2 * CLOSE_SECONDS, shield=True):
            await connection.close()
    finally:
        connection.transport.abort()


async def _connect(url: str, user_agent: str, tls: Tls, compression: bool, pings: bool) -> ClientConnection:
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
            ping_interval=PING_SECONDS if pings else None,
            ping_timeout=PING_SECONDS,
            logger=logger,
        )
    # ImportError and ValueError come of proxies that it cannot use
    except (OSError, WebSocketException, ImportError, ValueError) as error:
        text, cause = reason(error)
        raise ConnectionFailedError(f"no socket: {text}", sent=False) from cause


def _load(tls: Tls | None) -> None:
    import_module("websockets.asyncio.client")
    import_module("msgspec.json")  # decodes what will come
    _ = tls and tls.context
