"""What a library must offer to carry HTTP calls, and what all that do have in common."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Protocol

import anyio

from wiro_async._errors import ConnectionFailedError

TRUST = "; if that certificate is right, have its authority trusted: verify=…"
ADDRESS = re.compile(r"(\w+://)(?:[^/\s'\"]*@)?([^/\s'\")]*)(?:/[^\s'\")]*)?")


class Exchange(Protocol):
    """An answer whose body is still to come. Its methods raise `TransportError` kinds."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; their names are case-insensitive."""
        ...

    async def read(self) -> bytes:
        """The whole body, its content coding undone."""
        ...

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes, its content coding undone."""
        ...

    async def aclose(self) -> None:
        """Free the connection: for the next request if all was read, else by dropping it."""
        ...


class Backend(Protocol):
    """Sends requests. Redirects are not followed, cookies not kept, and nothing is sent twice."""

    async def ready(self, url: str) -> None:
        """Have at hand whatever a request to this address needs besides a connection; only the first ones wait.

        Raises:
            ConfigurationError: the address is none for HTTP.
        """
        ...

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes],
        connect: float,
        silence: float | None,
    ) -> Exchange:
        """The answer to one request, as soon as its head is there.

        Args:
            connect: the most seconds for making a connection.
            silence: the most seconds without a byte from the other side.

        Raises:
            TransportError: `sent` is False only if no byte of the request can have left.
            ConfigurationError: the address or a header is none for HTTP.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class Upload:
    """A body on its way out, perhaps in a task of the library's.

    Attributes:
        error: what its source raised, if it did.
    """

    def __init__(self, source: AsyncIterator[bytes], on_wanted: Callable[[], None]) -> None:
        self.error: Exception | None = None
        self._source = source
        self._on_wanted = on_wanted
        self._busy = anyio.Lock()

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> bytes:
        self._on_wanted()
        async with self._busy:
            try:
                return await anext(self._source)
            except StopAsyncIteration:
                raise
            except Exception as error:
                self.error = error
                raise

    async def settled(self) -> None:
        """Until nobody reads the source any more: one that is being read cannot be closed."""
        with anyio.CancelScope(shield=True):
            async with self._busy:
                pass


def unconnected(error: BaseException) -> ConnectionFailedError:
    """The error for a connection that was never made: a certificate that is not trusted now will not be soon."""
    text, cause = reason(error)
    link: BaseException | None = error
    while link is not None and not isinstance(link, ssl.SSLCertVerificationError):
        link = link.__cause__ or link.__context__
    failed = ConnectionFailedError(f"no connection: {text}{TRUST if link else ''}", False, link is not None)
    failed.__cause__ = cause
    return failed


def reason(error: BaseException) -> tuple[str, BaseException | None]:
    """An error's words, and the error to raise ours from: none if it shows a URL, which may hold a secret."""
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    return ADDRESS.sub(r"\1\2/…", text), None if ADDRESS.search(text) else error
