"""The outputs of a run: files to download, or text that came with the result."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path

from wiro_async._api.results.byte_stream import ByteStream
from wiro_async._engine.downloads.downloader import Downloader
from wiro_async._errors import DownloadError, WiroError
from wiro_async._protocol.files.file_urls import name_in
from wiro_async._protocol.files.filenames import safe_name
from wiro_async._protocol.messages.text_snapshot import TextSnapshot
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._public import public
from wiro_async._records.task_info import OutputRecord
from wiro_async._transport import threads
from wiro_async._transport.files.atomic_file import atomic_file

READ_CAP = 256 * 1024 * 1024


@public
class Output:
    """One output of a run: a file that the service keeps, or the text of an LLM.

    Attributes:
        record: what the task says about it.
    """

    def __init__(self, record: OutputRecord, downloader: Downloader, ref: TaskRef | None = None) -> None:
        self.record = record
        self._downloader = downloader
        self._ref = ref or TaskRef()

    def __repr__(self) -> str:
        return f"Output(name={self.name!r}, content_type={self.content_type!r}, size={self.size})"

    @property
    def url(self) -> str | None:
        """The file's URL, which everybody who knows it can read; None for text."""
        return self.record.url

    @property
    def name(self) -> str:
        """The file name that the service gave it."""
        return self.record.name or ("output" if self.url else "answer.txt")

    @property
    def content_type(self) -> str:
        """The media type, such as "image/png"; "raw" for text."""
        return self.record.content_type

    @property
    def size(self) -> int | None:
        """The size in bytes, if known."""
        return self.record.size

    async def read(self, *, max_bytes: int = READ_CAP) -> bytes:
        """Read all of it into memory. Cancelling drops the connection.

        Args:
            max_bytes: the most bytes that it may have; 256 MiB by default.

        Raises:
            DownloadError: it has more, or could not be fetched whole.
        """
        with self._naming_the_task():
            if self.url is None:
                return _text(self.record)
            return await self._downloader.read(self.url, self.size, max_bytes)

    def stream(self, *, max_bytes: int | None = None) -> ByteStream:
        """Read it as it arrives: `async with output.stream() as chunks: async for chunk in chunks: …`.

        On entering, the server has begun to respond. Leaving or cancelling drops the connection. `ByteStream` says
        what a plain `async for chunk in output.stream()` does. Any number of streams may be open at a time. A slow
        reader holds up neither other streams nor files that are being saved.

        Args:
            max_bytes: the most bytes that it may have; by default only the session's limit counts.

        Raises:
            DownloadError: it could not be fetched whole; on entering, or while iterating.
        """
        return ByteStream(self._chunks(max_bytes))

    async def save(self, to: str | os.PathLike[str], *, overwrite: bool = False, max_bytes: int | None = None) -> Path:
        """Save it and return its path. The file appears under its name only when it is complete and on disk.

        A transfer that breaks off is resumed if the server can do that; else it starts over. A file that is not there
        yet is waited for, up to 3 minutes. Cancelling leaves nothing behind.

        Args:
            to: a path, or a directory (one that exists, or ends with a slash). In a directory the file gets its own
                name, made safe. Directories are made as needed.
            overwrite: replace a file of that name; otherwise a number is added to the name.
            max_bytes: the most bytes that it may have; by default only the session's limit counts.

        Raises:
            DownloadError: it could not be fetched whole.
            OSError: it could not be written.
        """
        text = os.fspath(to)
        path = Path(text)
        if text.endswith(("/", os.sep)) or await threads.run(path.is_dir):
            path /= safe_name(self.name)
        return await self.save_as(path, overwrite=overwrite, max_bytes=max_bytes)

    async def save_as(self, path: Path, *, overwrite: bool, max_bytes: int | None) -> Path:
        """Save it under a path, which is never taken for a directory. Otherwise as `save`."""
        with self._naming_the_task():
            if self.url is not None:
                return await self._downloader.save(self.url, path, self.size, max_bytes, overwrite=overwrite)
            text = _text(self.record)
            async with atomic_file(path, overwrite) as file:
                await file.write(text)
            return file.path

    async def _chunks(self, max_bytes: int | None) -> AsyncGenerator[bytes, None]:
        with self._naming_the_task():
            if self.url is None:
                yield _text(self.record)
                return
            async with self._downloader.stream(self.url, self.size, max_bytes) as chunks:
                yield b""  # the server has begun to respond: entering the stream waits for this
                async for chunk in chunks:
                    yield chunk

    @contextmanager
    def _naming_the_task(self) -> Generator[None, None, None]:
        try:
            yield
        except WiroError as error:
            error.with_task(self._ref.task_id, self._ref.token)
            raise


def output_at(url: str, downloader: Downloader) -> Output:
    """The file at a URL, of which nothing else is known."""
    return Output(OutputRecord(url, name_in(url), "", None, {}, {}), downloader)


def _text(record: OutputRecord) -> bytes:
    snapshot = TextSnapshot.from_wire(record.content)
    if snapshot is None:
        raise DownloadError(
            f"output {record.name!r} has neither a URL nor text; its record says what the service gave instead"
        )
    return snapshot.answer.encode(errors="replace")
