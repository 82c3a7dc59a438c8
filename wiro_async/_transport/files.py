"""Files of this machine, read and written in threads."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import IO
from uuid import uuid4

import anyio
import anyio.to_thread
import attrs

from wiro_async._errors import InvalidInputError
from wiro_async._types import File

CHUNK = 1024 * 1024


def content_type_of(file: File) -> str:
    """The file's media type, guessed from its name if not given."""
    return file.content_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"


async def size_of(file: File) -> int | None:
    """How many bytes will be sent; None for an async iterable. Raises the usual OSErrors for a path."""
    data = file.data
    if isinstance(data, bytes):
        return len(data)
    if isinstance(data, os.PathLike):
        return (await anyio.Path(data).stat()).st_size
    return None if isinstance(data, AsyncIterable) else await anyio.to_thread.run_sync(_rest, data)


async def chunks_of(file: File) -> AsyncIterator[bytes]:
    """The file's bytes. An open file is read from its present position and put back there afterwards."""
    data = file.data
    if isinstance(data, bytes):
        yield data
    elif isinstance(data, os.PathLike):
        async with await anyio.open_file(data, "rb") as opened:
            while chunk := await opened.read(CHUNK):
                yield chunk
    elif isinstance(data, AsyncIterable):
        async for chunk in data:
            yield chunk
    else:
        async for chunk in _chunks_of_open(data, file.name):
            yield chunk


@attrs.define
class Filling:
    """A file being written under a temporary name.

    Attributes:
        path: the name it will have; told for certain once it is whole.
    """

    path: Path
    _file: anyio.AsyncFile[bytes]

    async def write(self, chunk: bytes) -> None:
        """Append some bytes."""
        await self._file.write(chunk)


@asynccontextmanager
async def filling(path: Path, overwrite: bool) -> AsyncIterator[Filling]:
    """A file that takes its name only when all went well; if not, nothing is left of it.

    Args:
        overwrite: replace a file of that name; otherwise a number is added to the name.
    """
    await anyio.Path(path.parent).mkdir(parents=True, exist_ok=True)
    descriptor, temporary = await anyio.to_thread.run_sync(_temporary, path)
    try:
        async with await anyio.open_file(descriptor, "wb") as file:
            target = Filling(path, file)
            yield target
            await file.flush()
            await anyio.to_thread.run_sync(os.fsync, descriptor)
        target.path = await anyio.to_thread.run_sync(_publish, temporary, path, overwrite)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.Path(temporary).unlink(missing_ok=True)


async def _chunks_of_open(data: IO[bytes], name: str) -> AsyncIterator[bytes]:
    start = await anyio.to_thread.run_sync(_position, data)
    while chunk := await anyio.to_thread.run_sync(data.read, CHUNK):
        if not isinstance(chunk, bytes):
            raise InvalidInputError(message=f"file {name!r} is open in text mode; open it with 'rb'")
        yield chunk
    if start is not None:
        await anyio.to_thread.run_sync(data.seek, start)


def _position(data: IO[bytes]) -> int | None:
    return data.tell() if data.seekable() else None


def _rest(data: IO[bytes]) -> int | None:
    start = _position(data)
    if start is None:
        return None
    end = data.seek(0, os.SEEK_END)
    data.seek(start)
    return end - start


def _temporary(path: Path) -> tuple[int, Path]:
    temporary = path.with_name(f".{path.name[:40]}.{uuid4().hex[:12]}.part")
    return os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666), temporary


def _publish(temporary: Path, path: Path, overwrite: bool) -> Path:
    if overwrite:
        os.replace(temporary, path)
        return path
    for number in count(1):
        candidate = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            os.link(temporary, candidate)  # unlike a rename, this never replaces a file
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            if candidate.exists():
                continue
            os.replace(temporary, candidate)
        return candidate
    raise AssertionError("there is always another number")
