"""Download output files. They are public URLs on several hosts, so no request ever carries credentials.

`_protocol.files` decides: `Transfer` which bytes a response may add, `RetryBudget` whether another request follows.
Here is the loop around those decisions. Inside, a file is a sequence of pieces in which None means "the file starts
here": the first piece always, and again where the server could not resume and what came before must be discarded.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from pathlib import Path
from typing import assert_never

import anyio
import attrs

from wiro_async._engine.background.background_tasks import Lifeline
from wiro_async._errors import ConfigurationError, DownloadError, TransportError
from wiro_async._protocol.files.byte_ranges import Offer
from wiro_async._protocol.files.download_retry import Done, GiveUp, RetryBudget, RetryDownload
from wiro_async._protocol.files.file_urls import REDIRECTS, checked_url, redirected
from wiro_async._protocol.files.stand_ins import check_no_stand_in
from wiro_async._protocol.files.transfer import Complete, Failure, Receive, Transfer, transport_failure
from wiro_async._redaction import shorten_url
from wiro_async._transport import clock
from wiro_async._transport.files.atomic_file import atomic_file
from wiro_async._transport.http import Download, HttpTransport
from wiro_async._tuning import Tuning

logger = logging.getLogger("wiro_async")


@attrs.frozen
class Downloader:
    """Downloads files, and resumes or repeats what breaks off.

    Args:
        timeout: seconds for each silence of a server.
        tuning: when to retry and when to give up.
        max_bytes: the most bytes that any file may have; None for no limit.
        lifeline: keeps the session open while an output can be downloaded.
    """

    http: HttpTransport
    user_agent: str
    timeout: float | None
    tuning: Tuning
    max_bytes: int | None = None
    lifeline: Lifeline | None = attrs.field(default=None, repr=False)

    @asynccontextmanager
    async def stream(
        self, url: str, size: int | None = None, max_bytes: int | None = None
    ) -> AsyncGenerator[AsyncGenerator[bytes, None]]:
        """Give the file's bytes as they arrive; on entering, the server has begun to respond.

        Streams are not counted against the session's limit of downloads: a slow reader would block others.

        Args:
            size: how many bytes it should have, if known. What its server says is checked as well.
            max_bytes: the most bytes that it may have, if that is less than `max_bytes` of all files.

        Raises:
            DownloadError: it cannot be fetched whole; also while iterating.
        """
        opened = self._open(url, size, max_bytes, nullcontext())
        async with opened as pieces, aclosing(_without_restarts(pieces, url)) as chunks:
            yield chunks

    async def read(self, url: str, size: int | None = None, max_bytes: int | None = None) -> bytes:
        """Read all of it into memory. Arguments and errors as in `stream`."""
        data = bytearray()
        async with self._open(url, size, max_bytes, self.http.downloads) as pieces:
            async for piece in pieces:
                if piece is None:
                    data.clear()
                else:
                    data += piece
        return bytes(data)

    async def save(
        self, url: str, path: Path, size: int | None = None, max_bytes: int | None = None, *, overwrite: bool = False
    ) -> Path:
        """Save it under a path, or a numbered one next to it, and return which. Arguments and errors as in `stream`."""
        opened = self._open(url, size, max_bytes, self.http.downloads)
        async with atomic_file(path, overwrite) as file, opened as pieces:
            async for piece in pieces:
                if piece is None:
                    await file.restart()
                else:
                    await file.write(piece)
        return file.path

    @asynccontextmanager
    async def _open(
        self, url: str, size: int | None, max_bytes: int | None, turn: AbstractAsyncContextManager[object]
    ) -> AsyncGenerator[AsyncGenerator[bytes | None, None]]:
        cap = min((cap for cap in (self.max_bytes, max_bytes) if cap is not None), default=None)
        transfer = Transfer(size, cap)
        if transfer.too_large is not None:  # by the service's record, so no request is needed
            raise DownloadError(f"{shorten_url(url)} {transfer.too_large.problem}")
        async with aclosing(self._pieces(url, transfer, turn)) as pieces:
            await anext(pieces)  # the None at the beginning
            yield pieces

    async def _pieces(  # noqa: C901
        self, url: str, transfer: Transfer, turn: AbstractAsyncContextManager[object]
    ) -> AsyncGenerator[bytes | None, None]:
        """Yield the file's pieces, over as many requests as it takes.

        Args:
            turn: held during each attempt, and free between two of them: a late file must not hold up others.
        """
        budget = RetryBudget(self.tuning, anyio.current_time())
        outcome: Receive | Complete | Failure
        while True:
            cause: BaseException | None = None
            queued_at = anyio.current_time()
            async with turn:
                # Time in the queue says nothing about the file, so it is not counted as lateness.
                budget.extend(anyio.current_time() - queued_at)
                try:
                    async with self._response(url, transfer.request_headers()) as response:
                        outcome = transfer.begin(Offer.of(response.status, response.headers, clock.now()))
                        if isinstance(outcome, Receive):
                            if outcome.starts_over:
                                yield None
                            async for chunk in response.chunks:
                                if not transfer.received:
                                    check_no_stand_in(url, response.url, transfer.size, response.headers, chunk)
                                new = transfer.take(chunk)
                                if transfer.too_large is not None:
                                    break  # what came is never passed on; `end` gives the reason
                                yield new
                            outcome = transfer.end()
                except TransportError as error:
                    cause = error.__cause__
                    outcome = transport_failure(error)
            now, jitter = anyio.current_time(), self.tuning.random()
            action = budget.decide(outcome, transfer.received, transfer.total, now, jitter)
            match action:
                case Done():
                    return
                case GiveUp(problem):
                    raise DownloadError(f"{shorten_url(url)} {problem}") from cause
                case RetryDownload(reason, wait):
                    logger.info(
                        "download of %s: %s; retrying in %.2f s, with %d bytes received",
                        shorten_url(url),
                        reason,
                        wait,
                        transfer.received,
                    )
                    await self.http.pause(wait)
                case _:
                    assert_never(action)

    @asynccontextmanager
    async def _response(self, url: str, headers: Mapping[str, str]) -> AsyncGenerator[Download]:
        """Send a GET, and follow redirects: as files are public, also to other hosts."""
        target = url
        for _ in range(self.tuning.download_redirects + 1):
            try:
                request_headers = {"User-Agent": self.user_agent, **headers}
                async with self.http.get(checked_url(target), request_headers, self.timeout) as response:
                    location = response.headers.get("location") if response.status in REDIRECTS else None
                    if location is None:
                        yield response
                        return
            except ConfigurationError as error:
                raise DownloadError(f"{shorten_url(target)} cannot be fetched: {error}") from None
            target = redirected(target, location)
        raise DownloadError(
            f"{shorten_url(url)} redirects more than {self.tuning.download_redirects} times; check the URL"
        )


async def _without_restarts(pieces: AsyncGenerator[bytes | None, None], url: str) -> AsyncGenerator[bytes, None]:
    """For readers who cannot discard what they have read."""
    received = 0
    async for piece in pieces:
        if piece is None and received:
            raise DownloadError(
                f"{shorten_url(url)} broke off after {received} bytes, and its server cannot resume it; "
                "fetch it again, or use save() or read(), which start over by themselves"
            )
        if piece:
            received += len(piece)
            yield piece
