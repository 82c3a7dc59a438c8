"""HTTP requests over any httpx transport: how many at a time, how long they take, what is left of them at the end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from importlib import import_module
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

import anyio
import attrs
from anyio import Event, Semaphore  # now, as anyio loads its parts at first use, and constructors read no file

from wiro_async._errors import ConnectionFailedError, SessionClosedError, TransportError, WiroError
from wiro_async._errors.clean_tracebacks import clean_causes
from wiro_async._protocol.messages.event_stream import EventParser, ServerEvent
from wiro_async._transport import threads
from wiro_async._transport.http.content_coding import ACCEPTED, ContentDecoder
from wiro_async._transport.http.deadline import Deadline
from wiro_async._transport.http.discretion import ours
from wiro_async._transport.http.failures import failure
from wiro_async._transport.http.library import Content, Transport, build_request, library_of
from wiro_async._transport.http.upload import Upload
from wiro_async._transport.network.addresses import check_host
from wiro_async._transport.network.reasons import unsent
from wiro_async._transport.network.tls import Tls
from wiro_async._tuning import Tuning

if TYPE_CHECKING:
    import httpx

PIECES_AT_A_TIME = 256  # however small, before other tasks of the event loop have a turn
LARGE_PIECE = 512 * 1024  # takes milliseconds to decode
MAX_LENGTH_DIGITS = 18
POOL = "wiro_async._transport.http.pool"
ACCEPT = {"Accept": "*/*", "Accept-Encoding": ACCEPTED}
ACCEPT_FILE = {"Accept": "*/*", "Accept-Encoding": "identity"}  # sizes and ranges are those of the file itself


@attrs.frozen
class HttpResponse:
    """A response; header names are case-insensitive.

    Attributes:
        error: why the body broke off; None if it is whole.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    error: TransportError | None = None


