"""What a library must offer to carry HTTP calls, and what all that do have in common."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import anyio

from wiro_async._errors import ConnectionFailedError
from wiro_async._redaction import HIDDEN

TRUST = "; if that certificate is right, have its authority trusted: verify=…"
ADDRESS = re.compile(r"(\w+://)([^\s'\")]*)")


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
        """The body as it comes, its content coding undone. One that breaks off within its coding is not whole."""
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

    Args:
        asking: entered while the source is asked: what time that takes is not the other side's.
        length: how many bytes were announced; None for a body in chunks.

    Attributes:
        error: what its source raised, if it did.
    """

    def __init__(
        self, source: AsyncIterator[bytes], asking: Callable[[], AbstractContextManager[None]], length: int | None
    ) -> None:
        self.error: Exception | None = None
        self._source = source
        self._asking = asking
        self._missing = length
        self._is_over = False
        self._busy = anyio.Lock()

    @property
    def is_incomplete(self) -> bool:
        """Whether its end was not handed over: the last byte that was announced, or the end of the chunks."""
        return not self._is_over and (self._missing is None or self._missing > 0)

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> bytes:
        async with self._busy:
            try:
                with self._asking():
                    piece = await anext(self._source)
            except StopAsyncIteration:
                self._is_over = True
                raise
            except Exception as error:
                self.error = error
                raise
            if self._missing is not None:
                self._missing -= len(piece)
            return piece

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
    failed = ConnectionFailedError(
        f"no connection: {text}{TRUST if link else ''}", sent=False, permanent=link is not None
    )
    failed.__cause__ = cause
    return failed


def reason(error: BaseException) -> tuple[str, BaseException | None]:
    """An error's words, and the error to raise ours from: none if it shows a URL, which may hold a secret."""
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    return ADDRESS.sub(_host_of, text), None if ADDRESS.search(text) else error


def _host_of(match: re.Match[str]) -> str:
    authority, _, rest = match[2].partition("/")
    host = HIDDEN if "@" in rest else authority.rpartition("@")[2]  # a password may hold a slash
    return f"{match[1]}{host}/{HIDDEN}"
