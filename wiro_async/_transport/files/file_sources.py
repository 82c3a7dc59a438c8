"""What files are read from: each read a piece, in a thread, while others may want to close it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import IO, TypeVar
from weakref import WeakValueDictionary

from wiro_async._errors import InvalidInputError

T = TypeVar("T")
_turns: WeakValueDictionary[int, Lock] = WeakValueDictionary()
_turns_lock = Lock()


def in_thread(act: Callable[[], T]) -> asyncio.Future[T]:
    """Do something that will not take long in one of the loop's threads."""
    future = asyncio.get_running_loop().run_in_executor(None, act)
    future.add_done_callback(_heed)
    return future


def in_thread_of_its_own(act: Callable[[], T]) -> asyncio.Future[T]:
    """Do something that may take for ever, which keeps neither other work waiting nor the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(_heed)

    def run() -> None:
        try:
            settle = partial(future.set_result, act())
        except BaseException as error:
            settle = partial(future.set_exception, error)
        with suppress(RuntimeError):  # nobody is left to be told: the loop is closed
            loop.call_soon_threadsafe(settle)

    threading.Thread(target=run, name="wiro_async reader", daemon=True).start()
    return future


def turn_of(data: object) -> Lock:
    """The lock of one open file: reading moves its position and puts it back; nobody may read it meanwhile."""
    with _turns_lock:
        turn = _turns.get(id(data))
        if turn is None:
            turn = _turns[id(data)] = Lock()
        return turn


def can_go_back(data: object) -> bool:
    """Whether an open file can be read again."""
    seekable = getattr(data, "seekable", None)
    return seekable is not None and bool(seekable())


class PathSource:
    """A file that is opened when it is first read. Its methods are called in threads; nothing is read after `close`.

    Args:
        most: bytes of a piece.
        is_pipe: whether a `read` may take for ever. Then `close` does not wait for it, and it closes the file itself.
    """

    def __init__(self, path: Path, most: int, is_pipe: bool) -> None:
        self._path = path
        self._most = most
        self._is_pipe = is_pipe
        self._file: IO[bytes] | None = None
        self._turn = Lock()
        self._is_over = False

    def read(self) -> bytes:
        """The next piece; b"" at the end."""
        try:
            with self._turn:
                if self._is_over:
                    return b""
                if self._file is None:
                    self._file = self._path.open("rb", buffering=0)
                return self._file.read(self._most)
        finally:
            if self._is_over:
                self.close()

    def close(self) -> None:
        """Read no more."""
        self._is_over = True
        if self._turn.acquire(blocking=not self._is_pipe):
            try:
                if self._file is not None:
                    self._file.close()
            finally:
                self._turn.release()


class OpenSource:
    """A file that the user has opened. Between two reads its position is where it was, so that the file can be sent
    again, and several times at once. Arguments as in `PathSource`."""

    def __init__(self, data: IO[bytes], name: str, most: int, is_pipe: bool) -> None:
        self._data = data
        self._name = name
        self._most = most
        self._is_pipe = is_pipe
        self._next: int | None = None
        self._turn = turn_of(data)
        self._is_over = False

    def read(self) -> bytes:
        """The next piece; b"" at the end. Raises `InvalidInputError` if the file is closed, or has no data yet."""
        with self._turn:
            if self._is_over:
                return b""
            try:
                piece: bytes | None = self._piece()
            except (ValueError, OSError) as error:  # the latter if it happens within a call
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
        """Read no more: the file itself is the user's to close."""
        self._is_over = True
        if not self._is_pipe:
            with self._turn:
                pass

    def _piece(self) -> bytes:
        if not can_go_back(self._data):
            return self._data.read(self._most)
        start = self._data.tell()
        try:
            self._data.seek(start if self._next is None else self._next)
            piece = self._data.read(self._most)
            self._next = self._data.tell()
        finally:
            self._data.seek(start)
        return piece


def _heed(future: asyncio.Future[T]) -> None:
    """An error that comes when nobody reads any more is no news."""
    if not future.cancelled():
        future.exception()
