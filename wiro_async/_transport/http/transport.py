"""HTTP requests: how many at a time, how long they may take, and what is left when they are given up."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import attrs

from wiro_async._errors import SessionClosedError
from wiro_async._protocol.http.event_stream import EventParser, ServerEvent
from wiro_async._transport.http.content_coding import ACCEPTED
from wiro_async._transport.http.deadline import Deadline
from wiro_async._transport.http.library import library_of
from wiro_async._transport.http.round_trip import HttpResponse, RoundTrip
from wiro_async._transport.network.tls import Tls
from wiro_async._tuning import Tuning

if TYPE_CHECKING:
    import httpx

ACCEPT = {"Accept": "*/*", "Accept-Encoding": ACCEPTED}
ACCEPT_FILE = {"Accept": "*/*", "Accept-Encoding": "identity"}  # sizes and ranges are those of the file itself


@attrs.frozen
class Download:
    """A response whose body is still to come. Its content coding is decoded."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    url: str = attrs.field(repr=False)
    chunks: AsyncIterator[bytes] = attrs.field(repr=False)


class HttpTransport:
    """Makes requests over one pool of connections. Requests over its limits wait here, before their timeout begins.

    Args:
        transport: an httpx or httpx2 transport, which is closed with this one. If None, our own pool over httpx, which
            is imported at the first request.

    Attributes:
        downloads: held by files that are fetched whole; more of them wait.

    Raises:
        ConfigurationError: `transport` is of another kind.
    """

    def __init__(self, tls: Tls, tuning: Tuning, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._tls = tls
        self._tuning = tuning
        self._library: ModuleType | None = None if transport is None else library_of(transport)
        self._transport = transport
        self._active: set[RoundTrip] = set()
        self._closed = anyio.Event()
        self._requests = anyio.Semaphore(tuning.http_calls, fast_acquire=True)
        self.downloads = anyio.Semaphore(tuning.http_downloads, fast_acquire=True)

    @property
    def in_flight(self) -> int:
        """Requests, event streams and downloads under way."""
        return len(self._active)

    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        timeout: float | None,
    ) -> HttpResponse:
        """Send one POST and read its response whole. Cancelling drops the connection.

        When this ends, nobody reads a streamed body any more. Errors of its source are raised here.

        Args:
            timeout: seconds for all of it. Each piece of a streamed body restarts them; they do not run while the next
                piece is waited for.

        Raises:
            TransportError: `sent` says whether any of it may have left.
        """
        async with (
            self._requests,
            await self._round_trip("POST", url, {**ACCEPT, **headers}, content, timeout) as trip,
        ):
            return await trip.read()

    @asynccontextmanager
    async def post_events(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        timeout: float | None,
    ) -> AsyncGenerator[HttpResponse | AsyncGenerator[ServerEvent, None], None]:
        """Send one POST whose response is a stream of server-sent events, or a whole response of another kind.

        Args:
            timeout: seconds until the response begins, then for each silence.
        """
        headers = {**ACCEPT, **headers}
        async with await self._round_trip("POST", url, headers, content, timeout) as trip:
            if not trip.headers.get("content-type", "").startswith("text/event-stream"):
                yield await trip.read()
                return
            async with aclosing(trip.chunks()) as chunks, aclosing(_events(chunks)) as events:
                yield events

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str], timeout: float | None) -> AsyncGenerator[Download, None]:
        """Start one GET; its body is read as it is wanted. No credentials go along.

        Args:
            timeout: seconds until the response begins, then for each silence.
        """
        headers = {**ACCEPT_FILE, **headers}
        async with (
            await self._round_trip("GET", url, headers, b"", timeout) as trip,
            aclosing(trip.chunks()) as chunks,
        ):
            yield Download(trip.status, trip.headers, url, chunks)

    async def pause(self, seconds: float) -> None:
        """Wait between two attempts. Raises `SessionClosedError` if the pool is closed meanwhile."""
        with anyio.move_on_after(seconds):
            await self._closed.wait()
            self._check_open()

    async def aclose(self) -> None:
        """Close all connections for good. All who wait for a response, or read one, get a `SessionClosedError`."""
        if self._closed.is_set():
            return
        self._closed.set()
        for round_trip in list(self._active):
            round_trip.abort()
        if self._transport is not None:
            await self._transport.aclose()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise SessionClosedError("the session is closed")

    async def _round_trip(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        timeout: float | None,
    ) -> RoundTrip:
        self._check_open()
        if self._transport is None:
            # Importing httpx takes too long for the event loop.
            module = await anyio.to_thread.run_sync(import_module, "wiro_async._transport.http.pool")
            self._check_open()
            if self._transport is None:  # else another request was faster
                self._transport, self._library = module.ConnectionPool(self._tls, self._tuning), sys.modules["httpx"]
        assert self._transport is not None
        assert self._library is not None
        deadline = Deadline(timeout, self._tuning.http_connect)
        return RoundTrip(self._transport, self._library, self._active, method, url, headers, content, deadline)


async def _events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[ServerEvent, None]:
    parser = EventParser()
    async for chunk in chunks:
        for event in parser.feed(chunk):
            yield event
