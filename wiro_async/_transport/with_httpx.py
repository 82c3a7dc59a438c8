"""HTTP by any httpx transport that the user gives: `AsyncWiro(transport=…)`."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import contextmanager

import anyio
import httpx

from wiro_async._errors import ConfigurationError, ConnectionFailedError, RequestTimeoutError, TransportError
from wiro_async._transport.coding import undone
from wiro_async._transport.exchange import reason, unconnected


class HttpxBackend:
    """Hands requests to an httpx transport and owns it: it is closed with the session."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def ready(self, url: str) -> None:
        """The transport is at hand."""

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        connect: float,
        silence: float | None,
    ) -> HttpxExchange:
        """The answer to one request, as soon as its head is there."""
        timeouts = {"connect": connect, "read": silence, "write": silence, "pool": None}
        with mapped_errors(silence):
            request = httpx.Request(
                method, url, headers=dict(headers), content=content or None, extensions={"timeout": timeouts}
            )
            if request.url.scheme not in ("http", "https") or not request.url.host:
                raise httpx.UnsupportedProtocol(f"not an HTTP address: {request.url}")
            return HttpxExchange(await self._transport.handle_async_request(request), silence)

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


class HttpxExchange:
    """An answer that an httpx transport brings."""

    def __init__(self, response: httpx.Response, silence: float | None) -> None:
        self._response = response
        self._silence = silence
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        """The whole body."""
        with mapped_errors(self._silence):
            return await self._response.aread()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes."""
        was_read = self._response.is_stream_consumed  # by a transport that reads answers whole, and undoes the coding
        source, coding = self._response.aiter_bytes(), ""
        if not was_read:
            source, coding = self._response.aiter_raw(), self.headers.get("content-encoding", "").strip()
        with mapped_errors(self._silence):
            async with undone(source, coding) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def aclose(self) -> None:
        """Free the connection."""
        with anyio.CancelScope(shield=True):
            await self._response.aclose()


@contextmanager
def mapped_errors(silence: float | None) -> Generator[None]:
    """Turn every error of a transport into one of ours."""
    try:
        yield
    except TransportError:
        raise
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ConfigurationError(f"no HTTP request: {reason(error)[0]}") from None
    except Exception as error:  # whatever a transport lets through, the request may have left
        if _is_unconnected(error):
            failed = unconnected(error)
            raise failed from failed.__cause__
        text, cause = reason(error)
        if _is_timeout(error):
            raise RequestTimeoutError(f"no sign of an answer within {silence} s") from cause
        raise ConnectionFailedError(f"the connection failed: {text}") from cause


def _is_unconnected(error: BaseException) -> bool:
    """Whether the cause proves that no connection was made.

    The class does not: one transport calls a server that hung up a connect time-out.
    """
    httpcore = _known("httpcore", "ConnectError", "ConnectTimeout", "PoolTimeout")
    return isinstance(error.__cause__, httpcore + _known("aiohttp", "ClientConnectorError", "ConnectionTimeoutError"))


def _is_timeout(error: BaseException) -> bool:
    cause = error.__cause__
    told = cause if isinstance(cause, _known("aiohttp", "ClientError")) else error
    return isinstance(told, (TimeoutError, httpx.TimeoutException))


def _known(library: str, *names: str) -> tuple[type[BaseException], ...]:
    """The errors of a library, as far as it was imported, be it only in part so far."""
    module = sys.modules.get(library)
    return tuple(getattr(module, name) for name in names if hasattr(module, name))
