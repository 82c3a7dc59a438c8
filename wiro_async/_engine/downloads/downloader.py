"""Fetches output files. They are public URLs on several hosts: no credentials go along, ever."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from pathlib import Path

import attrs

from wiro_async._engine.downloads.fetch import Fetch
from wiro_async._errors import DownloadError
from wiro_async._redaction import shorten_url
from wiro_async._transport.files.atomic_file import filling
from wiro_async._transport.http import HttpTransport

READ_CAP = 256 * 1024 * 1024


@attrs.frozen
class Downloader:
    """GETs files with patience, over as many connections as it takes.

    Args:
        timeout: seconds for each silence of a server.
        max_bytes: the most that any file may have; None for no limit.
    """

    http: HttpTransport
    user_agent: str
    timeout: float | None
    max_bytes: int | None = None

    @asynccontextmanager
    async def stream(
        self, url: str, size: int | None = None, max_bytes: int | None = None
    ) -> AsyncGenerator[AsyncGenerator[bytes, None]]:
        """The file's bytes as they come; on entering, the server has begun to answer.

        As many of them may be open as there are readers: nobody is kept waiting by a reader that is slow.

        Args:
            size: how many bytes it should have, where known; its server's own word is held to as well.
            max_bytes: the most it may have, if that is less than `max_bytes` of all files.

        Raises:
            DownloadError: it cannot be had whole; also while iterating.
        """
        opened = self._opened(url, size, max_bytes, nullcontext())
        async with opened as pieces, aclosing(_steady(pieces, url)) as chunks:
            yield chunks

    async def read(self, url: str, size: int | None = None, max_bytes: int | None = None) -> bytes:
        """All of it, in memory. Arguments and errors as in `stream`."""
        data = bytearray()
        async with self._opened(url, size, max_bytes, self.http.downloads) as pieces:
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
        opened = self._opened(url, size, max_bytes, self.http.downloads)
        async with filling(path, overwrite) as file, opened as pieces:
            async for piece in pieces:
                if piece is None:
                    await file.restart()
                else:
                    await file.write(piece)
        return file.path

    @asynccontextmanager
    async def _opened(
        self, url: str, size: int | None, max_bytes: int | None, turn: AbstractAsyncContextManager[object]
    ) -> AsyncGenerator[AsyncGenerator[bytes | None, None]]:
        fetch = Fetch.of(self.http, self.user_agent, self.timeout, url, size, self._cap(max_bytes), turn)
        async with aclosing(fetch.pieces()) as pieces:
            await anext(pieces)  # None: the file begins
            yield pieces

    def _cap(self, max_bytes: int | None) -> int | None:
        return min((cap for cap in (self.max_bytes, max_bytes) if cap is not None), default=None)


async def _steady(pieces: AsyncGenerator[bytes | None, None], url: str) -> AsyncGenerator[bytes, None]:
    """For readers who cannot take back what they have read."""
    received = 0
    async for piece in pieces:
        if piece is not None:
            received += len(piece)
            yield piece
        elif received:
            raise DownloadError(
                f"{shorten_url(url)} broke off after {received} bytes, and its server cannot go on from there; "
                "fetch it again, or use save() or read(), which start over by themselves"
            )
