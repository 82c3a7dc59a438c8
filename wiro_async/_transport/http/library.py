# mypy: allow-subclassing-any
"""The library that a transport belongs to: httpx, or its successor httpx2. Requests are built with its classes."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import cache, lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from wiro_async._errors import ConfigurationError
from wiro_async._transport.network.reasons import reason

if TYPE_CHECKING:
    import httpx

LARGE = 64 * 1024  # aiohttp warns about bodies that are long and in one piece; it takes them as a stream


class Transport(Protocol):
    """An async transport of httpx or of httpx2. Their classes have no base in common that a type could name."""

    async def handle_async_request(self, request: Any, /) -> Any:
        """Send a request and return the response."""

    async def aclose(self) -> None:
        """Close the connections."""


def library_of(transport: object) -> ModuleType:
    """The library of a transport's class, or of the class that it inherits from.

    Raises:
        ConfigurationError: it is not an async transport of httpx or httpx2.
    """
    for kind in type(transport).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in ("httpx", "httpx2") and kind.__name__ == "AsyncBaseTransport":
            return sys.modules[name]
    raise ConfigurationError(
        f"transport is a {type(transport).__module__}.{type(transport).__qualname__}, which is not an async transport "
        "of httpx or httpx2; give one, such as httpx.AsyncHTTPTransport(…), or leave it out"
    )


class Content:
    """The body of a request, in one piece.

    Attributes:
        is_unseen: whether there is one, and the transport provably did not look at it: neither at the stream of the
            request nor at its content.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.is_unseen = bool(data)

    def look(self) -> bytes:
        """Hand it over."""
        self.is_unseen = False
        return self.data


def build_request(
    library: ModuleType,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: Content | AsyncIterator[bytes],
    timeouts: Mapping[str, float | None],
) -> httpx.Request:
    """A request as it is sent: no header is added but Host and the length of the body.

    Raises:
        ConfigurationError: the URL is not one of HTTP, or HTTP cannot carry a header.
    """
    target = _parsed(library, url)
    try:
        fields = [(b"Host", target.netloc), *((name.encode(), value.encode()) for name, value in headers.items())]
    except UnicodeEncodeError as error:
        broken = next(name for name, value in headers.items() if error.object in (name, value))
        message = f"The header {broken!r} holds characters that HTTP cannot carry. No request was sent."
        raise ConfigurationError(message) from None  # the error holds the value
    request: httpx.Request
    if not isinstance(content, Content):
        request = library.Request(method, target, headers=fields, content=content, extensions={"timeout": timeouts})
        return request
    # As a stream, the body is taken as it is. As content, httpx would look which headers it calls for.
    if method != "GET":
        fields.append((b"Content-Length", b"%d" % len(content.data)))
    stream_class, readable_class = _classes(library)
    request_class = readable_class if len(content.data) <= LARGE else library.Request
    request = request_class(
        method, target, headers=fields, stream=stream_class(content), extensions={"timeout": timeouts}
    )
    return request


@cache
def _classes(library: Any) -> tuple[type[Any], type[Any]]:
    """A stream that notes when it is looked at, and a request whose content is always there, for those who ask."""

    class NotedStream(library.ByteStream):
        def __init__(self, content: Content) -> None:
            super().__init__(b"")
            self._content = content

        def __iter__(self) -> Iterator[bytes]:
            yield self._content.look()

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield self._content.look()

    class ReadableRequest(library.Request):
        @property
        def content(self) -> bytes:
            data: bytes = self.read()
            return data

    return NotedStream, ReadableRequest


@lru_cache(maxsize=256)
def _parsed(library: ModuleType, url: str) -> httpx.URL:
    try:
        parsed: httpx.URL = library.URL(url)
    except (library.InvalidURL, ValueError) as error:
        raise ConfigurationError(f"This is not an HTTP URL: {reason(error)[0]}.") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigurationError(f"This is not an HTTP URL: {reason(ValueError(url))[0]}.")
    return parsed