@attrs.frozen
class Download:
    """A response whose body is still to come. Its content coding is decoded."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    url: str = attrs.field(repr=False)
    location: str | None = attrs.field(repr=False)  # where it redirects, as it was sent
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

    def __init__(self, tls: Tls, tuning: Tuning, transport: Transport | None = None) -> None:
        self._tls = tls
        self._tuning = tuning
        self._library: ModuleType | None = None if transport is None else library_of(transport)
        self._transport = transport
        self._active: set[RoundTrip] = set()
        self._closed = Event()
        self._requests = Semaphore(tuning.http_calls, fast_acquire=True)
        self.downloads = Semaphore(tuning.http_downloads, fast_acquire=True)

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
        *,
        keeps_part: bool = False,
    ) -> HttpResponse:
        """Send one POST and read its response whole. Cancelling drops the connection.

        When this ends, nobody reads a streamed body any more. Errors of its source are raised here.

        Args:
            timeout: seconds for all of it. Each piece of a streamed body restarts them; they do not run while the next
                piece is waited for.
            keeps_part: a body that breaks off is returned as far as it came.

        Raises:
            TransportError: `sent` says whether any of it may have left.
        """
        async with self._requests, await self._round_trip("POST", url, {**ACCEPT, **headers}, content, timeout) as trip:
            return await trip.read(keeps_part)

    @asynccontextmanager
    async def post_events(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        timeout: float | None,
        *,
        keeps_part: bool = False,
    ) -> AsyncGenerator[HttpResponse | AsyncGenerator[ServerEvent, None], None]:
        """Send one POST whose response is a stream of server-sent events, or a whole response of another kind.

        Args:
            timeout: seconds until the response begins, then for each silence.
            keeps_part: the body of a whole response that breaks off is returned as far as it came.
        """
        headers = {**ACCEPT, **headers}
        async with await self._round_trip("POST", url, headers, content, timeout) as trip:
            if not trip.headers.get("content-type", "").startswith("text/event-stream"):
                yield await trip.read(keeps_part)
                return
            async with aclosing(trip.chunks()) as chunks, aclosing(_events(chunks)) as events:
                yield events

    @asynccontextmanager
    async def get(
        self, url: str, headers: Mapping[str, str], timeout: float | None, *, public_only: bool = False
    ) -> AsyncGenerator[Download, None]:
        """Start one GET; its body is read as it is wanted. No credentials go along.

        Args:
            public_only: whether to refuse hosts of this machine and of private networks. Of a transport that is not
                ours, only the host is checked, not the address that it then connects to.
            timeout: seconds until the response begins, then for each silence.
            keeps_part: the body of a whole response that breaks off is returned as far as it came.
        """
        headers = {**ACCEPT_FILE, **headers}
        trip = await self._round_trip("GET", url, headers, b"", timeout, public_only)
        async with trip, aclosing(trip.chunks()) as chunks:
            yield Download(trip.status, trip.headers, url, trip.location, chunks)

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
        public_only: bool = False,
    ) -> RoundTrip:
        self._check_open()
        if self._transport is None:
            try:  # importing httpx takes too long for the event loop
                module = await threads.run(import_module, POOL)
            except Exception as error:
                raise unsent(error, "Could not load httpx")  # noqa: B904 - its cause is set
            self._check_open()
            if self._transport is None:  # else another request was faster
                self._transport, self._library = module.ConnectionPool(self._tls, self._tuning), sys.modules["httpx"]
        assert self._transport is not None
        assert self._library is not None
        deadline = Deadline(timeout, self._tuning.http_connect)
        return RoundTrip(
            self._transport,
            self._library,
            self._active,
            method,
            url,
            headers,
            content,
            deadline,
            self._tuning.max_answer,
            public_only,
        )


async def _events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[ServerEvent, None]:
    parser = EventParser()
    async for chunk in chunks:
        for count, event in enumerate(parser.feed(chunk), 1):
            yield event
            if count % PIECES_AT_A_TIME == 0:
                await asyncio.sleep(0)


class RoundTrip:
    """Sends a request on entering, and frees its connection on leaving.

    A connection is reused if the response was read to its end, and dropped otherwise. Redirects are not followed,
    cookies are not kept, and nothing is sent twice.

    Args:
        library: the httpx of the transport.
        active: all round trips under way; this one is among them while it is entered.
        deadline: for the whole response, or for its beginning and then for each chunk.
        max_answer: the most bytes that `read` takes.
        public_only: whether the host must have a public address.

    Raises:
        TransportError: `sent` is False only if no byte of the request can have left.
        ConfigurationError: the URL or a header is not valid.
        SessionClosedError: it was aborted.
    """

    def __init__(
        self,
        transport: Transport,
        library: ModuleType,
        active: set[RoundTrip],
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        deadline: Deadline,
        max_answer: int,
        public_only: bool,
    ) -> None:
        self._transport = transport
        self._max_answer = max_answer
        # Our own pool checks the addresses that it connects to.
        self._checks_host = public_only and not getattr(transport, "checks_addresses", False)
        self._active = active
        self._deadline = deadline
        self._content: Content | Upload
        if isinstance(content, bytes):
            self._content = Content(content)
        else:
            length = headers.get("Content-Length")
            self._content = Upload(content, deadline, None if length is None else int(length))
        # The deadline ends every wait, over transports that know no timeouts too. Only that of connecting is left to
        # the transport, which alone knows that nothing was sent.
        timeouts = {"connect": deadline.connect, "read": None, "write": None, "pool": None}
        self._request = build_request(library, method, url, headers, self._content, timeouts)
        if public_only:
            self._request.extensions["public_only"] = True
        self._response: httpx.Response
        self._is_aborted = False

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    @property
    def location(self) -> str | None:
        """The header of that name, with surrogates for bytes that are not UTF-8.

        The library would decode it by the bytes of all headers together.
        """
        found = [value for name, value in self._response.headers.raw if name.lower() == b"location"]
        return found[0].decode("utf-8", errors="surrogateescape") if found else None

    async def __aenter__(self) -> Self:
        self._active.add(self)
        redacting, handled = ours.set(True), sys.exception()
        failed: BaseException | None = None
        try:
            async with self._deadline.timer():
                if self._checks_host:
                    await threads.run(partial(check_host, self._request.url.host, resolve=True), kind="lookups")
                self._response = await self._transport.handle_async_request(self._request)
        except BaseException as error:
            self._active.discard(self)
            failed = await self._failed(error, handled, self._content.is_unseen)
        finally:
            ours.reset(redacting)
        if failed is not None:
            _raise(failed, handled)
        if self._is_aborted:  # just as the response began
            await self.__aexit__(None, None, None)
            raise SessionClosedError("the session is closed")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._active.discard(self)
        with suppress(Exception):  # the response counts, even if its connection fails while it is freed
            if kind is None:
                await self._response.aclose()
            else:
                with anyio.CancelScope(shield=True):
                    await self._response.aclose()
        if isinstance(self._content, Upload):
            await self._content.settled()

    async def read(self, keeps_part: bool) -> HttpResponse:
        """The response as a whole, within the deadline and within the size that an answer may have.

        Args:
            keeps_part: a body that breaks off is returned as far as it came.
        """
        handled, failed = sys.exception(), None
        body = bytearray()
        try:
            async with self._deadline.timer():
                self._check_size(_length_of(self._response))
                async with aclosing(self._decoded()) as pieces:
                    async for piece in pieces:
                        body += piece
                        self._check_size(len(body))
        except BaseException as error:
            failed = await self._failed(error, handled)
        cut = failed if keeps_part and isinstance(failed, TransportError) else None
        if failed is not None and cut is None:
            _raise(failed, handled)
        return HttpResponse(self._response.status_code, self._response.headers, bytes(body), cut)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The response as it comes. Its content coding is decoded; one that breaks off is an error."""
        handled, failed = sys.exception(), None
        try:
            async with aclosing(self._decoded()) as pieces:
                while True:
                    if self._is_aborted:
                        raise SessionClosedError("the session is closed")
                    self._deadline.restart()
                    try:
                        async with self._deadline.timer():
                            piece = await anext(pieces)
                    except StopAsyncIteration:
                        return
                    yield piece
        except GeneratorExit:
            raise
        except BaseException as error:
            failed = await self._failed(error, handled)
        if failed is not None:
            _raise(failed, handled)

    async def _decoded(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces of a bounded size. However it was packed, the event loop runs between them."""
        response = self._response
        if response.is_stream_consumed:  # some transports read responses themselves, and have decoded them too
            yield response.content
            return
        decoder = _decoder_for(response)
        assert isinstance(response.stream, AsyncIterable)
        stream = aiter(response.stream)
        try:
            count = 0
            async for chunk in stream:
                for piece in (chunk,) if decoder is None else decoder.decode(chunk):
                    yield piece
                    count += 1
                    if count % PIECES_AT_A_TIME == 0 or len(piece) >= LARGE_PIECE:
                        await asyncio.sleep(0)  # neither tiny chunks nor a bomb hold up the event loop
            if decoder is not None and (rest := decoder.finish()):
                yield rest
        finally:
            if isinstance(stream, AsyncGenerator):  # left to itself, it would be closed in a task of the event loop
                await stream.aclose()

    def _check_size(self, size: int) -> None:
        if size > self._max_answer:
            raise ConnectionFailedError(
                f"The answer of {self._request.url.host} is larger than {self._max_answer} bytes, the most that the "
                "SDK takes: nothing of the API's is that large. Look at what stands between this program and the API.",
                permanent=True,
            )

    def abort(self) -> None:
        """End every wait for the server, now and later, with `SessionClosedError`."""
        self._is_aborted = True
        self._deadline.expire()

    async def _failed(
        self, error: BaseException, handled: BaseException | None, body_is_unseen: bool = False
    ) -> BaseException:
        """The error to raise, once nobody reads the body any more. No frame of a library is in it.

        Args:
            handled: what the caller was handling when the request began.
        """
        upload = self._content if isinstance(self._content, Upload) else None
        if upload is not None:
            await upload.settled()
        if not isinstance(error, Exception):
            clean_causes(error, handled)
            return error.with_traceback(None)
        if self._is_aborted:
            return SessionClosedError("the session is closed")
        if upload is not None and upload.error is not None:
            # It says more than that the body broke off, and where in the caller's code that was.
            return upload.error.with_traceback(upload.error_frames)
        if not isinstance(error, WiroError):
            has_begun = upload is not None and not upload.is_unseen
            error = failure(error, self._request.url.host, self._deadline.seconds, has_begun, body_is_unseen)
        if isinstance(error, TransportError) and upload is not None:
            error.with_incomplete(upload.is_incomplete)
        clean_causes(error, handled)
        return error.with_traceback(None)


def _raise(error: BaseException, handled: BaseException | None) -> NoReturn:
    try:
        raise error
    finally:
        error.__context__ = handled  # not what a library was handling


def _length_of(response: httpx.Response) -> int:
    length = response.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdecimal() and len(length) < MAX_LENGTH_DIGITS else 0


def _decoder_for(response: httpx.Response) -> ContentDecoder | None:
    coding = response.headers.get("content-encoding", "").strip()
    return None if coding.lower() in ("", "identity") else ContentDecoder(coding)
