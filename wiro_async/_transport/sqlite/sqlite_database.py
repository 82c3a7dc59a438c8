"""One SQLite file that one process writes: a thread of its own, and commits that all waiting callers share.

Every commit is synced, so a write that was answered survives a power cut: a run whose intent was lost with the power
would be sent, and billed, again. Sharing makes that cheap: operations that are requested while one commit is being
synced go into the next one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import anyio
import attrs

from wiro_async._errors import JournalError
from wiro_async._transport.sqlite.sqlite_file import Connection, SqliteFile, cannot_open, cannot_use

logger = logging.getLogger("wiro_async")
T = TypeVar("T")
_lingering: WeakValueDictionary[Path, Database] = WeakValueDictionary()


@attrs.define(eq=False)
class _Call:
    """One operation on its way to the thread, and its outcome on the way back."""

    _operation: Callable[[Connection], Any]
    _future: asyncio.Future[Any] | None
    _value: Any = None
    error: Exception | None = None

    def run(self, connection: Connection) -> None:
        self._value = self._operation(connection)

    def fail(self, error: Exception) -> None:
        self.error = error

    def deliver(self) -> bool:
        """Give the outcome to the caller, in the event loop. Return whether there is a caller."""
        if self._future is not None and not self._future.done():
            if self.error is not None:
                self._future.set_exception(self.error)
            else:
                self._future.set_result(self._value)
        return self._future is not None


class Database:
    """A file open for writing. Operations run in the order in which they were requested.

    Args:
        path: the file. A new one is made for its owner only.
        prepare: checks the file, or fills a new one. Its `JournalError` says what is wrong with the file.
        busy_seconds: how long another program may lock the file before an operation fails.
    """

    def __init__(self, path: Path, prepare: Callable[[Connection], None], busy_seconds: float) -> None:
        self.path = path
        self._prepare = prepare
        self._busy_seconds = busy_seconds
        self._requested: list[_Call] = []
        self._batches: SimpleQueue[list[_Call] | None] = SimpleQueue()
        self._is_busy = False
        self._broken: JournalError | None = None
        self._loop: asyncio.AbstractEventLoop
        self._ended = anyio.Event()
        self._closing = False

    async def open(self) -> None:
        """Lock, open and check the file. Waits for a lingering writer of the same event loop. Raises `JournalError`."""
        self._loop = asyncio.get_running_loop()
        former = _lingering.get(self.path)
        if former is not None and former._loop is self._loop:
            await former._ended.wait()
        opened = self._loop.create_future()
        threading.Thread(target=self._serve, args=(opened,), name="wiro_async journal", daemon=True).start()
        error: JournalError | None = None
        try:
            with anyio.CancelScope(shield=True):
                error = await opened
        except BaseException:
            await self.aclose()
            raise
        if error is not None:
            raise error

    def put(self, operation: Callable[[Connection], object]) -> None:
        """Request a write and do not wait for it. If the file fails, every later operation fails too."""
        self._request(_Call(operation, None))

    async def do(self, operation: Callable[[Connection], T]) -> T:
        """Return the operation's value once its writes are on the disk. Cancelling does not undo them.

        What the operation itself raises is raised here. Then none of its writes stays.

        Raises:
            JournalError: the file cannot be read or written, now and later.
        """
        if self._closing:
            raise JournalError(f"the journal {self.path} is closed: its batch has ended. Start another batch with it")
        future: asyncio.Future[T] = self._loop.create_future()
        self._request(_Call(operation, future))
        return await future

    async def check(self) -> None:
        """Raise `JournalError` if the file is not the one that was opened any more."""
        await self.do(lambda connection: None)

    def linger(self) -> None:
        """Stay open although the opener has left, as something may still be written. `open` of another one waits."""
        _lingering[self.path] = self

    def close(self) -> None:
        """Close the file after everything that was requested. Does not wait for that."""
        if not self._closing:
            self._closing = True
            self._hand_over()
            self._batches.put(None)

    async def aclose(self) -> None:
        """Close the file and release the lock. Raises `JournalError` if something could not be written."""
        self.close()
        with anyio.CancelScope(shield=True):
            await self._ended.wait()
        if self._broken is not None:
            raise self._broken

    def _serve(self, opened: asyncio.Future[JournalError | None]) -> None:
        """Run in the thread, from opening the file to closing it."""
        try:
            with closing(SqliteFile(self.path, self._prepare, self._busy_seconds)) as file:
                self._call_in_loop(_answer, opened, None)
                while (calls := self._batches.get()) is not None:
                    self._commit(file, calls)
                    self._call_in_loop(self._deliver, calls)
        except JournalError as error:
            self._call_in_loop(_answer, opened, error)
        except Exception as error:
            self._call_in_loop(_answer, opened, cannot_open(self.path, error))
        finally:
            self._call_in_loop(self._ended.set)

    def _request(self, call: _Call) -> None:
        self._requested.append(call)
        if not self._is_busy:
            self._is_busy = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        # One batch at a time: calls that are requested meanwhile share the next commit, and none wakes the thread.
        self._is_busy = bool(self._requested)
        if self._requested:
            self._batches.put(self._requested)
            self._requested = []

    def _deliver(self, calls: list[_Call]) -> None:
        for call in calls:
            has_caller = call.deliver()
            if not has_caller and call.error is not None and call.error is not self._broken:
                error = call.error.with_traceback(None)  # its frames hold what the entry says
                logger.error("an entry could not be written into the journal %s", self.path, exc_info=error)
        self._loop.call_soon(self._hand_over)  # after the callers, which continue now and may request more

    def _commit(self, file: SqliteFile, calls: list[_Call]) -> None:
        """Run operations in one transaction. One that fails by itself undoes it: the others run again, without it."""
        while calls:
            current: _Call | None = None
            try:
                if self._broken is not None:
                    raise self._broken
                with file.transaction() as connection:
                    for call in calls:
                        current = call
                        call.run(connection)
                    current = None
                return
            except Exception as error:
                if current is not None and not _is_failed_file(error):
                    current.fail(error)
                    calls = [call for call in calls if call is not current]
                    continue
                # The file itself failed: nothing can be relied on any more, for these calls and for all later ones.
                self._broken = error if isinstance(error, JournalError) else cannot_use(self.path, error)
                for call in calls:
                    call.fail(self._broken)
                return

    def _call_in_loop(self, function: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the event loop is closed, so nobody waits any more
            self._loop.call_soon_threadsafe(function, *arguments)


def _answer(opened: asyncio.Future[JournalError | None], error: JournalError | None) -> None:
    if not opened.done():  # the caller may have been cancelled
        opened.set_result(error)


def _is_failed_file(error: Exception) -> bool:
    import sqlite3

    return isinstance(error, JournalError) and isinstance(error.__cause__, sqlite3.Error)
