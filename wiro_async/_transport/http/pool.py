"""The default transport: a pool that hands out connections in constant time.

httpx's own pool looks at all its connections and all waiting requests whenever a request begins or ends, which is
quadratic with hundreds in flight, and it may give one connection to several requests of which all but one must try
again. So each connection here is an `httpx.AsyncHTTPTransport` of its own that may open just one. Idle ones lie on a
stack for each origin, the warmest on top. How many requests are in flight is limited by those who send them: nobody
waits for a connection here. Since the connections are httpx's own, whatever mocks or instruments httpx sees them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from functools import partial
from typing import TypeAlias

import anyio
import anyio.to_thread
import attrs
import httpx

from wiro_async._transport.http.tcp_stream import TcpBackend
from wiro_async._transport.network.proxies import proxy_for
from wiro_async._transport.network.tls import Tls
from wiro_async._tuning import Tuning

Origin: TypeAlias = tuple[str, str, int | None]


@attrs.frozen
class Route:
    """The way to one origin, and the idle connections to it, the most recently used last."""

    tls: ssl.SSLContext
    proxy: httpx.Proxy | None
    idle: deque[Connection] = attrs.field(factory=deque)


class Connection(httpx.AsyncHTTPTransport):
    """A transport with one connection, which opens it again if the server closed it while it was idle.

    Attributes:
        backend: opens the connection.
        idle_since: when it was last used.
    """

    def __init__(self, route: Route, limits: httpx.Limits) -> None:
        super().__init__(verify=route.tls, trust_env=False, limits=limits, proxy=route.proxy)
        self.backend = TcpBackend()
        # httpx has no argument for it, httpcore does. Without it, all works but is slower.
        self._pool._network_backend = self.backend
        self.route = route
        self.idle_since = 0.0

    def rest(self, now: float) -> None:
        """Join the idle ones."""
        self.idle_since = now
        self.route.idle.append(self)


class ConnectionPool(httpx.AsyncBaseTransport):
    """Sends each request over an idle connection to its origin, or over a new one.

    The first request to an origin looks up its proxy, and builds the TLS context if it needs one.

    Raises:
        ConfigurationError: the environment's proxy or certificates are not usable.
    """

    def __init__(self, tls: Tls, tuning: Tuning) -> None:
        self._tls = tls
        self._keep_alive = tuning.http_keep_alive
        self._max_connections = tuning.http_calls + tuning.http_downloads  # over them, a new one replaces an idle one
        self._limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=self._keep_alive)
        self._routes: dict[Origin, Route] = {}
        self._connections: set[Connection] = set()
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Its connection is free again when its response is closed."""
        url = request.url
        origin = (url.scheme, url.host, url.port)
        route = self._routes.get(origin)
        if route is None:
            route = await anyio.to_thread.run_sync(self._route_to, origin)
            route = self._routes.setdefault(origin, route)
        if self._is_closed:
            raise RuntimeError("the pool is closed")
        if route.idle and route.idle[-1].idle_since > asyncio.get_running_loop().time() - self._keep_alive:
            connection = route.idle.pop()
        else:
            connection = await self._new_connection(route)
        if not isinstance(request.stream, httpx.ByteStream):
            assert isinstance(request.stream, httpx.AsyncByteStream)
            body = UploadStream(request.stream, connection.backend)
            request = httpx.Request(
                request.method, url, headers=request.headers, stream=body, extensions=request.extensions
            )
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            self._connections.discard(connection)  # httpcore has closed it
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        free = partial(self._free, connection)
        if response.is_closed:  # by a mock that gives a whole response
            free(True)
        else:
            response.stream = PooledStream(response.stream, free)
        return response

    async def aclose(self) -> None:
        """Close all connections, also those that are being read from."""
        self._is_closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        connections, self._connections = self._connections, set()
        with anyio.CancelScope(shield=True):
            await _close(connections)
            if self._closing is not None:
                await self._closing

    async def _new_connection(self, route: Route) -> Connection:
        if len(self._connections) >= self._max_connections:
            routes = [known for known in self._routes.values() if known.idle]
            if routes:
                oldest = min(routes, key=lambda known: known.idle[0].idle_since).idle.popleft()
                self._connections.discard(oldest)
                await oldest.aclose()
        connection = Connection(route, self._limits)
        self._connections.add(connection)
        return connection

    def _free(self, connection: Connection, is_reusable: bool) -> None:
        if not is_reusable or self._is_closed:
            self._connections.discard(connection)  # httpcore has closed it, or the pool has
            return
        loop = asyncio.get_running_loop()
        connection.rest(loop.time())
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(self._keep_alive, self._sweep)

    def _sweep(self) -> None:
        """Close what was idle for too long, and come back when the next one will have been."""
        loop, expired, rested = asyncio.get_running_loop(), set[Connection](), list[float]()
        for route in self._routes.values():
            while route.idle and route.idle[0].idle_since <= loop.time() - self._keep_alive:
                expired.add(route.idle.popleft())
            rested += [connection.idle_since for connection in list(route.idle)[:1]]
        self._sweep_timer = loop.call_at(min(rested) + self._keep_alive, self._sweep) if rested else None
        if expired:
            self._connections -= expired
            self._closing = loop.create_task(_close(expired))

    def _route_to(self, origin: Origin) -> Route:
        scheme, host, port = origin
        address = proxy_for(scheme, host, port or (443 if scheme == "https" else 80))
        is_secure_proxy = address is not None and address.lower().startswith("https:")
        # A context that trusts nobody stands in where none is used: without one, each transport would build its own.
        context = self._tls.context if scheme == "https" or is_secure_proxy else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        proxy = None
        if address is not None:
            proxy = httpx.Proxy(address, ssl_context=self._tls.context if is_secure_proxy else None)
        return Route(context, proxy)


class UploadStream(httpx.AsyncByteStream):
    """The body of a request, which ends early if the server responds before it was sent."""

    def __init__(self, stream: httpx.AsyncByteStream, backend: TcpBackend) -> None:
        self._stream = stream
        self._backend = backend

    async def __aiter__(self) -> AsyncIterator[bytes]:
        source = aiter(self._stream)
        assert self._backend.stream is not None  # httpcore connects before it asks for the body
        while True:
            async with self._backend.stream.until_response():
                piece = await anext(source, None)
            if piece is None:
                return
            yield piece


class PooledStream(httpx.AsyncByteStream):
    """The body of a response, which frees its connection when it is closed.

    Args:
        free: called once, with whether the body was read to its end, so that the connection can be used again.
    """

    def __init__(self, stream: httpx.AsyncByteStream, free: Callable[[bool], None]) -> None:
        self._stream = stream
        self._free: Callable[[bool], None] | None = free
        self._is_complete = False

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        stream = aiter(self._stream)
        try:
            async for chunk in stream:
                yield chunk
            self._is_complete = True
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    async def aclose(self) -> None:
        free, self._free = self._free, None
        if free is not None:
            try:
                await self._stream.aclose()
            finally:
                free(self._is_complete)


async def _close(connections: Iterable[Connection]) -> None:
    for connection in connections:
        await connection.aclose()
