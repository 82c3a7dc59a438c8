"""Files of this machine that are to be sent, read in threads while the last piece of them is on its way."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable
from contextlib import aclosing
from pathlib import Path
from typing import IO

import anyio
import anyio.to_thread

from wiro_async._errors import InvalidInputError
from wiro_async._transport.files.file_sources import (
    OpenSource,
    PathSource,
    can_go_back,
    in_thread,
    in_thread_of_its_own,
    turn_of,
)
from wiro_async._types import File

CHUNK = 1024 * 1024

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
        InvalidInputError: an open file is closed, or open in text mode; or its data was read and cannot be again.
    """
    data = file.data
    if file.is_consumed:
        raise sent_before(file)
    if isinstance(data, bytes):
        return len(data)
    if isinstance(data, AsyncIterable):
        return None
    if isinstance(data, os.PathLike):
        return await anyio.to_thread.run_sync(_size, Path(data))
    return await anyio.to_thread.run_sync(_rest, data, file.name)


async def reads_once(file: File, size: int | None) -> bool:
    """Whether reading it uses it up, given what it was measured to have: an async iterable, a pipe."""
    data = file.data
    if size is not None or isinstance(data, bytes):
        return False
    if isinstance(data, os.PathLike):
        return not await anyio.Path(data).is_file()
    return isinstance(data, AsyncIterable) or not can_go_back(data)


def sent_before(file: File) -> InvalidInputError:
    """The error for a source that cannot be read again."""
    kind = "path" if isinstance(file.data, os.PathLike) else type(file.data).__name__
    return InvalidInputError(
        message=f"file {file.name!r} is a {kind} that can be sent only once, and was; give a new one, or bytes, a "
        "regular file or an uploaded file's URL, which can be sent again"
    )


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
    async with aclosing(_pieces(file, size)) as pieces:
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


async def _pieces(file: File, size: int | None) -> AsyncGenerator[bytes, None]:
    data = file.data
    if isinstance(data, bytes):
        for start in range(0, len(data), CHUNK):
            yield data[start : start + CHUNK]
        return
    source = _of_iterable(data) if isinstance(data, AsyncIterable) else _of_file(file, await reads_once(file, size))
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


async def _of_file(file: File, is_pipe: bool) -> AsyncGenerator[bytes, None]:
    """A pipe may keep its reader waiting for ever, so nobody here waits for that reader."""
    run = in_thread_of_its_own if is_pipe else in_thread
    source = _source(file, is_pipe)
    ahead = run(source.read)
    try:
        while piece := await asyncio.shield(ahead):
            ahead = run(source.read)
            yield piece
    finally:
        closing = run(source.close)  # begun before anything is awaited: a second cancellation may come any time
        with anyio.CancelScope(shield=True):
            await asyncio.wait([closing])


def _source(file: File, is_pipe: bool) -> PathSource | OpenSource:
    data = file.data
    if isinstance(data, os.PathLike):
        return PathSource(Path(data), CHUNK, is_pipe)
    assert not isinstance(data, (bytes, AsyncIterable))
    return OpenSource(data, file.name, CHUNK, is_pipe)


def _size(path: Path) -> int | None:
    told = path.stat()
    if stat.S_ISDIR(told.st_mode):
        raise IsADirectoryError(f"{str(path)!r} is a directory; give a file")
    if not stat.S_ISREG(told.st_mode):
        return None
    with path.open("rb") as opened:  # whether it may be read is to be known before anything is sent
        if not told.st_size and opened.read(1):  # files of the system, such as /proc/cpuinfo, do not tell
            return None
        return told.st_size


def _rest(data: IO[bytes], name: str) -> int | None:
    try:
        with turn_of(data):
            is_text = isinstance(data.read(0), str)
            start = data.tell() if can_go_back(data) else None
            end = None if start is None or is_text else data.seek(0, os.SEEK_END)
            if start is not None and end is not None:
                data.seek(start)
    except ValueError as error:
        raise InvalidInputError(message=f"file {name!r} cannot be read: {error}") from error
    if is_text:
        raise InvalidInputError(message=f"file {name!r} is open in text mode; open it with 'rb'")
    return None if start is None or end is None else max(0, end - start)
