"""Files of this machine that are to be sent, read in threads while the last piece of them is on its way."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from threading import Lock
from typing import IO, TypeVar

import anyio
import anyio.to_thread

from wiro_async._errors import InvalidInputError
from wiro_async._types import File

T = TypeVar("T")
CHUNK = 1024 * 1024
READING = Lock()  # reading an open file moves its position and puts it back; nobody else may read it meanwhile

# Types that the service takes and that machines without lists of their own, such as containers, do not know.
TYPES = {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".heic": "image/heic",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".wav": "audio/wav",
    ".webp": "image/webp",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def content_type_of(file: File) -> str:
    """The file's media type, guessed from its name if not given. Call it in a thread."""
    if file.content_type:
        return file.content_type
    suffix = Path(file.name).suffix.lower()
    guess, coding = mimetypes.guess_type(f"file{suffix}")
    return TYPES.get(suffix) or (not coding and guess) or "application/octet-stream"


async def size_of(file: File) -> int | None:
    """How many bytes will be sent; None where that shows only on the way.

    Raises:
        OSError: as usual for a path that cannot be read.
        InvalidInputError: an open file is closed, or open in text mode.
    """
    data = file.data
    if isinstance(data, bytes):
        return len(data)
    if isinstance(data, AsyncIterable):
        return None
    if isinstance(data, os.PathLike):
        return await anyio.to_thread.run_sync(_size, Path(data))
    return await anyio.to_thread.run_sync(_rest, data, file.name)


async def chunks_of(file: File, size: int | None = None) -> AsyncGenerator[bytes, None]:
    """The file's bytes. An open file is read from its present position, where it also stays.

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
    source = _PathSource(Path(data)) if isinstance(data, os.PathLike) else _OpenSource(data)
    ahead = _in_thread(source.read)
    try:
        while piece := await asyncio.shield(ahead):
            ahead = _in_thread(source.read)
            yield piece
    finally:
        closing = _in_thread(source.close)  # begun before anything is awaited: a second cancellation may come any time
        with anyio.CancelScope(shield=True):
            await asyncio.wait([closing])


def _in_thread(act: Callable[[], T]) -> asyncio.Future[T]:
    future = asyncio.get_running_loop().run_in_executor(None, act)
    future.add_done_callback(_heed)
    return future


def _heed(future: asyncio.Future[T]) -> None:
    """An error that comes when nobody reads any more is no news."""
    if not future.cancelled():
        future.exception()


class _PathSource:
    """A file that is opened when it is first read. Its methods are called in threads; nothing is read after `close`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._lock = Lock()
        self._is_over = False

    def read(self) -> bytes:
        with self._lock:
            if self._is_over:
                return b""
            if self._file is None:
                self._file = self._path.open("rb", buffering=0)
            return self._file.read(CHUNK)

    def close(self) -> None:
        with self._lock:
            self._is_over = True
            if self._file is not None:
                self._file.close()


class _OpenSource:
    """A file that the user has opened. Between two reads its position is where it was, so that the file can be sent
    again, and several times at once."""

    def __init__(self, data: IO[bytes]) -> None:
        self._data = data
        self._next: int | None = None
        self._is_over = False

    def read(self) -> bytes:
        with READING:
            if self._is_over:
                return b""
            start = _position(self._data)
            if start is None:
                return self._data.read(CHUNK)
            try:
                self._data.seek(start if self._next is None else self._next)
                piece = self._data.read(CHUNK)
                self._next = self._data.tell()
            finally:
                self._data.seek(start)
            return piece

    def close(self) -> None:
        """Read no more: the file itself is the user's to close."""
        with READING:
            self._is_over = True


def _size(path: Path) -> int | None:
    told = path.stat()
    if stat.S_ISDIR(told.st_mode):
        raise IsADirectoryError(f"{str(path)!r} is a directory; give a file")
    if not stat.S_ISREG(told.st_mode):
        return None
    with path.open("rb"):  # whether it may be read is to be known before anything is sent
        return told.st_size


def _position(data: IO[bytes]) -> int | None:
    seekable = getattr(data, "seekable", None)
    return data.tell() if seekable is not None and seekable() else None


def _rest(data: IO[bytes], name: str) -> int | None:
    try:
        with READING:
            is_text = isinstance(data.read(0), str)
            start = _position(data)
            end = None if start is None or is_text else data.seek(0, os.SEEK_END)
            if start is not None and end is not None:
                data.seek(start)
    except ValueError as error:
        raise InvalidInputError(message=f"file {name!r} cannot be read: {error}") from error
    if is_text:
        raise InvalidInputError(message=f"file {name!r} is open in text mode; open it with 'rb'")
    return None if start is None or end is None else max(0, end - start)
