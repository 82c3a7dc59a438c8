"""Read the files of an upload piece by piece, in threads.

Reading and closing happen in different threads: an upload may be cancelled while a read is under way. Every source has
a lock, so `close` normally waits for the read. A pipe is the exception: its read may block indefinitely, so `close`
does not wait, and the read closes the file itself when it comes back.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import IO
from weakref import WeakValueDictionary

from wiro_async._errors import InvalidInputError

_locks: WeakValueDictionary[int, Lock] = WeakValueDictionary()
_locks_lock = Lock()


def lock_of(data: object) -> Lock:
    """The lock of an open file, by its identity: one file may be sent by many runs at the same time.

    A read moves the position and puts it back, so nobody else may read meanwhile.
    """
    with _locks_lock:
        lock = _locks.get(id(data))
        if lock is None:
            lock = _locks[id(data)] = Lock()
        return lock


def is_seekable(data: object) -> bool:
    """Whether an open file can be read again."""
    seekable = getattr(data, "seekable", None)
    return seekable is not None and bool(seekable())


class PathSource:
    """A file that is opened by the first read. Call its methods in threads.

    Args:
        piece_size: the most bytes that one `read` gives.
        is_pipe: whether a `read` may block indefinitely.
    """

    def __init__(self, path: Path, piece_size: int, is_pipe: bool) -> None:
        self._path = path
        self._piece_size = piece_size
        self._is_pipe = is_pipe
        self._file: IO[bytes] | None = None
        self._lock = Lock()
        self._is_closed = False

    def read(self) -> bytes:
        """Return the next piece, b"" at the end and after `close`."""
        try:
            with self._lock:
                if self._is_closed:
                    return b""
                if self._file is None:
                    self._file = self._path.open("rb", buffering=0)
                return self._file.read(self._piece_size)
        finally:
            if self._is_closed:  # meanwhile, and perhaps without waiting for this read
                self.close()

    def close(self) -> None:
        """Close the file, or leave that to the `read` of a pipe that is under way."""
        self._is_closed = True
        if self._lock.acquire(blocking=not self._is_pipe):
            try:
                if self._file is not None:
                    self._file.close()
            finally:
                self._lock.release()


class OpenSource:
    """A file that the user has opened. Call its methods in threads.

    Between two reads its position is where it was, so that the file can be sent again, and several times at once.

    Args:
        name: the file's name in errors.
        piece_size: the most bytes that one `read` gives.
        is_pipe: whether a `read` may block indefinitely.
    """

    def __init__(self, data: IO[bytes], name: str, piece_size: int, is_pipe: bool) -> None:
        self._data = data
        self._name = name
        self._piece_size = piece_size
        self._is_pipe = is_pipe
        self._next: int | None = None
        self._lock = lock_of(data)
        self._is_closed = False

    def read(self) -> bytes:
        """Return the next piece, b"" at the end. Raises `InvalidInputError` if the file is closed or has no data."""
        with self._lock:
            if self._is_closed:
                return b""
            try:
                piece: bytes | None = self._read_piece()
            except (ValueError, OSError) as error:  # OSError if the file is closed during the call
                if not getattr(self._data, "closed", False):
                    raise
                raise InvalidInputError(message=f"file {self._name!r} was closed while it was sent") from error
        if piece is None:
            raise InvalidInputError(
                message=f"file {self._name!r} has nothing to read yet and does not wait for it; make it blocking, or "
                "give an async iterable of bytes"
            )
        return piece

    def close(self) -> None:
        """Stop reading. The file itself stays open: it is the user's."""
        self._is_closed = True
        if not self._is_pipe:
            with self._lock:  # the read that is under way still moves the position
                pass

    def _read_piece(self) -> bytes:
        if not is_seekable(self._data):
            return self._data.read(self._piece_size)
        start = self._data.tell()
        try:
            self._data.seek(start if self._next is None else self._next)
            piece = self._data.read(self._piece_size)
            self._next = self._data.tell()
        finally:
            self._data.seek(start)
        return piece
