"""Measure the files of an upload and read them, one piece ahead of what is being sent.

Disks block, so reading happens in threads. While one piece is on its way, the next one is read: the connection does
not wait for the disk, and two pieces are all the memory that an upload of any size takes.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable
from contextlib import aclosing
from pathlib import Path
from typing import IO

import anyio

from wiro_async._errors import InvalidInputError
from wiro_async._transport import threads
from wiro_async._transport.files.upload_sources import OpenSource, PathSource, is_seekable, lock_of
from wiro_async._transport.user_code import uncancelled
from wiro_async._types import File

PIECE_SIZE = 1024 * 1024


async def size_of(file: File) -> int | None:
    """Return how many bytes will be sent; None if that is known only after reading.

    Raises:
        OSError: as usual for a path that cannot be read.
        InvalidInputError: an open file is closed, or open in text mode; or its data was read and cannot be read again.
    """
    data = file.data
    if file.is_consumed:
        raise already_sent(file)
    if isinstance(data, bytes):
        return len(data)
    if isinstance(data, AsyncIterable):
        return None
    if isinstance(data, os.PathLike):
        return await threads.run(_size_of_path, Path(data))
    return await threads.run(_size_of_open_file, data, file.name)


async def is_single_use(file: File, size: int | None) -> bool:
    """Whether reading the file consumes it, given what `size_of` returned: an async iterable, a pipe."""
    data = file.data
    if size is not None or isinstance(data, bytes):
        return False
    if isinstance(data, os.PathLike):
        return not await threads.run(Path(data).is_file)
    return isinstance(data, AsyncIterable) or not is_seekable(data)


def already_sent(file: File) -> InvalidInputError:
    """The error for a file that was consumed."""
    kind = "path" if isinstance(file.data, os.PathLike) else type(file.data).__name__
    return InvalidInputError(
        message=f"file {file.name!r} is a {kind} that can be sent only once, and was; give a new one, or bytes, a "
        "regular file or an uploaded file's URL, which can be sent again"
    )


async def chunks_of(file: File, size: int | None = None) -> AsyncGenerator[bytes, None]:
    """Yield the file's bytes. An open file is read from its present position, where it also stays.

    Args:
        size: what `size_of` returned. Of a file that has grown since then, only so many bytes are sent.

    Raises:
        InvalidInputError: it became shorter, or gives text instead of bytes.
    """
    sent = 0
    if size == 0:
        return
    async with aclosing(_pieces_of(file, size)) as pieces:
        async for piece in pieces:
            if not isinstance(piece, (bytes, bytearray, memoryview)):
                raise InvalidInputError(
                    message=f"file {file.name!r} gave a {type(piece).__name__} instead of bytes; open it with 'rb'"
                )
            if not piece:  # an empty chunk would end a body of unknown length
                continue
            chunk = bytes(piece) if size is None else bytes(piece[: size - sent])
            sent += len(chunk)
            yield chunk
            if file.on_progress is not None:
                with uncancelled(f"on_progress of file {file.name!r}"):
                    awaitable = file.on_progress(sent, size)
                    if isinstance(awaitable, Awaitable):
                        await awaitable
            if sent == size:
                return
    if size is not None and sent != size:
        raise InvalidInputError(message=f"file {file.name!r} lost {size - sent} of its {size} bytes while it was sent")


async def _pieces_of(file: File, size: int | None) -> AsyncGenerator[bytes, None]:
    data = file.data
    if isinstance(data, bytes):
        for start in range(0, len(data), PIECE_SIZE):
            yield data[start : start + PIECE_SIZE]
    elif isinstance(data, AsyncIterable):
        try:
            source = aiter(data)
            while True:
                with uncancelled(f"the data of file {file.name!r}"):
                    try:
                        piece = await anext(source)
                    except StopAsyncIteration:
                        return
                yield piece
        finally:
            if isinstance(data, AsyncGenerator):
                await data.aclose()
    else:
        is_pipe = await is_single_use(file, size)
        reader: PathSource | OpenSource
        if isinstance(data, os.PathLike):
            reader = PathSource(Path(data), PIECE_SIZE, is_pipe)
        else:
            reader = OpenSource(data, file.name, PIECE_SIZE, is_pipe)
        async with aclosing(_read_ahead(reader, is_pipe)) as pieces:
            async for piece in pieces:
                yield piece


async def _read_ahead(source: PathSource | OpenSource, is_pipe: bool) -> AsyncGenerator[bytes, None]:
    # A pipe may block its reader indefinitely, so it gets a thread of its own, and closing does not wait for the read.
    kind: threads.Kind = "pipes" if is_pipe else "files"
    ahead = threads.start(source.read, kind)
    try:
        while piece := await asyncio.shield(ahead):
            ahead = threads.start(source.read, kind)
            yield piece
    finally:
        if is_pipe:
            ahead.cancel()
        # The thread is started before anything is awaited: a second cancellation may arrive at any moment.
        closing = threads.start(source.close, kind)
        with anyio.CancelScope(shield=True):
            await asyncio.wait([closing])


def _size_of_path(path: Path) -> int | None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{str(path)!r} is a directory; give a file")
    if not stat.S_ISREG(status.st_mode):
        return None
    with path.open("rb") as opened:  # a file that cannot be read is to fail before anything is sent
        if not status.st_size and opened.read(1):  # files of the system, such as /proc/cpuinfo, say that they are empty
            return None
        return status.st_size


def _size_of_open_file(data: IO[bytes], name: str) -> int | None:
    try:
        with lock_of(data):
            is_text = isinstance(data.read(0), str)
            start = data.tell() if is_seekable(data) else None
            end = None if start is None or is_text else data.seek(0, os.SEEK_END)
            if start is not None and end is not None:
                data.seek(start)
    except ValueError as error:
        raise InvalidInputError(message=f"file {name!r} cannot be read: {error}") from error
    if is_text:
        raise InvalidInputError(message=f"file {name!r} is open in text mode; open it with 'rb'")
    return None if start is None or end is None else max(0, end - start)
