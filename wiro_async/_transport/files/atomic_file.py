"""Files of this machine that are being written: under a temporary name until they are whole, and in threads."""

from __future__ import annotations

import asyncio
import os
from bisect import bisect
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Lock
from uuid import uuid4

import anyio
import anyio.to_thread

from wiro_async._protocol.files.filenames import numbered

BUFFER = 1024 * 1024
MAX_PIECES = 1024  # however small they are
NAME_SHOWN = 30  # characters of the name that the temporary one shows; of four bytes each at most


class Filling:
    """A file being written under a temporary name.

    Attributes:
        path: the name it will have; told for certain once it is whole.
    """

    def __init__(self, path: Path, part: _Part) -> None:
        self.path = path
        self._part = part
        self._waiting: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Future[None] | None = None

    async def write(self, chunk: bytes) -> None:
        """Append some bytes. An error in writing them shows here or later, but before the file is given its name."""
        self._waiting.append(chunk)
        self._size += len(chunk)
        if self._size >= BUFFER or len(self._waiting) >= MAX_PIECES:
            await self._flush()

    async def restart(self) -> None:
        """Throw away what was written."""
        self._waiting, self._size = [], 0
        await self._settled()
        await anyio.to_thread.run_sync(self._part.clear)

    async def finish(self) -> None:
        """Bring everything to the disk."""
        await self._flush()
        await self._settled()
        await anyio.to_thread.run_sync(self._part.finish)

    async def _flush(self) -> None:
        await self._settled()
        chunks, self._waiting, self._size = self._waiting, [], 0
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._part.write, chunks)
        self._writing.add_done_callback(_heed)

    async def _settled(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await asyncio.shield(writing)


@asynccontextmanager
async def filling(path: Path, overwrite: bool) -> AsyncGenerator[Filling, None]:
    """A file that takes its name only when all went well; if not, nothing is left of it.

    Args:
        overwrite: replace a file of that name; otherwise a number is added to the name.
    """
    part = _Part(path)
    target = Filling(path, part)
    try:
        await anyio.to_thread.run_sync(part.open)
        yield target
        await target.finish()
        target.path = await anyio.to_thread.run_sync(part.publish, overwrite)
    finally:  # begun before anything is awaited: a second cancellation may come any time
        discarding = asyncio.get_running_loop().run_in_executor(None, part.discard)
        discarding.add_done_callback(_heed)
        with anyio.CancelScope(shield=True):
            await asyncio.shield(discarding)


class _Part:
    """The file under its temporary name. Every method is called in a thread, and none while another one works."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name[:NAME_SHOWN]}.{uuid4().hex[:12]}.part")
        self._lock = Lock()
        self._descriptor: int | None = None
        self._is_over = False

    def open(self) -> None:
        with self._lock:
            if not self._is_over:  # or whoever wanted it has gone already
                self._path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
                self._descriptor = os.open(self._temporary, flags, 0o666)

    def write(self, chunks: list[bytes]) -> None:
        self._with_descriptor(lambda descriptor: _write_all(descriptor, b"".join(chunks)))

    def clear(self) -> None:
        def clear(descriptor: int) -> None:
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)

        self._with_descriptor(clear)

    def finish(self) -> None:
        self._with_descriptor(os.fsync)
        with self._lock:
            self._close()

    def publish(self, overwrite: bool) -> Path:
        with self._lock:
            if self._is_over:
                return self._path
            path = _named(self._temporary, self._path, overwrite)
        _sync_folder(path.parent)
        return path

    def discard(self) -> None:
        with self._lock:
            self._is_over = True
            self._close()
            self._temporary.unlink(missing_ok=True)

    def _with_descriptor(self, act: Callable[[int], None]) -> None:
        with self._lock:
            if self._descriptor is not None:
                act(self._descriptor)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _heed(writing: asyncio.Future[None]) -> None:
    """An error of a file that is given up is no news."""
    if not writing.cancelled():
        writing.exception()


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _named(temporary: Path, path: Path, overwrite: bool) -> Path:
    if overwrite:
        os.replace(temporary, path)
        return path
    candidate = path
    while True:
        try:
            os.link(temporary, candidate)  # unlike a rename, this never replaces a file
        except FileExistsError:
            candidate = _free(path)
            continue
        except OSError:  # a file system without links
            if candidate.exists():
                candidate = _free(path)
                continue
            os.replace(temporary, candidate)
        return candidate


def _free(path: Path) -> Path:
    """The path with a number that no file has: the least, if none is missing in between. It looks at few."""
    last = 2
    while os.path.lexists(_with_number(path, last)):
        last *= 2
    numbers = range(last // 2 + 1, last)
    place = bisect(numbers, False, key=lambda number: not os.path.lexists(_with_number(path, number)))
    return _with_number(path, numbers.start + place)


def _with_number(path: Path, number: int) -> Path:
    return path.with_name(numbered(path.name, number))


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk, too, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
