"""One request and its response, over any httpx transport."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import suppress
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Self

import anyio
import attrs

from wiro_async._errors import SessionClosedError, TransportError, WiroError
from wiro_async._transport.http.content_coding import ContentDecoder
from wiro_async._transport.http.deadline import Deadline
from wiro_async._transport.http.discretion import ours
from wiro_async._transport.http.failures import failure
from wiro_async._transport.http.library import build_request
from wiro_async._transport.http.upload import Upload

if TYPE_CHECKING:
    import httpx


@attrs.frozen
class HttpResponse:
    """A whole response; header names are case-insensitive."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


class RoundTrip:
    """Sends a request on entering, and frees its connection on leaving.

    A connection is reused if the response was read to its end, and dropped otherwise. Redirects are not followed,
    cookies are not kept, and nothing is sent twice.

    Args:
        library: the httpx of the transport.
        active: all round trips under way; this one is among them while it is entered.
        deadline: for the whole response, or for its beginning and then for each chunk.

    Raises:
        TransportError: `sent` is False only if no byte of the request can have left.
        ConfigurationError: the URL or a header is not valid.
        SessionClosedError: it was aborted.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        library: ModuleType,
        active: set[RoundTrip],
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        deadline: Deadline,
    ) -> None:
        self._transport = transport
        self._active = active
        self._deadline = deadline
        self._upload: Upload | None = None
        if not isinstance(content, bytes):
            length = headers.get("Content-Length")
            content = self._upload = Upload(content, deadline, None if length is None else int(length))
        # The deadline ends every wait, over transports that know no timeouts too. Only that of connecting is left to
        # the transport, which alone can tell that nothing was sent.
        timeouts = {"connect": deadline.connect, "read": None, "write": None, "pool": None}
        self._request = build_request(library, method, url, headers, content, timeouts)
        self._response: httpx.Response
        self._is_aborted = False

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the response."""
        return self._response.headers

    async def __aenter__(self) -> Self:
        self._active.add(self)
        redacting = ours.set(True)
        try:
            async with self._deadline.timer():
                self._response = await self._transport.handle_async_request(self._request)
        except BaseException as error:
            self._active.discard(self)
            raise await self._failed(error)  # noqa: B904 - its cause is set
        finally:
            ours.reset(redacting)
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
        if self._upload is not None:
            await self._upload.settled()

    async def read(self) -> HttpResponse:
        """Read all of the response."""
        response, body = self._response, b""
        try:
            async with self._deadline.timer():
                # Some transports read responses themselves, and then they have decoded them too.
                decoder = None if response.is_stream_consumed else _decoder_for(response)
                if response.is_stream_consumed:
                    body = response.content
                else:
                    assert isinstance(response.stream, AsyncIterable)
                    body = b"".join([chunk async for chunk in response.stream])
            if decoder is not None:
                body = b"".join(decoder.decode(body)) + decoder.finish()
        except Exception as error:
            raise await self._failed(error)  # noqa: B904 - its cause is set
        return HttpResponse(response.status_code, response.headers, body)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The response as it comes. Its content coding is decoded; one that breaks off is an error."""
        stream: AsyncIterator[bytes] | None = None
        try:
            if self._response.is_stream_consumed:
                yield self._response.content
                return
            decoder = _decoder_for(self._response)
            assert isinstance(self._response.stream, AsyncIterable)
            stream = aiter(self._response.stream)
            while True:
                if self._is_aborted:
                    raise SessionClosedError("the session is closed")
                self._deadline.restart()
                try:
                    async with self._deadline.timer():
                        chunk = await anext(stream)
                except StopAsyncIteration:
                    break
                for piece in (chunk,) if decoder is None else decoder.decode(chunk):
                    yield piece
            if decoder is not None and (rest := decoder.finish()):
                yield rest
        except Exception as error:
            raise await self._failed(error)  # noqa: B904 - its cause is set
        finally:
            if isinstance(stream, AsyncGenerator):  # left to itself, it would be closed in a task of the event loop
                await stream.aclose()

    def abort(self) -> None:
        """End every wait for the server, now and later, with `SessionClosedError`."""
        self._is_aborted = True
        self._deadline.expire()

    async def _failed(self, error: BaseException) -> BaseException:
        """The error to raise, once nobody reads the body any more."""
        if self._upload is not None:
            await self._upload.settled()
        if not isinstance(error, Exception):
            return error
        if self._is_aborted:
            return SessionClosedError("the session is closed")
        if self._upload is not None and self._upload.error is not None:
            return self._upload.error  # it says more than that the body broke off
        if not isinstance(error, WiroError):
            has_begun = self._upload is not None and self._upload.has_begun
            error = failure(error, self._request.url.host, self._deadline.seconds, has_begun)
        if isinstance(error, TransportError) and self._upload is not None:
            error.with_incomplete(self._upload.is_incomplete)
        return error


def _decoder_for(response: httpx.Response) -> ContentDecoder | None:
    coding = response.headers.get("content-encoding", "").strip()
    return None if coding.lower() in ("", "identity") else ContentDecoder(coding)
