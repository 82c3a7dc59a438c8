"""Write a file that appears under its name only when it is complete and on disk.

Nobody may find half a file under its final name, whether the writer fails, is cancelled twice, or its process dies. So
the bytes go into a hidden temporary file in the same directory. It gets its name in one step after everything is
flushed to the disk; every other way out deletes it.

Disk operations block, so they run in threads, one write at a time while the next bytes are collected. Cancelling the
caller does not stop a thread. A thread may therefore come late, and `PartialFile` is built for that: its lock lets one
thread in at a time, and after `discard` every method does nothing.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Lock
from uuid import uuid4

import anyio

from wiro_async._protocol.files.filenames import numbered
from wiro_async._transport import threads

BUFFER = 1024 * 1024
MAX_CHUNKS = 1024  # in the buffer, however small they are
MAX_NAME_SHOWN = 30  # characters of the name in the temporary one; each takes four bytes at most


class AtomicFile:
    """A file that is being written."""

    def __init__(self, path: Path, part: PartialFile) -> None:
        self.path = path  # final once `atomic_file` has ended: until then another file may take the name
        self._part = part
        self._chunks: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Future[None] | None = None

    async def write(self, chunk: bytes) -> None:
        """Append some bytes. An error of the disk is raised here or later, but before the file gets its name."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size >= BUFFER or len(self._chunks) >= MAX_CHUNKS:
            await self._flush()

    async def restart(self) -> None:
        self._chunks, self._size = [], 0
        await self._written()
        await threads.run(self._part.clear)

    async def publish(self, overwrite: bool) -> None:
        """Write everything to the disk, then give the file its name."""
        await self._flush()
        await self._written()
        await threads.run(self._part.sync)
        self.path = await threads.run(self._part.publish, overwrite)

    async def _flush(self) -> None:
        await self._written()
        chunks, self._chunks, self._size = self._chunks, [], 0
        self._writing = threads.start(partial(self._part.write, chunks))

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await asyncio.shield(writing)


@asynccontextmanager
async def atomic_file(path: Path, overwrite: bool) -> AsyncGenerator[AtomicFile, None]:
    """Write a file that gets its name if the block ends without an error; otherwise nothing is left of it.

    Args:
        path: its directories are made as needed.
        overwrite: replace a file of that name; otherwise a number is added to the name.
    """
    part = PartialFile(path)
    file = AtomicFile(path, part)
    try:
        await threads.run(part.open)
        yield file
        await file.publish(overwrite)
    finally:
        # The thread is started before anything is awaited: a second cancellation may arrive at any moment.
        discarding = threads.start(part.discard)
        with anyio.CancelScope(shield=True):
            await asyncio.shield(discarding)


class PartialFile:
    """The file under its temporary name. Every method is called in a thread, and does nothing after `discard`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name[:MAX_NAME_SHOWN]}.{uuid4().hex[:12]}.part")
        self._lock = Lock()
        self._descriptor: int | None = None
        self._is_discarded = False

    def open(self) -> None:
        """Create it, and its directories."""
        with self._lock:
            if not self._is_discarded:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
                self._descriptor = os.open(self._temporary, flags, 0o666)

    def write(self, chunks: list[bytes]) -> None:
        def write(descriptor: int) -> None:
            rest = memoryview(b"".join(chunks))
            while rest:
                rest = rest[os.write(descriptor, rest) :]

        self._with_descriptor(write)

    def clear(self) -> None:
        def clear(descriptor: int) -> None:
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)

        self._with_descriptor(clear)

    def sync(self) -> None:
        """Flush it to the disk, and close it: some systems do not rename an open file."""
        self._with_descriptor(os.fsync)
        with self._lock:
            self._close()

    def publish(self, overwrite: bool) -> Path:
        """Give it its name, or a numbered one if that is taken and must stay. Return its path."""
        with self._lock:
            if self._is_discarded:
                return self._path
            path = _renamed(self._temporary, self._path, overwrite)
        with suppress(OSError):  # the name is to survive a power failure as well, where the system can flush a folder
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return path

    def discard(self) -> None:
        """Delete it, unless it has its name already."""
        with self._lock:
            self._is_discarded = True
            self._close()
            self._temporary.unlink(missing_ok=True)

    def _with_descriptor(self, work: Callable[[int], None]) -> None:
        with self._lock:
            if self._descriptor is not None:
                work(self._descriptor)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _renamed(temporary: Path, path: Path, overwrite: bool) -> Path:
    if overwrite:
        os.replace(temporary, path)
        return path
    candidate = path
    while True:
        try:
            os.link(temporary, candidate)  # unlike a rename, a link never replaces a file that has just appeared
        except FileExistsError:
            candidate = _free_path(path)
            continue
        except OSError:  # a file system without links
            if candidate.exists():
                candidate = _free_path(path)
                continue
            os.replace(temporary, candidate)
        return candidate


def _free_path(path: Path) -> Path:
    """Add a number that no file has: the lowest one, if none is missing in between.

    A folder may hold many thousands of them, so the number is searched for by doubling and bisecting.
    """

    def with_number(number: int) -> Path:
        return path.with_name(numbered(path.name, number))

    last = 2
    while os.path.lexists(with_number(last)):
        last *= 2
    numbers = range(last // 2 + 1, last)
    place = bisect(numbers, False, key=lambda number: not os.path.lexists(with_number(number)))
    return with_number(numbers.start + place)
