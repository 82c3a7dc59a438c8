"""Files of this machine that are to be sent, read in threads while the last piece of them is on its way."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import IO

import anyio
import anyio.to_thread

from wiro_async._errors import InvalidInputError
from wiro_async._types import File

CHUNK = 1024 * 1024


def content_type_of(file: File) -> str:
    """The file's media type, guessed from its name if not given."""
    return file.content_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"


async def size_of(file: File) -> int | None:
    """How many bytes will be sent; None where that shows only on the way. Raises the usual OSErrors for a path."""
    data = file.data
    if isinstance(data, bytes):
        return len(data)
    if isinstance(data, AsyncIterable):
        return None
    if isinstance(data, os.PathLike):
        return await anyio.to_thread.run_sync(_size, Path(data))
    return await anyio.to_thread.run_sync(_rest, data)


async def chunks_of(file: File, size: int | None = None) -> AsyncGenerator[bytes, None]:
    """The file's bytes. An open file is read from its present position and put back there afterwards.

    Args:
        size: what it was measured to have. A file that has grown since then is sent as far as it was there.

    Raises:
        InvalidInputError: it became shorter, or gives text instead of bytes.
    """
    sent = 0
    if size == 0:
        return
    async with aclosing(_pieces(file)) as pieces:
        async for piece in pieces:
            piece = piece if size is None else piece[: size - sent]
            sent += len(piece)
            yield piece
            await _report(file, sent, size)
            if sent == size:
                return
    if size is not None and sent != size:
        raise InvalidInputError(message=f"file {file.name!r} lost {size - sent} of its {size} bytes while it was sent")


async def _report(file: File, sent: int, size: int | None) -> None:
    if file.on_progress is not None:
        answer = file.on_progress(sent, size)
        if isinstance(answer, Awaitable):
            await answer


async def _pieces(file: File) -> AsyncGenerator[bytes, None]:
    data = file.data
    if isinstance(data, bytes):
        for start in range(0, len(data), CHUNK):
            yield data[start : start + CHUNK]
        return
    source = _of_iterable(data) if isinstance(data, AsyncIterable) else _of_file(data)
    async with aclosing(source) as pieces:
        async for piece in pieces:
            if not isinstance(piece, (bytes, bytearray, memoryview)):
                raise InvalidInputError(
                    message=f"file {file.name!r} gave a {type(piece).__name__} instead of bytes; open it with 'rb'"
                )
            if piece:  # an empty piece would end a body that is sent in chunks
                yield bytes(piece)


async def _of_iterable(data: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in data:
            yield piece
    finally:
        if isinstance(data, AsyncGenerator):
            await data.aclose()


async def _of_file(data: os.PathLike[str] | IO[bytes]) -> AsyncGenerator[bytes, None]:
    source = _Source(data)
    await anyio.to_thread.run_sync(source.open)
    ahead = _in_thread(source.read)
    try:
        while piece := await asyncio.shield(ahead):
            ahead = _in_thread(source.read)
            yield piece
    finally:
        with anyio.CancelScope(shield=True):
            await asyncio.wait([ahead])
            await anyio.to_thread.run_sync(source.close)


def _in_thread(read: Callable[[], bytes]) -> asyncio.Future[bytes]:
    future = asyncio.get_running_loop().run_in_executor(None, read)
    future.add_done_callback(_heed)
    return future


def _heed(future: asyncio.Future[bytes]) -> None:
    """An error that comes when nobody reads any more is no news."""
    if not future.cancelled():
        future.exception()


class _Source:
    """A file being read; all of it happens in threads, one call at a time."""

    def __init__(self, data: os.PathLike[str] | IO[bytes]) -> None:
        self._data = data
        self._file: IO[bytes]
        self._start: int | None = None

    def open(self) -> None:
        if isinstance(self._data, os.PathLike):
            self._file = open(self._data, "rb", buffering=0)  # noqa: SIM115
        else:
            self._file = self._data
            self._start = _position(self._file)

    def read(self) -> bytes:
        return self._file.read(CHUNK)

    def close(self) -> None:
        if isinstance(self._data, os.PathLike):
            self._file.close()
        elif self._start is not None:
            self._file.seek(self._start)


def _size(path: Path) -> int | None:
    told = path.stat()
    if stat.S_ISDIR(told.st_mode):
        raise IsADirectoryError(f"{str(path)!r} is a directory; give a file")
    return told.st_size if stat.S_ISREG(told.st_mode) else None


def _position(data: IO[bytes]) -> int | None:
    return data.tell() if data.seekable() else None


def _rest(data: IO[bytes]) -> int | None:
    start = _position(data)
    if start is None:
        return None
    end = data.seek(0, os.SEEK_END)
    data.seek(start)
    return max(0, end - start)
