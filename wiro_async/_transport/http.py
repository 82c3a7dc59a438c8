"""HTTP, the only place that knows httpx. Libraries are imported at first use, in a thread."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.request import getproxies

import anyio
import anyio.to_thread
import attrs

from wiro_async._errors import ConnectionFailedError, RequestTimeoutError
from wiro_async._protocol.sse import ServerEvent
from wiro_async._transport.tls import Tls

if TYPE_CHECKING:
    import httpx

MAX_CALLS = 80
MAX_DOWNLOADS = 20
CONNECT_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 15.0


@attrs.frozen
class Answer:
    """A whole HTTP answer; header names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen
class Download:
    """An answer whose body is still to come."""

    status: int
    headers: Mapping[str, str]
    url: str = attrs.field(repr=False)
    chunks: AsyncIterator[bytes] = attrs.field(repr=False)


class HttpTransport:
    """Sends requests over one pool of connections; what exceeds the pool waits here, not inside it."""

    def __init__(self, tls: Tls, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._tls = tls
        self._transport = transport
        self._given = transport is not None
        self._opening = anyio.Lock()
        self._calls = anyio.Semaphore(MAX_CALLS, fast_acquire=True)
        self._downloads = anyio.Semaphore(MAX_DOWNLOADS, fast_acquire=True)

    @property
    def in_flight(self) -> int:
        """Calls and downloads under way."""
        return MAX_CALLS - self._calls.value + MAX_DOWNLOADS - self._downloads.value

    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        timeout: float | None,
    ) -> Answer:
        """Send one POST and read its answer whole. Raises `TransportError` kinds; cancelling drops the connection.

        Args:
            timeout: seconds for all of it; where the body is streamed, for each silence.
        """
        transport = await self._opened()
        import httpx

        request = httpx.Request(
            "POST", _parsed(url), headers=dict(headers), content=content, extensions={"timeout": _timeouts(timeout)}
        )
        async with self._calls:
            with mapped_errors(timeout):
                async with asyncio.timeout(timeout if isinstance(content, bytes) else None):
                    return await self._exchange(transport, request)

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str], timeout: float | None) -> AsyncIterator[Download]:
        """Start one GET; its body is read as it is wanted. No credentials go along.

        Args:
            timeout: seconds for each silence.
        """
        transport = await self._opened()
        import httpx

        request = httpx.Request("GET", url, headers=dict(headers), extensions={"timeout": _timeouts(timeout)})
        async with self._downloads:
            with mapped_errors(timeout):
                response = await transport.handle_async_request(request)
            try:
                yield Download(response.status_code, response.headers, url, _mapped_chunks(response, timeout))
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()

    @asynccontextmanager
    async def post_events(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        timeout: float | None,
    ) -> AsyncIterator[Answer | AsyncGenerator[ServerEvent, None]]:
        """Send one POST; its answer is a stream of server-sent events, or a whole answer of another kind.

        Args:
            timeout: seconds for each silence.
        """
        transport = await self._opened()
        import httpx

        request = httpx.Request(
            "POST", _parsed(url), headers=dict(headers), content=content, extensions={"timeout": _timeouts(timeout)}
        )
        with mapped_errors(timeout):
            response = await transport.handle_async_request(request)
        try:
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                async with aclosing(_events(response, timeout)) as events:
                    yield events
            else:
                with mapped_errors(timeout):
                    body = await response.aread()
                yield Answer(response.status_code, response.headers, body)
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def aclose(self) -> None:
        """Close the pool."""
        if self._transport is not None:
            await self._transport.aclose()
            if not self._given:
                self._transport = None

    async def _opened(self) -> httpx.AsyncBaseTransport:
        if self._transport is None:
            async with self._opening:
                if self._transport is None:
                    await anyio.to_thread.run_sync(self._load)
                    self._transport = self._default()
        return self._transport

    def _load(self) -> None:
        import aiohttp
        import httpx_aiohttp

        assert aiohttp and httpx_aiohttp and self._tls.context  # this thread is where their time is spent

    def _default(self) -> httpx.AsyncBaseTransport:
        import aiohttp
        from httpx_aiohttp import AiohttpTransport

        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls.context, keepalive_timeout=KEEP_ALIVE_SECONDS)
        client = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=_has_proxies(),  # it asks the environment in a thread for every request: only where that helps
        )
        return AiohttpTransport(verify=self._tls.context, client=client)

    @staticmethod
    async def _exchange(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> Answer:
        response = await transport.handle_async_request(request)
        try:
            return Answer(response.status_code, response.headers, await response.aread())
        finally:
            await response.aclose()


@contextmanager
def mapped_errors(timeout: float | None) -> Iterator[None]:
    """Turn the libraries' errors into ours."""
    import httpx

    try:
        yield
    except (httpx.TimeoutException, TimeoutError) as error:
        sent = may_have_left(error)
        if not sent:
            raise ConnectionFailedError(f"no connection: {_reason(error)}", False) from error
        if _was_cut(error):
            raise ConnectionFailedError(f"the connection was lost: {_reason(error)}", True) from error
        raise RequestTimeoutError(f"no answer within {timeout} s", True) from error
    except (httpx.TransportError, OSError) as error:
        raise ConnectionFailedError(f"the connection failed: {_reason(error)}", may_have_left(error)) from error


def may_have_left(error: BaseException) -> bool:
    """Whether any byte of the request can have left: True unless the cause proves the connection was never made.

    The mapped class does not tell: one transport calls a server that hung up a connect time-out.
    """
    return not any(map(_is_unconnected, _causes(error)))


def _is_unconnected(error: BaseException) -> bool:
    aiohttp, httpcore = sys.modules.get("aiohttp"), sys.modules.get("httpcore")
    kinds: tuple[type[BaseException], ...] = ()
    if aiohttp is not None:
        kinds += (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
    if httpcore is not None:
        kinds += (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout)
    return isinstance(error, kinds)


def _was_cut(error: BaseException) -> bool:
    """Whether a mapped time-out was none: one transport says so of a server that hung up."""
    aiohttp = sys.modules.get("aiohttp")
    lost = [cause for cause in _causes(error) if aiohttp is not None and isinstance(cause, aiohttp.ClientConnectionError)]
    return bool(lost) and not any(isinstance(cause, TimeoutError) for cause in lost)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


async def _mapped_chunks(response: httpx.Response, timeout: float | None) -> AsyncIterator[bytes]:
    with mapped_errors(timeout):
        async for chunk in response.aiter_raw():
            yield chunk


async def _events(response: httpx.Response, timeout: float | None) -> AsyncGenerator[ServerEvent, None]:
    from httpx_sse import EventSource

    with mapped_errors(timeout):
        async with aclosing(EventSource(response).aiter_sse()) as events:
            async for event in events:
                yield ServerEvent(event.event, event.data)


def _has_proxies() -> bool:
    return not getproxies().keys().isdisjoint(("http", "https", "all"))


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    import httpx

    return httpx.URL(url)


def _timeouts(timeout: float | None) -> dict[str, float | None]:
    connect = CONNECT_SECONDS if timeout is None else min(timeout, CONNECT_SECONDS)
    return {"connect": connect, "read": timeout, "write": timeout, "pool": None}


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")
