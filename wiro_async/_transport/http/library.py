"""The library that a transport belongs to: httpx, or its successor httpx2. Requests are built with its classes."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from wiro_async._errors import ConfigurationError
from wiro_async._protocol.http.wire_urls import target_of, wire_url
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


def build_request(
    library: ModuleType,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | AsyncIterator[bytes],
    timeouts: Mapping[str, float | None],
) -> httpx.Request:
    """A request as it is sent: no header is added but Host and the length of the body.

    Raises:
        ConfigurationError: the URL is not one of HTTP.
    """
    target, raw_target = _parsed(library, url)
    extensions = {"timeout": timeouts} if raw_target is None else {"timeout": timeouts, "target": raw_target}
    fields = [(b"Host", target.netloc), *((name.encode(), value.encode()) for name, value in headers.items())]
    request: httpx.Request
    if not isinstance(content, bytes):
        request = library.Request(method, target, headers=fields, content=content, extensions=extensions)
        return request
    # As a stream, the body is taken as it is. As content, httpx would look which headers it calls for.
    if method != "GET":
        fields.append((b"Content-Length", b"%d" % len(content)))
    stream = library.ByteStream(content)
    request = library.Request(method, target, headers=fields, stream=stream, extensions=extensions)
    if len(content) <= LARGE:
        request.read()  # so that `request.content` is there for transports that ask for it
    return request


@lru_cache(maxsize=256)
def _parsed(library: ModuleType, url: str) -> tuple[httpx.URL, bytes | None]:
    """Parse a URL, and return what its request line must hold if the library would write something else."""
    try:
        parsed: httpx.URL = library.URL(wire_url(url))
    except (library.InvalidURL, ValueError) as error:
        raise ConfigurationError(f"This is not an HTTP URL: {reason(error)[0]}.") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigurationError(f"This is not an HTTP URL: {reason(ValueError(url))[0]}.")
    raw_target = target_of(url).encode()
    return parsed, None if raw_target == parsed.raw_path else raw_target
