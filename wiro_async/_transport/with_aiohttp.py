"""HTTP by aiohttp: the built-in way, at a fraction of the processor time of httpx's own pool."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, TypeAlias

import anyio
import anyio.to_thread

from wiro_async._errors import ConfigurationError, ConnectionFailedError, RequestTimeoutError
from wiro_async._transport.coding import undone
from wiro_async._transport.exchange import reason, unconnected
from wiro_async._transport.proxies import proxy_for
from wiro_async._transport.tls import Tls

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

Origin: TypeAlias = tuple[str, str, int | None]
KEEP_ALIVE_SECONDS = 4.0  # many servers hang up after 5: a run must not be sent into a connection that just closes
LARGE = 64 * 1024  # what is longer is handed over in pieces, which also spares aiohttp's warning about long bytes


class AiohttpBackend:
    """One aiohttp connector, opened at first use. The library is imported then, in a thread."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._opening = anyio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._files: aiohttp.ClientSession | None = None  # leaves content codings alone
        self._open_exchanges: set[AiohttpExchange] = set()
        self._ways: dict[Origin, tuple[str | None, ssl.SSLContext | bool]] = {}

    async def ready(self, url: str) -> None:
        """The session is open, and the way to that host known: its proxy, and the TLS context if one is needed."""
        if self._session is None:
            await self._open()
        with mapped_errors(None):
            address = _address(url)
            origin = _origin(address)
            if origin not in self._ways:
                self._ways[origin] = await anyio.to_thread.run_sync(self._way_to, origin)

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        connect: float,
        silence: float | None,
    ) -> AiohttpExchange:
        """The answer to one request, as soon as its head is there."""
        session = self._files if method == "GET" else self._session
        assert session is not None
        with mapped_errors(silence):
            address = _address(url)
            proxy, context = self._ways[_origin(address)]
            data = BytesIO(content) if isinstance(content, bytes) and len(content) > LARGE else content or None
            response = await session.request(
                method,
                address,
                headers=headers,
                data=data,
                allow_redirects=False,
                proxy=proxy,
                ssl=context,
                timeout=_timeouts(connect, silence),
            )
        exchange = AiohttpExchange(response, silence, method == "GET", self._open_exchanges.discard)
        self._open_exchanges.add(exchange)
        return exchange

    async def aclose(self) -> None:
        """Close all connections, also under those who read from them."""
        for exchange in list(self._open_exchanges):
            exchange.drop()
        async with self._opening:
            if self._session is not None:
                await self._session.close()  # and with it the connector, without which the other one is closed as well

    async def _open(self) -> None:
        async with self._opening:
            if self._session is None:
                await anyio.to_thread.run_sync(import_module, "aiohttp")
                self._files, self._session = self._new_sessions()

    def _way_to(self, origin: Origin) -> tuple[str | None, ssl.SSLContext | bool]:
        proxy = proxy_for(*origin)
        is_secure = origin[0] == "https" or (proxy or "").startswith("https")
        return proxy, self._tls.context if is_secure else True

    def _new_sessions(self) -> tuple[aiohttp.ClientSession, aiohttp.ClientSession]:
        import aiohttp

        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
        # trust_env stays off: it would send passwords of ~/.netrc along, and costs two threads a request
        return (
            aiohttp.ClientSession(
                connector=connector, connector_owner=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            ),
            aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()),
        )


class AiohttpExchange:
    """An answer that aiohttp brings.

    Args:
        is_file: whether its content coding was left alone.
        on_close: told when it is closed.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        silence: float | None,
        is_file: bool,
        on_close: Callable[[AiohttpExchange], None],
    ) -> None:
        self._response = response
        self._silence = silence
        self._coding = response.headers.get("content-encoding", "").strip() if is_file else ""
        self._on_close = on_close
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        """The whole body. A request body that the server does not wait for is given up."""
        with mapped_errors(self._silence):
            return await self._response.content.read()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes."""
        with mapped_errors(self._silence):
            async with undone(self._response.content.iter_any(), self._coding) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def aclose(self) -> None:
        """Free the connection."""
        self._on_close(self)
        self._response.release()

    def drop(self) -> None:
        """Close the connection under whoever reads from it."""
        self._response.close()


@contextmanager
def mapped_errors(silence: float | None) -> Generator[None]:
    """Turn aiohttp's errors into ours."""
    import aiohttp

    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
        failed = unconnected(error)
        raise failed from failed.__cause__
    except TimeoutError as error:
        raise RequestTimeoutError(f"no sign of an answer within {silence} s") from reason(error)[1]
    except (aiohttp.NonHttpUrlClientError, ValueError) as error:  # aiohttp.InvalidURL is a ValueError
        raise ConfigurationError(f"no HTTP request: {reason(error)[0]}") from None
    except (aiohttp.ClientError, OSError, RuntimeError) as error:  # the latter if it was closed before it was read
        text, cause = reason(error)
        raise ConnectionFailedError(f"the connection failed: {text}") from cause


@lru_cache(maxsize=256)
def _address(url: str) -> URL:
    from yarl import URL

    return URL(url, encoded=url.isascii() and url.isprintable() and " " not in url)


def _origin(address: URL) -> Origin:
    return address.scheme, address.host or "", address.port


@lru_cache(maxsize=16)
def _timeouts(connect: float, silence: float | None) -> aiohttp.ClientTimeout:
    import aiohttp

    return aiohttp.ClientTimeout(connect=connect, sock_connect=connect, sock_read=silence)
