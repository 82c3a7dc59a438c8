"""One file on its way: asked for, asked for again, and put together from what came."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Self
from urllib.parse import urljoin, urlsplit

import anyio
import attrs

from wiro_async._engine.downloads.download_retry import Patience
from wiro_async._errors import ConfigurationError, DownloadError, TransportError
from wiro_async._protocol.files.byte_ranges import Offer, Start, Transfer
from wiro_async._protocol.http.responses import parse_retry_after
from wiro_async._redaction import shorten_url
from wiro_async._transport import clock
from wiro_async._transport.http import Download, HttpTransport

logger = logging.getLogger("wiro_async")
LAG = frozenset({404, 408, 425, 429, *range(500, 600)})  # a URL may answer these for some time after success
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5
BROKEN, WRONG = 1, 3  # how much patience it costs if a transfer broke off, or if what came cannot be right


class _AgainError(Exception):
    """An attempt brought less than the whole file; another may bring more."""

    def __init__(self, problem: str, weight: int, asked: float | None = None) -> None:
        super().__init__(problem)
        self.weight = weight
        self.asked = asked


@attrs.define
class Fetch:
    """The fetching of one file.

    Args:
        cap: the most bytes it may have.
        turn: held by each attempt. Waiting for it costs no patience.
    """

    http: HttpTransport
    headers: dict[str, str] = attrs.field(repr=False)
    timeout: float | None
    url: str = attrs.field(repr=False)
    cap: int | None
    transfer: Transfer
    patience: Patience
    turn: AbstractAsyncContextManager[object]

    @classmethod
    def of(
        cls,
        http: HttpTransport,
        user_agent: str,
        timeout: float | None,
        url: str,
        size: int | None,
        cap: int | None,
        turn: AbstractAsyncContextManager[object],
    ) -> Self:
        """The fetching of a file that should have `size` bytes, if that is known."""
        headers = {"User-Agent": user_agent}
        return cls(http, headers, timeout, url, cap, Transfer(size), Patience(anyio.current_time()), turn)

    async def pieces(self) -> AsyncGenerator[bytes | None, None]:
        """None where the file begins, or begins again so that what came before is void; after it, its bytes.

        Raises:
            DownloadError: it cannot be had whole.
        """
        self._check_cap(self.transfer.size)
        while True:
            try:
                async with self._turn(), aclosing(self._attempt()) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except _AgainError as again:
                await self._pause(again, again.weight, again.asked)
            except TransportError as error:
                if error.permanent:
                    raise DownloadError(f"{shorten_url(self.url)} cannot be fetched: {error}") from error.__cause__
                await self._pause(error, BROKEN)

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None, None]:
        began = anyio.current_time()
        async with self.turn:
            self.patience.since += anyio.current_time() - began
            yield

    async def _attempt(self) -> AsyncGenerator[bytes | None, None]:
        asked = self.transfer.headers()
        async with self._answered(asked) as download:
            start = self._begun(download, bool(asked))
            if start.anew:
                yield None
            async for chunk in download.chunks:
                fresh = self.transfer.take(chunk)
                self._check_cap(self.transfer.received)
                if fresh:
                    yield fresh
        if self.transfer.is_short:
            raise _AgainError(f"it ended after {self.transfer.received} of {self.transfer.total} bytes", BROKEN)
        self._check_size()

    def _begun(self, download: Download, is_rest: bool) -> Start:
        status, headers = download.status, download.headers
        if status in LAG:
            raise _AgainError(f"HTTP {status}", 0, parse_retry_after(headers.get("retry-after"), clock.now()))
        start = self.transfer.begin(Offer.of(status, headers))
        if start is None and not is_rest:
            raise DownloadError(f"{shorten_url(self.url)} answered HTTP {status}")
        if start is None:
            raise _AgainError(f"HTTP {status}, which is not the rest that was asked for", BROKEN)
        self._check_cap(self.transfer.total)
        if self.transfer.total is not None:
            self._check_size()
        return start

    @asynccontextmanager
    async def _answered(self, asked: dict[str, str]) -> AsyncGenerator[Download]:
        url = self.url
        for _ in range(MAX_REDIRECTS + 1):
            try:
                async with self.http.get(_fetchable(url), {**self.headers, **asked}, self.timeout) as download:
                    location = download.headers.get("location") if download.status in REDIRECTS else None
                    if location is None:
                        yield download
                        return
            except ConfigurationError as error:
                raise DownloadError(f"{shorten_url(url)} cannot be fetched: {error}") from None
            url = _redirected(url, location)
        raise DownloadError(f"{shorten_url(self.url)} redirects more than {MAX_REDIRECTS} times")

    async def _pause(self, problem: Exception, weight: int, asked: float | None = None) -> None:
        received, total, name = self.transfer.received, self.transfer.total, shorten_url(self.url)
        now, chance = anyio.current_time(), clock.chance()
        delay = self.patience.delay(now, received, total, chance, weight=weight, asked=asked)
        if delay is None:
            raise DownloadError(f"{name} could not be fetched whole: {problem}") from problem.__cause__
        logger.info("download of %s: %s; again in %.2f s, with %d bytes at hand", name, problem, delay, received)
        await self.http.pause(delay)

    def _check_cap(self, size: int | None) -> None:
        if self.cap is not None and size is not None and size > self.cap:
            raise DownloadError(
                f"{shorten_url(self.url)} has {'' if size == self.transfer.size else 'at least '}{size} bytes, "
                f"more than the {self.cap} allowed; raise max_bytes to have it"
            )

    def _check_size(self) -> None:
        problem = self.transfer.problem
        if problem is not None:
            raise _AgainError(problem, WRONG)


def _fetchable(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not is_web:
        raise DownloadError(f"{shorten_url(url)} cannot be fetched: it is not the address of a file on the web")
    return url


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
    except ValueError:
        target = ""
    if urlsplit(url).scheme == "https" and not target.startswith("https:"):
        raise DownloadError(f"{shorten_url(url)} redirects from https to an address that is not protected")
    return target
