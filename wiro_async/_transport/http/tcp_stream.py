"""Connections for httpcore, straight on asyncio.

httpcore's own go through anyio, whose cancel scopes and checkpoints cost more than the request itself, and they send
the head of a request and its body in two packets. This one collects what is written until the event loop runs again,
which makes it one system call, and knows without a system call whether the server has hung up.

A server may respond before it has read the whole request, for instance to refuse a large upload. Then httpcore should
stop writing and read the response. It does so after a `WriteError`, so that is what writing raises in this case.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import httpcore

from wiro_async._transport.network.happy_eyeballs import connected_socket, proxy_socket
from wiro_async._transport.network.silent_addresses import SILENCE, silent_addresses

LARGE_WRITE = 64 * 1024  # bytes that are sent at once, while the writer waits until the system has taken them
MAX_UNREAD = 512 * 1024  # bytes; with more of them, nothing is received until some were read
INTERIM = b"HTTP/1.1 1"  # how a response begins that another one follows, such as 100 or 103


class TcpBackend(httpcore.AsyncNetworkBackend):
    """Opens connections for one transport, one after the other.

    Args:
        tunnel_handshakes: how many TLS handshakes a tunnel through a proxy takes; 0 without a tunnel.
        is_proxy: whether what it connects to is a proxy.
        public_only: whether addresses of this machine and of private networks are refused.
    """

    def __init__(self, tunnel_handshakes: int, *, is_proxy: bool, public_only: bool) -> None:
        self.stream: TcpStream | None = None  # the latest connection
        self._public_only = public_only
        self._tunnel_handshakes = tunnel_handshakes
        self._is_proxy = is_proxy

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect. Raises `httpcore.ConnectError` or `httpcore.ConnectTimeout`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                if self._is_proxy:
                    connected = await proxy_socket(host, port)
                else:
                    connected = await connected_socket(host, port, public_only=self._public_only)
                _, self.stream = await loop.create_connection(
                    partial(TcpStream, self._tunnel_handshakes, timeout), sock=connected
                )
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("timed out") from error
        except Exception as error:  # of any kind, such as a thread that cannot be started: nothing was sent
            raise httpcore.ConnectError(str(error) or type(error).__name__) from error
        return self.stream


class TcpStream(httpcore.AsyncNetworkStream, asyncio.Protocol):
    """One connection, plain or with TLS. It has one reader and one writer at a time.

    Until a tunnel through a proxy is complete, nothing of a request can have left: failures are those of connecting.
    """

    def __init__(self, tunnel_handshakes: int, connect_timeout: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._tunnel_handshakes = tunnel_handshakes  # that are still to come
        self._connect_timeout = connect_timeout
        self._transport: asyncio.Transport
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._eager_bytes = 0  # read since the event loop had a turn
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._source: asyncio.Timeout | None = None
        self._sent_at: float | None = None  # when something was sent last
        self._was_heard = False  # something came, beyond what belongs to TLS
        self._is_full = False  # the system takes nothing to send for now
        self._is_ended = False  # the server sends nothing more
        self._lost: Exception | None = None  # why nothing can be sent any more

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes, in pieces as they came, however long; b"" at the end."""
        if not self._unread and self._lost is None:
            self._reader = self._loop.create_future()
            try:
                self._eager_bytes = 0
                async with asyncio.timeout(self._connect_timeout if self._tunnel_handshakes else timeout):
                    await self._reader
            except TimeoutError as error:
                if self._tunnel_handshakes:
                    raise httpcore.ConnectTimeout("the proxy timed out") from error
                raise httpcore.ReadTimeout("timed out") from error
            finally:
                self._reader = None
        if self._unread:
            chunk = self._unread.popleft()
            if self._unread_bytes >= MAX_UNREAD and self._lost is None:
                self._transport.resume_reading()
            self._unread_bytes -= len(chunk)
            self._eager_bytes += len(chunk)
            if self._eager_bytes > MAX_UNREAD:  # a reader that is never kept waiting must not stop the event loop
                self._eager_bytes = 0
                await asyncio.sleep(0)
            return chunk
        if self._tunnel_handshakes:
            raise httpcore.ConnectError("the proxy closed the connection") from self._lost
        if not self._is_ended:
            raise httpcore.ReadError(str(self._lost)) from self._lost
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes. Small ones leave together with those that are written right after them."""
        self._check_writable()
        if not buffer:
            return
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(buffer)
        self._unsent_bytes += len(buffer)
        if self._unsent_bytes < LARGE_WRITE:
            return
        self._flush()
        if not self._is_full:
            await asyncio.sleep(0)  # a source that never waits must not stop the event loop
            return
        self._writer = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._writer
        except TimeoutError as error:
            raise httpcore.WriteTimeout("timed out") from error
        finally:
            self._writer = None
        self._check_writable()

    @asynccontextmanager
    async def until_response(self) -> AsyncGenerator[None, None]:
        """Run a block that waits for a piece of the request. It is cancelled if the server responds before."""
        self._check_writable()
        try:
            async with asyncio.timeout(None) as self._source:
                yield
        except TimeoutError:
            self._check_writable()
            raise  # it is not ours
        finally:
            self._source = None

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands. Raises `httpcore.ConnectError` or `httpcore.ConnectTimeout`; then it is closed."""
        if self._lost is not None:  # asyncio would wait for the other side until the timeout
            raise httpcore.ConnectError(str(self._lost)) from self._lost
        try:
            async with asyncio.timeout(timeout):
                transport = await self._loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError as error:
            if not self._was_heard:  # otherwise it is a proxy that has said something, and the host behind it is silent
                silent_addresses.add(self._address)
            raise httpcore.ConnectTimeout("the TLS handshake timed out") from error
        except Exception as error:  # also of a context of the user's own
            raise httpcore.ConnectError(str(error) or type(error).__name__) from error
        assert transport is not None
        self._transport = transport
        self._tunnel_handshakes = max(0, self._tunnel_handshakes - 1)
        return self

    async def aclose(self) -> None:
        """Close it, also under its reader and its writer."""
        self.abort()
        await asyncio.sleep(0)  # asyncio closes the socket then

    def abort(self) -> None:
        """Close it without waiting until the socket is closed."""
        if not self._was_heard and self._sent_at is not None and self._loop.time() - self._sent_at >= SILENCE:
            silent_addresses.add(self._address)
        self._lose(ConnectionAbortedError("it was closed by the client"))
        self._transport.abort()

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks for: whether the server hung up, and facts of TLS and addresses."""
        if info == "is_readable":  # an idle connection on which something arrives is of no use
            return bool(self._unread) or self._lost is not None
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # that of uvloop does not inherit from it

    def data_received(self, data: bytes) -> None:
        if not self._was_heard:
            self._was_heard = True
            silent_addresses.discard(self._address)
        self._unread.append(data)
        self._unread_bytes += len(data)
        if self._unread_bytes >= MAX_UNREAD:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._is_ended = True
        self._lose(ConnectionResetError("the server closed it"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_ended = self._is_ended or (exc is None and self._lost is None)
        self._lose(exc or ConnectionResetError("the server closed it"))

    @property
    def _address(self) -> Any:
        return self._transport.get_extra_info("peername")

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def _lose(self, error: Exception) -> None:
        self._lost = self._lost or error
        self._wake()

    def _wake(self) -> None:
        """Let the reader look, and the writer too if it may write no more."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        if (self._writer is None and self._source is None) or (self._lost is None and not self._has_response):
            return
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)
        if self._source is not None and not self._source.expired():
            self._source.reschedule(self._loop.time())

    @property
    def _has_response(self) -> bool:
        head = b"".join(self._unread)
        while head.startswith(INTERIM) and b"\r\n\r\n" in head:
            head = head.partition(b"\r\n\r\n")[2]
        return not head.startswith(INTERIM) and not INTERIM.startswith(head)  # its first bytes do not show its kind yet

    def _check_writable(self) -> None:
        if self._lost is not None:
            raise httpcore.WriteError(str(self._lost)) from self._lost
        if self._has_response:
            raise httpcore.WriteError("the server responded before the end of the request")

    def _flush(self) -> None:
        unsent, size = self._unsent, self._unsent_bytes
        self._unsent, self._unsent_bytes = [], 0
        if not unsent or self._lost is not None:
            return
        self._sent_at = self._loop.time()
        # Not `writelines`: in Python 3.12.0 to 3.12.8 and 3.13.0 to 3.13.1 it never pauses the writer (CVE-2024-12254).
        for piece in [b"".join(unsent)] if size < LARGE_WRITE else unsent:
            self._transport.write(piece)
