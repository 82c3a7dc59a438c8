"""Outputs: files to fetch, or text that came with the result."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from wiro_async._engine.downloader import Downloader
from wiro_async._errors import DownloadError
from wiro_async._protocol.entities import OutputRecord
from wiro_async._protocol.text import TextSnapshot
from wiro_async._transport.files import filling

UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]+')
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
MAX_NAME = 150


class Output:
    """One output of a run: a file the service keeps, or the text of an LLM.

    Attributes:
        record: what the task says about it.
    """

    def __init__(self, record: OutputRecord, downloader: Downloader) -> None:
        self.record = record
        self._downloader = downloader

    def __repr__(self) -> str:
        return f"Output(name={self.name!r}, content_type={self.content_type!r}, size={self.size})"

    @property
    def url(self) -> str | None:
        """Where the file lies, for everybody who knows the URL; None for text."""
        return self.record.url

    @property
    def name(self) -> str:
        """Its file name, as the service gives it."""
        return self.record.name or ("output" if self.url else "answer.txt")

    @property
    def content_type(self) -> str:
        """Its media type, such as "image/png"; "raw" for text."""
        return self.record.content_type

    @property
    def size(self) -> int | None:
        """Its size in bytes, where known."""
        return self.record.size

    async def read(self) -> bytes:
        """All of it, in memory. Raises `DownloadError`; cancelling drops the connection."""
        async with self.stream() as chunks:
            return b"".join([chunk async for chunk in chunks])

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """Its bytes as they come: `async with output.stream() as chunks: async for chunk in chunks: …`.

        Raises:
            DownloadError: it could not be fetched whole.
        """
        if self.url is None:
            yield _text(self.record)
            return
        async with self._downloader.open(self.url, self.size) as chunks:
            yield chunks

    async def save(self, to: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Save it and return where it now lies. The file appears under its name only when it is whole.

        Args:
            to: a path, or a directory (one that exists, or ends with a slash) in which it takes its own name.
            overwrite: replace a file of that name; otherwise a number is added to the name.

        Raises:
            DownloadError: it could not be fetched whole.
            OSError: it could not be written.
        """
        path = await self._target(to)
        async with self.stream() as chunks, filling(path, overwrite) as file:
            async for chunk in chunks:
                await file.write(chunk)
        return file.path

    async def _target(self, to: str | os.PathLike[str]) -> Path:
        text = os.fspath(to)
        path = Path(text)
        if text.endswith(("/", os.sep)) or await anyio.Path(path).is_dir():
            return path / safe_name(self.name)
        return path


def safe_name(name: str) -> str:
    """A file name that stays in its directory on every system."""
    name = UNSAFE.sub("_", name).strip(" .") or "output"
    if RESERVED.fullmatch(name):
        name = f"_{name}"
    stem, suffix = os.path.splitext(name)
    return stem[: MAX_NAME - len(suffix[:20])] + suffix[:20]


async def _text(record: OutputRecord) -> AsyncGenerator[bytes, None]:
    snapshot = TextSnapshot.from_wire(record.content)
    if snapshot is None:
        raise DownloadError(f"output {record.name!r} has neither a URL nor text")
    yield snapshot.answer.encode()
