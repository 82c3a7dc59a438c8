"""The default transport: a pool that hands out connections in constant time.

httpx's own pool looks at all its connections and all waiting requests whenever a request begins or ends. That is
quadratic with hundreds in flight, and it may give one connection to several requests, of which all but one must try
again. Here each connection is an `httpx.AsyncHTTPTransport` of its own, over one connection of httpcore. Idle ones lie
on a stack for each origin, the last used on top. Those who send requests limit how many are in flight, so nobody waits
for a connection here. Because the connections are httpx's own, everything that mocks or instruments httpx sees them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeAlias, cast

import attrs
import httpcore
import httpx

from wiro_async._transport import threads
from wiro_async._transport.http.tcp_stream import TcpBackend
from wiro_async._transport.network.proxies import proxy_for
from wiro_async._transport.network.reasons import unsent
from wiro_async._transport.network.tls import Tls
from wiro_async._tuning import Tuning

Origin: TypeAlias = tuple[str, str, int | None]


@attrs.frozen
class Route:
    """The way to one origin, and the idle connections to it, the last used at the end."""

    origin: httpcore.Origin
    tls: ssl.SSLContext
    proxy: httpcore.Proxy | None
    keep_alive: float
    idle: deque[Connection] = attrs.field(factory=deque)


class Connection(httpx.AsyncHTTPTransport):
    """A transport with one connection.

    Attributes:
        route: where it goes.
        idle_since: when it was last used.
    """

    def __init__(self, route: Route) -> None:
        super().__init__(verify=route.tls, trust_env=False)
        self.route = route
        self.idle_since = 0.0
        tunnel_handshakes = 0
        if route.proxy is not None and route.origin.scheme == b"https":
            tunnel_handshakes = 2 if route.proxy.url.scheme == b"https" else 1
        self._backend = TcpBackend(tunnel_handshakes, route.proxy is not None)
        self._direct: httpcore.AsyncHTTPConnection | None = None
        # httpx lets nobody choose what a transport sends its requests through. Both are public classes of httpcore.
        if route.proxy is None:
            self._direct = httpcore.AsyncHTTPConnection(
                route.origin, route.tls, route.keep_alive, network_backend=self._backend
            )
            self._pool = cast("httpcore.AsyncConnectionPool", self._direct)  # both handle requests, and close
        else:
            self._pool = httpcore.AsyncConnectionPool(
                route.tls,
                route.proxy,
                max_connections=1,
                keepalive_expiry=route.keep_alive,
                network_backend=self._backend,
            )

    @property
    def is_usable(self) -> bool:
        """Whether another request can be sent, as far as is known: the server may have hung up."""
        if self._direct is None:  # a pool of one connection looks after it
            return not any(map(_has_surplus, self._pool.connections))
        return self._direct.is_idle() and not self._direct.has_expired() and not _has_surplus(self._direct)

    def rest(self, now: float) -> None:
        """Join the idle ones."""
        self.idle_since = now
        self.route.idle.append(self)

    def drop(self) -> None:
        """Close the connection at once, also under those who use it."""
        if self._backend.stream is not None:
            self._backend.stream.abort()

    def stoppable(self, body: httpx.AsyncByteStream) -> httpx.AsyncByteStream:
        """The body of a request, to be given up if the server responds before its end."""
        return UploadStream(body, self._backend)


def _has_surplus(connection: object) -> bool:
    """Whether more came than the response. httpcore keeps it, and would take it for the response to the next request.

    Nothing public shows that. If another version of httpcore hides it elsewhere, it is only not noticed.
    """
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    state = getattr(connection, "_h11_state", None)
    return state is not None and bool(state.trailing_data[0])


class ConnectionPool(httpx.AsyncBaseTransport):
    """Sends each request over an idle connection to its origin, or over a new one.

    The first request to an origin looks up its proxy, and builds the TLS context if it needs one.

    Raises:
        ConfigurationError: the environment's proxy or certificates are not usable.
    """

    def __init__(self, tls: Tls, tuning: Tuning) -> None:
        self._tls = tls
        self._keep_alive = tuning.http_keep_alive
        self._max_connections = tuning.http_calls + tuning.http_downloads
        self._routes: dict[Origin, Route] = {}
        self._connections: set[Connection] = set()
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Its connection is free again when its response is closed."""
        url = request.url
        origin = (url.scheme, url.host, url.port)
        route = self._routes.get(origin)
        if route is None:
            try:
                found = await threads.run(self._route_to, url)  # it may ask the operating system
            except Exception as error:  # of any kind: no connection exists yet
                raise unsent(error, f"Could not connect to {url.host}")  # noqa: B904 - its cause is set
            route = self._routes.setdefault(origin, found)
        if self._is_closed:
            raise RuntimeError("the pool is closed")
        connection = self._idle_connection(route) or self._new_connection(route)
        if not isinstance(request.stream, httpx.ByteStream):
            assert isinstance(request.stream, httpx.AsyncByteStream)
            body = connection.stoppable(request.stream)
            request = httpx.Request(
                request.method, url, headers=request.headers, stream=body, extensions=request.extensions
            )
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            self.discard(connection)
            raise
        if response.is_closed:  # by a mock that gives a whole response
            self.free(connection)
        else:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            response.stream = PooledStream(response.stream, self, connection)
        return response

    async def aclose(self) -> None:
        """Close all connections, also those that are being read from."""
        self._is_closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for connection in list(self._connections):
            self.discard(connection)
        await asyncio.sleep(0)  # asyncio closes the sockets then

    def free(self, connection: Connection) -> None:
        """Keep a connection whose response was read to its end."""
        if self._is_closed or not connection.is_usable:
            self.discard(connection)
            return
        loop = asyncio.get_running_loop()
        connection.rest(loop.time())
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(self._keep_alive, self._sweep)

    def discard(self, connection: Connection) -> None:
        """Close a connection and forget it."""
        self._connections.discard(connection)
        connection.drop()

    def _idle_connection(self, route: Route) -> Connection | None:
        while route.idle:
            connection = route.idle.pop()
            if connection.is_usable:
                return connection
            self.discard(connection)
        return None

    def _new_connection(self, route: Route) -> Connection:
        if len(self._connections) >= self._max_connections:
            # Calls and downloads together never need more. So there is an idle one, perhaps to another host.
            oldest = [known.idle[0] for known in self._routes.values() if known.idle]
            if oldest:
                connection = min(oldest, key=lambda one: one.idle_since)
                connection.route.idle.remove(connection)
                self.discard(connection)
        connection = Connection(route)
        self._connections.add(connection)
        return connection

    def _sweep(self) -> None:
        """Close what was idle for too long, and come back when the next one will have been."""
        loop, next_ones = asyncio.get_running_loop(), list[float]()
        for route in self._routes.values():
            while route.idle and route.idle[0].idle_since <= loop.time() - self._keep_alive:
                self.discard(route.idle.popleft())
            next_ones += [connection.idle_since + self._keep_alive for connection in list(route.idle)[:1]]
        self._sweep_timer = loop.call_at(min(next_ones), self._sweep) if next_ones else None

    def _route_to(self, url: httpx.URL) -> Route:
        secure = url.scheme == "https"
        port = url.port or (443 if secure else 80)
        address = proxy_for(url.scheme, url.host, port)
        proxy, proxy_context = None, None
        if address is not None:
            given = httpx.Proxy(address)
            if given.url.scheme == "https":
                proxy_context = self._tls.context
            target = httpcore.URL(
                scheme=given.url.raw_scheme, host=given.url.raw_host, port=given.url.port, target=b"/"
            )
            proxy = httpcore.Proxy(target, given.raw_auth, ssl_context=proxy_context)
        # A context that trusts nobody stands in where TLS is not used: else each transport would build one of its own.
        context = self._tls.context if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return Route(httpcore.Origin(url.raw_scheme, url.raw_host, port), context, proxy, self._keep_alive)


class UploadStream(httpx.AsyncByteStream):
    """The body of a request, which is given up if the server responds before its end."""

    def __init__(self, stream: httpx.AsyncByteStream, backend: TcpBackend) -> None:
        self._stream = stream
        self._backend = backend

    async def __aiter__(self) -> AsyncIterator[bytes]:
        source = aiter(self._stream)
        connection = self._backend.stream
        assert connection is not None  # httpcore connects before it asks for the body
        while True:
            async with connection.until_response():
                piece = await anext(source, None)
            if piece is None:
                return
            yield piece


class PooledStream(httpx.AsyncByteStream):
    """The body of a response. When it is closed, its connection is free for the next request, or closed."""

    def __init__(self, stream: httpx.AsyncByteStream, pool: ConnectionPool, connection: Connection) -> None:
        self._stream = stream
        self._pool = pool
        self._connection = connection
        self._is_read = False
        self._is_closed = False

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        stream = aiter(self._stream)
        try:
            async for chunk in stream:
                yield chunk
            self._is_read = True
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._stream.aclose()
        finally:
            if self._is_read:
                self._pool.free(self._connection)
            else:
                self._pool.discard(self._connection)
