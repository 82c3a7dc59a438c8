"""Fetches output files. They are public URLs on several hosts: no credentials go along, ever."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit

import anyio
import attrs

from wiro_async._errors import DownloadError, TransportError
from wiro_async._protocol.retry import RetryPolicy
from wiro_async._transport import clock
from wiro_async._transport.http import Download, HttpTransport

logger = logging.getLogger("wiro_async")
LAG = frozenset({404, 408, 425, 429, 500, 502, 503, 504})  # a URL may answer these for some time after success
LAG_SECONDS = 180.0
MAX_REDIRECTS = 5
PACE = RetryPolicy(attempts=1000, base=0.25, cap=10.0)


@attrs.frozen
class Downloader:
    """GETs files with patience."""

    http: HttpTransport
    user_agent: str
    timeout: float | None

    @asynccontextmanager
    async def open(self, url: str, size: int | None = None) -> AsyncGenerator[AsyncGenerator[bytes, None]]:
        """The file's bytes as they come. Raises `DownloadError` if it cannot be had whole.

        Args:
            size: its size, where known; also the Content-Length is held to.
        """
        async with self._answered(url) as download:
            yield _whole(download, size)

    @asynccontextmanager
    async def _answered(self, url: str) -> AsyncGenerator[Download]:
        deadline = anyio.current_time() + LAG_SECONDS
        redirects = 0
        attempt = 1
        while True:
            problem: str | None
            delay = PACE.delay(TransportError(), attempt, clock.chance())
            late = anyio.current_time() + delay > deadline
            try:
                async with self.http.get(url, {"User-Agent": self.user_agent}, self.timeout) as download:
                    location = _location(download)
                    if location is None and (download.status not in LAG or late):
                        yield _accepted(download)
                        return
                    problem = f"HTTP {download.status}"
            except TransportError as error:
                if late:
                    raise DownloadError(f"{shown(url)} could not be fetched: {error}") from error
                location, problem = None, str(error)
            if location is not None:
                redirects += 1
                url = _redirected(url, location, redirects)
                continue
            logger.info("%s: %s; again in %.2f s", shown(url), problem, delay)
            await anyio.sleep(delay)
            attempt += 1


def shown(url: str) -> str:
    """A URL fit to be seen: its path holds an access key, so only host and file name are told."""
    parts = urlsplit(url)
    return f"{parts.hostname}/…/{parts.path.rsplit('/', 1)[-1]}"


def _accepted(download: Download) -> Download:
    if download.status != 200:
        raise DownloadError(f"{shown(download.url)} answered HTTP {download.status}")
    return download


def _location(download: Download) -> str | None:
    return download.headers.get("location") if 300 <= download.status < 400 else None


def _redirected(url: str, location: str, redirects: int) -> str:
    target = urljoin(url, location)
    if redirects > MAX_REDIRECTS:
        raise DownloadError(f"{shown(url)} redirects more than {MAX_REDIRECTS} times")
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise DownloadError(f"{shown(url)} redirects from https to an unprotected address")
    return target


async def _whole(download: Download, size: int | None) -> AsyncGenerator[bytes, None]:
    told = download.headers.get("content-length")
    expected = int(told) if told and "content-encoding" not in download.headers else None
    received = 0
    try:
        async for chunk in download.chunks:
            received += len(chunk)
            yield chunk
    except TransportError as error:
        raise DownloadError(f"{shown(download.url)} broke off after {received} bytes: {error}") from error
    for promised in (expected, size):
        if promised is not None and promised != received:
            raise DownloadError(f"{shown(download.url)} should have {promised} bytes but gave {received}")
