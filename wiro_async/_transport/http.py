"""HTTP calls: how many at a time, how long they may take, and what is left when they are given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio
import attrs

from wiro_async._errors import RequestTimeoutError, SessionClosedError, TransportError
from wiro_async._protocol.http.event_stream import EventParser, ServerEvent
from wiro_async._transport.exchange import Backend, Exchange, Upload
from wiro_async._transport.tls import Tls
from wiro_async._transport.with_aiohttp import AiohttpBackend

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
MAX_CALLS = 80
MAX_DOWNLOADS = 20
CONNECT_SECONDS = 10.0
PLAIN = {"Accept-Encoding": "identity"}  # so that sizes and ranges mean the file's own bytes


@attrs.frozen
class Answer:
    """A whole HTTP answer; header names are case-insensitive."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Download:
    """An answer whose body is still to come. A content coding of it is undone."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    url: str = attrs.field(repr=False)
    chunks: AsyncIterator[bytes] = attrs.field(repr=False)


class Deadline:
    """When a call must be answered. Every piece of a streamed body puts it off, and waiting for one does not count."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._timer: asyncio.Timeout | None = None
        self.put_off()

    @property
    def connect(self) -> float:
        """Seconds for the connection: well before the end, so that it is known whether anything was sent."""
        return CONNECT_SECONDS if self._seconds is None else min(CONNECT_SECONDS, self._seconds / 2)

    def put_off(self) -> None:
        """Start over."""
        self._set(None if self._seconds is None else asyncio.get_running_loop().time() + self._seconds)

    @contextmanager
    def stopped(self) -> Generator[None, None, None]:
        """While the body's source is asked: its time is the user's own. Start over afterwards."""
        self._set(None)
        try:
            yield
        finally:
            self.put_off()

    def _set(self, when: float | None) -> None:
        self._when = when
        if self._timer is not None and not self._timer.expired():
            self._timer.reschedule(when)

    async def keep(self, call: Awaitable[T]) -> T:
        """What a call gives, if it does in time. Raises `RequestTimeoutError`."""
        try:
            async with asyncio.timeout_at(self._when) as self._timer:
                return await call
        except RequestTimeoutError:
            raise
        except TimeoutError as error:
            raise RequestTimeoutError(f"no answer within {self._seconds} s") from error
        finally:
            self._timer = None


class HttpTransport:
    """Makes calls over one pool of connections. What exceeds its limits waits here, before its time-out begins.

    Attributes:
        in_flight: calls, event streams and downloads under way.
        downloads: held by files that are fetched whole; more of them wait.
    """

    def __init__(self, tls: Tls, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._backend = _backend(tls, transport)
        self._closed = anyio.Event()
        self.in_flight = 0
        self._calls = anyio.Semaphore(MAX_CALLS, fast_acquire=True)
        self.downloads = anyio.Semaphore(MAX_DOWNLOADS, fast_acquire=True)

    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        timeout: float | None,
    ) -> Answer:
        """Send one POST and read its answer whole. Cancelling drops the connection.

        When this ends, however it does, nobody reads a streamed body any more. What it raises is raised here.

        Args:
            timeout: seconds for all of it; every piece of a streamed body that is taken starts them anew. While the
                next piece is waited for, they do not run.

        Raises:
            TransportError: `sent` tells whether any of it may have left.
        """
        async with self._calls, self._exchange("POST", url, headers, content, timeout) as (exchange, deadline):
            return await _whole(exchange, deadline)

    @asynccontextmanager
    async def post_events(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        timeout: float | None,
    ) -> AsyncGenerator[Answer | AsyncGenerator[ServerEvent, None], None]:
        """Send one POST; its answer is a stream of server-sent events, or a whole answer of another kind.

        Args:
            timeout: seconds for the head of the answer, then for each silence.
        """
        async with self._exchange("POST", url, headers, content, timeout) as (exchange, deadline):
            if not exchange.headers.get("content-type", "").startswith("text/event-stream"):
                yield await _whole(exchange, deadline)
                return
            async with aclosing(_events(exchange)) as events:
                yield events

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str], timeout: float | None) -> AsyncGenerator[Download, None]:
        """Start one GET; its body is read as it is wanted. No credentials go along.

        Args:
            timeout: seconds for the head of the answer, then for each silence.
        """
        async with (
            self._exchange("GET", url, {**PLAIN, **headers}, b"", timeout) as (exchange, _),
            aclosing(exchange.chunks()) as chunks,
        ):
            yield Download(exchange.status, exchange.headers, url, chunks)

    async def pause(self, seconds: float) -> None:
        """Wait between two attempts. Raises `SessionClosedError` if the pool is closed meanwhile."""
        with anyio.move_on_after(seconds):
            await self._closed.wait()
            raise _closed()

    async def aclose(self) -> None:
        """Close the pool, for good. Whoever still waits for an answer, or reads one, has a `SessionClosedError`."""
        if not self._closed.is_set():
            self._closed.set()
            await self._backend.aclose()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise _closed()

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        timeout: float | None,
    ) -> AsyncGenerator[tuple[Exchange, Deadline], None]:
        self._check_open()
        await self._backend.ready(url)
        self._check_open()
        deadline = Deadline(timeout)
        self.in_flight += 1
        try:
            async with _body(content, headers, deadline) as body:
                exchange = await deadline.keep(
                    self._backend.send(method, url, headers, body, deadline.connect, timeout)
                )
                try:
                    self._check_open()  # the head may have come while the pool was being closed
                    yield exchange, deadline
                finally:
                    await exchange.aclose()
        except TransportError:
            if self._closed.is_set():
                raise _closed() from None
            raise
        finally:
            self.in_flight -= 1


@asynccontextmanager
async def _body(
    content: bytes | AsyncIterator[bytes], headers: Mapping[str, str], deadline: Deadline
) -> AsyncGenerator[bytes | Upload, None]:
    """When this ends, nobody reads the body any more."""
    if isinstance(content, bytes):
        yield content
        return
    length = headers.get("Content-Length")
    upload = Upload(content, deadline.stopped, None if length is None else int(length))
    try:
        yield upload
    except Exception as error:
        await upload.settled()
        if upload.error not in (None, error):
            raise upload.error from None  # why the body broke off says more than that it did
        if isinstance(error, TransportError):
            error.with_incomplete(upload.is_incomplete)
        raise
    finally:
        await upload.settled()


def _closed() -> SessionClosedError:
    return SessionClosedError("the session is closed")


def _backend(tls: Tls, transport: httpx.AsyncBaseTransport | None) -> Backend:
    if transport is None:
        return AiohttpBackend(tls)
    from wiro_async._transport.with_httpx import HttpxBackend

    return HttpxBackend(transport)


async def _whole(exchange: Exchange, deadline: Deadline) -> Answer:
    return Answer(exchange.status, exchange.headers, await deadline.keep(exchange.read()))


async def _events(exchange: Exchange) -> AsyncGenerator[ServerEvent, None]:
    parser = EventParser()
    async with aclosing(exchange.chunks()) as chunks:
        async for chunk in chunks:
            for event in parser.feed(chunk):
                yield event
