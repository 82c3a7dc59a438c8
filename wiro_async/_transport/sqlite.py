"""One SQLite file that one process writes: a thread of its own, and commits that all waiting callers share.

Durability: `synchronous=FULL` syncs the write-ahead log at every commit, so a write that was answered survives a power
cut. NORMAL survives the end of the process only: a run whose intent was lost with the power would be sent, and billed,
again. Sharing makes FULL cheap: operations that are requested while one commit is being synced go into the next one.

Locking: the writer holds an exclusive transaction on an empty database beside the file. The system takes that lock away
from a process that dies, which no lock file could do. Readers need no lock.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from weakref import WeakValueDictionary

import anyio
import attrs

from wiro_async._errors import JournalError

if TYPE_CHECKING:
    import sqlite3

logger = logging.getLogger("wiro_async")
Connection: TypeAlias = "sqlite3.Connection"
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

    def check(self) -> None:
        """Raise `JournalError` if the file cannot be used any more."""
        if self._broken is not None:
            raise self._broken

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
        import sqlite3

        try:
            lock = closing(_locked(self.path))
            with lock, closing(_opened(self.path, self._busy_seconds)) as connection:
                with _journal_errors(self.path):
                    self._prepare(connection)
                _sync_folder(self.path)
                self._call_in_loop(_answer, opened, None)
                while (calls := self._batches.get()) is not None:
                    self._commit(connection, calls)
                    self._call_in_loop(self._deliver, calls)
                with suppress(sqlite3.Error):
                    connection.execute("PRAGMA optimize")
        except JournalError as error:
            self._call_in_loop(_answer, opened, error)
        except Exception as error:
            self._call_in_loop(_answer, opened, _cannot_open(self.path, error))
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

    def _commit(self, connection: Connection, calls: list[_Call]) -> None:
        """Run operations in one transaction. One that fails by itself undoes it: the others run again, without it."""
        while calls:
            current: _Call | None = None
            try:
                if self._broken is not None:
                    raise self._broken
                with _journal_errors(self.path), connection:
                    connection.execute("BEGIN")
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
                self._broken = error if isinstance(error, JournalError) else _cannot_use(self.path, error)
                for call in calls:
                    call.fail(self._broken)
                return

    def _call_in_loop(self, function: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the event loop is closed, so nobody waits any more
            self._loop.call_soon_threadsafe(function, *arguments)


def _answer(opened: asyncio.Future[JournalError | None], error: JournalError | None) -> None:
    if not opened.done():  # the caller may have been cancelled
        opened.set_result(error)


@contextmanager
def writing(path: Path, busy_seconds: float) -> Generator[Connection]:
    """Open one transaction in this thread, under the lock. Raises `JournalError`, also if another writer has it."""
    lock = closing(_locked(path))
    with lock, closing(_opened(path, busy_seconds)) as connection, _journal_errors(path), connection:
        connection.execute("BEGIN")
        yield connection


def reader(path: Path, check: Callable[[Connection], None], busy_seconds: float) -> Connection:
    """Open a connection that only reads, also while another process writes. Raises `JournalError`."""
    if not path.is_file():
        raise JournalError(f"there is no journal {path}: no such file. Check the path")
    import sqlite3

    def opened(mode: str) -> Connection:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=busy_seconds)
        with _closed_on_error(connection):
            connection.execute("PRAGMA query_only=ON")
            check(connection)
        return connection

    with _journal_errors(path):
        try:
            return opened("mode=rw")
        except sqlite3.OperationalError:
            # SQLite makes files beside a database even for a reader, and here it may not. Without a log beside the
            # file nobody writes it, so it can be read as a file that does not change.
            if path.with_name(f"{path.name}-wal").exists():
                raise
            return opened("mode=ro&immutable=1")


def rows(connection: Connection, path: Path, sql: str, values: tuple[object, ...] = ()) -> Iterator[Any]:
    """Iterate over the rows of a query, read as they are needed. Raises `JournalError`."""
    import sqlite3

    try:
        with _journal_errors(path), closing(connection.cursor()) as cursor:
            yield from cursor.execute(sql, values)
    except sqlite3.ProgrammingError as error:
        raise JournalError(
            f"the journal {path} is not open in this thread ({error}). Open it, with Journal.open, where it is read"
        ) from error


@contextmanager
def _journal_errors(path: Path) -> Generator[None]:
    """Turn the errors of a file that fails into a `JournalError`. Errors of the caller pass."""
    import sqlite3

    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.DataError):
        raise
    except sqlite3.OperationalError as error:
        raise _cannot_use(path, error) from error
    except sqlite3.DatabaseError as error:
        raise JournalError(
            f"the journal {path} is damaged or is no journal ({error}). Restore it from a copy; with a "
            "new journal everything would be submitted, and billed, again"
        ) from error


def _cannot_use(path: Path, error: Exception) -> JournalError:
    return JournalError(
        f"the journal {path} cannot be used ({error}); nothing more is submitted. Check that the disk "
        "has room and the file may be written, then start again with the same journal"
    )


def _cannot_open(path: Path, error: Exception) -> JournalError:
    return JournalError(
        f"the journal {path} cannot be opened: {error!r}. Check the path, and that its folder may be written"
    )


def _is_failed_file(error: Exception) -> bool:
    import sqlite3

    return isinstance(error, JournalError) and isinstance(error.__cause__, sqlite3.Error)


@contextmanager
def _closed_on_error(connection: Connection) -> Generator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _locked(path: Path) -> Connection:
    import sqlite3

    try:
        path = _real(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = sqlite3.connect(path.with_name(f"{path.name}-lock"), timeout=0, isolation_level=None)
        with _closed_on_error(lock):
            lock.execute("BEGIN EXCLUSIVE")
            # Not before it is locked: closing a file takes away all POSIX locks that this process has on it.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except (OSError, ValueError, sqlite3.Error) as error:
        if "locked" in str(error):
            raise JournalError(
                f"the journal {path} is in use by another batch, in this process or in another one. "
                "Wait for its end, or give this batch another journal. A batch that was left uses its journal until "
                "the last run that it was sending is answered"
            ) from error
        raise _cannot_open(path, error) from error
    return lock


def _opened(path: Path, busy_seconds: float) -> Connection:
    import sqlite3

    with _journal_errors(path):
        connection = sqlite3.connect(_real(path), timeout=busy_seconds, isolation_level=None)
        with _closed_on_error(connection):
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
    return connection


def _real(path: Path) -> Path:
    """Return the file itself, also where its name means something else to SQLite, such as ":memory:"."""
    return Path(os.path.realpath(path))


def _sync_folder(path: Path) -> None:
    # The name of a new file survives a power cut only with its folder, on systems that can sync folders.
    with suppress(OSError):
        folder = os.open(_real(path).parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class KeyCounter:
    """Counts how often each key was used. A million keys do not fit into memory, so they lie in a file without a name.

    Every method blocks, and one at a time may be called, from any thread.
    """

    def __init__(self) -> None:
        import sqlite3

        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")

    def count(self, key: str) -> int:
        """Count one more use of a key, and return how many there are."""
        statement = """INSERT INTO keys VALUES (?, 1)
            ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times"""
        times: int = self._connection.execute(statement, (key,)).fetchone()[0]
        return times

    def close(self) -> None:
        """Remove the file."""
        self._connection.close()
