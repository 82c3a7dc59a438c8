"""Outputs: files to fetch, or text that came with the result."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import anyio

from wiro_async._api.results.byte_stream import ByteStream
from wiro_async._engine.calls.task_calls import TaskRef
from wiro_async._engine.downloads.downloader import READ_CAP, Downloader
from wiro_async._errors import DownloadError, WiroError
from wiro_async._protocol.files.filenames import safe_name
from wiro_async._protocol.messages.text_snapshot import TextSnapshot
from wiro_async._protocol.tasks.records import OutputRecord
from wiro_async._public import public
from wiro_async._transport.files.atomic_file import filling


@public
class Output:
    """One output of a run: a file the service keeps, or the text of an LLM.

    Attributes:
        record: what the task says about it.
    """

    def __init__(self, record: OutputRecord, downloader: Downloader, ref: TaskRef | None = None) -> None:
        self.record = record
        self._downloader = downloader
        self._ref = ref or TaskRef()

    @classmethod
    def at(cls, url: str, downloader: Downloader) -> Output:
        """The file at a URL, of which nothing else is known."""
        try:
            name = unquote(urlsplit(url).path.rsplit("/", 1)[-1])
        except ValueError:
            name = ""
        return cls(OutputRecord(url, name, "", None, {}, {}), downloader)

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

    async def read(self, *, max_bytes: int = READ_CAP) -> bytes:
        """All of it, in memory. Cancelling drops the connection.

        Args:
            max_bytes: the most it may have: 256 MiB, if not given.

        Raises:
            DownloadError: it has more, or could not be fetched whole.
        """
        with self._told():
            if self.url is None:
                return _text(self.record)
            return await self._downloader.read(self.url, self.size, max_bytes)

    def stream(self, *, max_bytes: int | None = None) -> ByteStream:
        """Its bytes as they come: `async with output.stream() as chunks: async for chunk in chunks: …`.

        On entering, its server has begun to answer. Leaving, or cancelling, drops the connection. For a plain
        `async for chunk in output.stream()` that is left early, see `ByteStream`. As many as you open are read at a
        time; none waits for another, or for files that are being saved.

        Args:
            max_bytes: the most it may have; no limit but the session's, if not given.

        Raises:
            DownloadError: it could not be fetched whole; on entering, or while iterating.
        """
        return ByteStream(self._pieces(max_bytes))

    async def save(self, to: str | os.PathLike[str], *, overwrite: bool = False, max_bytes: int | None = None) -> Path:
        """Save it and return where it now lies. The file appears under its name only when it is whole and on disk.

        A transfer that breaks off goes on where it was, if its server can do that, else from the beginning. A file
        that is not there yet is waited for, up to 3 minutes. Cancelling leaves nothing behind.

        Args:
            to: a path, or a directory (one that exists, or ends with a slash) in which it takes its own name, made
                safe. Directories are made as needed.
            overwrite: replace a file of that name; otherwise a number is added to the name.
            max_bytes: the most it may have; no limit but the session's, if not given.

        Raises:
            DownloadError: it could not be fetched whole.
            OSError: it could not be written.
        """
        return await self.save_as(await self._target(to), overwrite=overwrite, max_bytes=max_bytes)

    async def save_as(self, path: Path, *, overwrite: bool, max_bytes: int | None) -> Path:
        """The same for a path that is no directory."""
        with self._told():
            if self.url is not None:
                return await self._downloader.save(self.url, path, self.size, max_bytes, overwrite=overwrite)
            text = _text(self.record)
            async with filling(path, overwrite) as file:
                await file.write(text)
            return file.path

    async def _pieces(self, max_bytes: int | None) -> AsyncGenerator[bytes, None]:
        with self._told():
            if self.url is None:
                yield _text(self.record)
                return
            async with self._downloader.stream(self.url, self.size, max_bytes) as chunks:
                yield b""  # its server has begun to answer
                async for chunk in chunks:
                    yield chunk

    @contextmanager
    def _told(self) -> Generator[None, None, None]:
        """Every error tells which task the output is of."""
        try:
            yield
        except WiroError as error:
            error.with_task(self._ref.task_id, self._ref.token)
            raise

    async def _target(self, to: str | os.PathLike[str]) -> Path:
        text = os.fspath(to)
        path = Path(text)
        if text.endswith(("/", os.sep)) or await anyio.Path(path).is_dir():
            return path / safe_name(self.name)
        return path


def _text(record: OutputRecord) -> bytes:
    snapshot = TextSnapshot.from_wire(record.content)
    if snapshot is None:
        raise DownloadError(f"output {record.name!r} has neither a URL nor text")
    return snapshot.answer.encode(errors="replace")
