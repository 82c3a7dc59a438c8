"""WebSockets, the only place that imports the websockets library."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio

from wiro_async._errors import ConnectionFailedError
from wiro_async._protocol.http.foreign_pages import describe_body
from wiro_async._protocol.http.wire_urls import wire_url
from wiro_async._transport import threads
from wiro_async._transport.network.happy_eyeballs import ProxyConnectError, connected_socket, working_address
from wiro_async._transport.network.proxies import at_address, proxy_for
from wiro_async._transport.network.reasons import causes, unsent
from wiro_async._transport.network.silent_addresses import SILENCE, silent_addresses
from wiro_async._transport.network.tls import Tls
from wiro_async._tuning import Tuning

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

MAX_MESSAGE = 64 * 1024 * 1024
NORMAL_CLOSURE = 1000


class Discreet(logging.LoggerAdapter[logging.Logger]):
    """A logger without DEBUG, at which the library logs every frame, and with them the tokens."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        return level > logging.DEBUG and super().isEnabledFor(level)


logger = Discreet(logging.getLogger("wiro_async.socket"), {})


class Socket:
    """An open socket. Sending raises `ConnectionFailedError` when it is lost."""

    def __init__(self, connection: ClientConnection, send_timeout: float) -> None:
        self._connection = connection
        self._send_timeout = send_timeout

    async def send(self, frame: str | bytes) -> None:
        """Send one frame. Cancelling it may have sent it."""
        from websockets.exceptions import ConnectionClosed

        try:
            with anyio.fail_after(self._send_timeout):
                await self._connection.send(frame)
        except ConnectionClosed as error:
            raise ConnectionFailedError(f"The WebSocket is closed: {error}.") from error
        except TimeoutError as error:
            raise ConnectionFailedError(f"The WebSocket send timed out after {self._send_timeout:g} s.") from error

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
    url: str, user_agent: str, tls: Tls, compression: bool, tuning: Tuning, pings: bool = True
) -> AsyncGenerator[Socket, None]:
    """Open a socket, and close it on leaving.

    It goes through the same proxy, and trusts the same certificates, as HTTP does.

    Args:
        pings: whether the socket is lost if a ping is not answered in time. False for a reader that may be slow on
            purpose: the answers wait behind what it did not read. `Socket.answers` asks in that case.

    Raises:
        ConnectionFailedError: it cannot be opened.
        ConfigurationError: it cannot be opened until a setting is changed.
    """
    what, url = "Could not open the WebSocket", wire_url(url)
    try:
        proxy = await threads.run(_prepare, url, tls)
    except Exception as error:  # of any kind: a library, a file of certificates, a setting
        raise unsent(error, what)  # noqa: B904 - its cause is set
    from websockets.exceptions import InvalidProxyStatus, InvalidStatus

    try:
        async with asyncio.timeout(tuning.socket_open):
            connection = await _open(url, proxy, user_agent, tls, compression, tuning, pings)
    except Exception as error:  # of any kind: nothing but the handshake can have been sent
        # It lies behind another error where the response is a redirect, which is not followed.
        refusal = next((link for link in causes(error) if isinstance(link, (InvalidStatus, InvalidProxyStatus))), None)
        if refusal is not None:
            who = "the proxy" if isinstance(refusal, InvalidProxyStatus) else "the server"
            status, body = refusal.response.status_code, bytes(refusal.response.body or b"")
            found = describe_body(refusal.response.headers, body)
            raise ConnectionFailedError(f"{what}: {who} answered HTTP {status} with {found}.", sent=False) from refusal
        raise unsent(error, what)  # noqa: B904 - its cause is set
    try:
        yield Socket(connection, tuning.socket_send)
    finally:
        try:
            # The library's own timeout begins when the close frame was sent, which may be never.
            with anyio.move_on_after(tuning.socket_close, shield=True):
                await connection.close()
        finally:
            connection.transport.abort()


async def _open(
    url: str, proxy: str | None, user_agent: str, tls: Tls, compression: bool, tuning: Tuning, pings: bool
) -> ClientConnection:
    from websockets.asyncio.client import connect

    parts = urlsplit(url if proxy is None else proxy)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme in ("wss", "https") else 80)
    options: dict[str, Any] = {"ssl": tls.context if url.startswith("wss") else None, "proxy": None}
    address: tuple[Any, ...] | None = None
    if proxy is None:
        options["sock"] = await connected_socket(host, port)
        with suppress(OSError):  # the other side is gone already
            address = options["sock"].getpeername()
    else:
        # The library connects to proxies itself, and would try one address after the other.
        address = await working_address(host, port), port
        options["proxy"] = at_address(proxy, address[0], port)
        if parts.scheme == "https":
            options |= {"proxy_ssl": tls.context, "proxy_server_hostname": host}
    start = anyio.current_time()
    try:
        return await connect(
            url,
            user_agent_header=user_agent,
            compression="deflate" if compression else None,
            max_size=MAX_MESSAGE,
            open_timeout=None,
            close_timeout=tuning.socket_close,
            ping_interval=tuning.socket_ping if pings else None,
            ping_timeout=tuning.socket_ping,
            logger=logger,
            **options,
        )
    except ConnectionRefusedError as error:  # by the proxy: without one, the connection exists already
        raise ProxyConnectError(f"{host}:{port}") from error
    except BaseException as error:
        # Given up: by the timeout, or by the caller. Behind a proxy, it may be the host that is silent.
        if isinstance(error, asyncio.CancelledError) and anyio.current_time() - start >= SILENCE:
            silent_addresses.add(address)
        if "sock" in options:  # the library may not have come to take it over
            options["sock"].close()
        raise


def _prepare(url: str, tls: Tls) -> str | None:
    """Do what takes long, in a thread: the imports, the TLS context, and looking up the proxy."""
    import_module("websockets.asyncio.client")
    import_module("msgspec.json")  # decodes the messages
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    proxy = proxy_for("https" if secure else "http", parts.hostname or "", parts.port or (443 if secure else 80))
    _ = tls.context if secure or (proxy is not None and proxy.lower().startswith("https:")) else None
    return proxy
