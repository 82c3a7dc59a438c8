"""One SQLite file that one process writes: a thread of its own, and commits shared by all who wait.

`synchronous=FULL`: in WAL mode it syncs the log at every commit, so what was answered survives a power cut; NORMAL
would only survive the end of the process, and a run whose intent was lost with the power would be sent, and billed,
again. Sharing makes it cheap: whatever was asked for while one commit was being synced goes into the next one.

The writer holds a lock that the system takes away from a process that dies: an exclusive transaction on an empty
database beside the file. Readers need no lock.
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

from wiro_async._errors import JournalError

if TYPE_CHECKING:
    import sqlite3

logger = logging.getLogger("wiro_async")
Connection: TypeAlias = "sqlite3.Connection"
T = TypeVar("T")
BUSY_SECONDS = 5.0
_lingering: WeakValueDictionary[Path, Database] = WeakValueDictionary()


class _Call:
    __slots__ = ("error", "future", "operation", "value")

    def __init__(self, operation: Callable[[Connection], Any], future: asyncio.Future[Any] | None) -> None:
        self.operation = operation
        self.future = future
        self.value: Any = None
        self.error: Exception | None = None


class Database:
    """A file open for writing. Operations are carried out in the order in which they were asked for.

    Args:
        path: the file; made, for its owner only, if it is not there.
        prepare: checks the file, or fills a new one; its `JournalError` says what is wrong with it.
    """

    def __init__(self, path: Path, prepare: Callable[[Connection], None]) -> None:
        self.path = path
        self._prepare = prepare
        self._asked: list[_Call] = []
        self._batches: SimpleQueue[list[_Call] | None] = SimpleQueue()
        self._is_busy = False
        self._broken: JournalError | None = None
        self._loop: asyncio.AbstractEventLoop
        self._ended = anyio.Event()
        self._closing = False

    async def open(self) -> None:
        """Lock, open and check the file. Waits for one that lingers on it in this loop. Raises `JournalError`."""
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
        """Have something written soon. If that fails, everything after it does."""
        self._ask(_Call(operation, None))

    async def do(self, operation: Callable[[Connection], T]) -> T:
        """The operation's value, once what it wrote is on the disk. Cancelling does not undo it.

        What the operation itself raises is raised here, and then nothing that it wrote stays.

        Raises:
            JournalError: the file cannot be read or written, now and later.
        """
        if self._closing:
            raise JournalError(f"the journal {self.path} is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._ask(_Call(operation, future))
        return await future

    def linger(self) -> None:
        """Whoever opened it has left, and something may still be written: it will be closed soon."""
        _lingering[self.path] = self

    def close(self) -> None:
        """Close it, after all that was asked for. `aclose` also waits for that."""
        if not self._closing:
            self._closing = True
            self._hand_over()
            self._batches.put(None)

    async def aclose(self) -> None:
        """Close it, and release the lock. Raises `JournalError` if something could not be written."""
        self.close()
        with anyio.CancelScope(shield=True):
            await self._ended.wait()
        if self._broken is not None:
            raise self._broken

    def _serve(self, opened: asyncio.Future[JournalError | None]) -> None:
        import sqlite3

        try:
            with closing(_locked(self.path)), closing(_opened(self.path)) as connection:
                with _damage_told(self.path):
                    self._prepare(connection)
                _sync_folder(self.path)
                self._tell(_answer, opened, None)
                self._work(connection)
                with suppress(sqlite3.Error):
                    connection.execute("PRAGMA optimize")
        except JournalError as error:
            self._tell(_answer, opened, error)
        except Exception as error:
            self._tell(_answer, opened, JournalError(f"the journal {self.path} cannot be opened: {error!r}"))
        finally:
            self._tell(self._ended.set)

    def _ask(self, call: _Call) -> None:
        self._asked.append(call)
        if not self._is_busy:
            self._is_busy = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """One batch at a time: what is asked for meanwhile shares the next commit, and no call wakes the thread."""
        self._is_busy = bool(self._asked)
        if self._asked:
            self._batches.put(self._asked)
            self._asked = []

    def _work(self, connection: Connection) -> None:
        while (calls := self._batches.get()) is not None:
            self._carry_out(connection, calls)
            self._tell(self._deliver, calls)

    def _deliver(self, calls: list[_Call]) -> None:
        for call in calls:
            if call.future is None:
                if call.error is not None and call.error is not self._broken:
                    logger.error("something could not be written into the journal %s", self.path, exc_info=call.error)
            elif not call.future.done():
                if call.error is not None:
                    call.future.set_exception(call.error)
                else:
                    call.future.set_result(call.value)
        self._loop.call_soon(self._hand_over)  # after those who go on now, and may ask again

    def _carry_out(self, connection: Connection, calls: list[_Call]) -> None:
        """All in one transaction. One that fails by itself undoes it: the others are done anew, without it."""
        failed: _Call | None
        while (failed := self._tried(connection, calls)) is not None:
            calls = [call for call in calls if call is not failed]

    def _tried(self, connection: Connection, calls: list[_Call]) -> _Call | None:
        current: _Call | None = None
        try:
            if self._broken is not None:
                raise self._broken
            with _damage_told(self.path), connection:
                connection.execute("BEGIN")
                for call in calls:
                    current = call
                    call.value = call.operation(connection)
                current = None
        except Exception as error:
            if current is not None and not _tells_damage(error):
                current.error = error
                return current
            broken = error if isinstance(error, JournalError) else JournalError(f"the journal failed: {error!r}")
            self._broken = broken
            for call in calls:
                call.error = broken
        return None

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the event loop is gone, and with it whoever waited
            self._loop.call_soon_threadsafe(function, *arguments)


def _answer(opened: asyncio.Future[JournalError | None], error: JournalError | None) -> None:
    if not opened.done():  # whoever waited may have been cancelled
        opened.set_result(error)


@contextmanager
def writing(path: Path) -> Generator[Connection]:
    """One transaction in this thread, under the lock. Raises `JournalError`, also if somebody else has the lock."""
    with closing(_locked(path)), closing(_opened(path)) as connection, _damage_told(path), connection:
        connection.execute("BEGIN")
        yield connection


def reader(path: Path, check: Callable[[Connection], None]) -> Connection:
    """A connection that only reads, also while another process writes. Raises `JournalError`."""
    if not path.is_file():
        raise JournalError(f"there is no journal {path}")
    import sqlite3

    with _damage_told(path):
        try:
            return _reading(path, "mode=rw", check)
        except sqlite3.OperationalError:
            # Beside the file nothing may be made, as SQLite does for whoever reads while somebody writes. Nobody does.
            if path.with_name(f"{path.name}-wal").exists():
                raise
            return _reading(path, "mode=ro&immutable=1", check)


def _reading(path: Path, mode: str, check: Callable[[Connection], None]) -> Connection:
    import sqlite3

    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=BUSY_SECONDS)
    with _closed_if_wrong(connection):
        connection.execute("PRAGMA query_only=ON")
        check(connection)
    return connection


def rows(connection: Connection, path: Path, sql: str, values: tuple[object, ...] = ()) -> Iterator[Any]:
    """What a query gives, read as it is needed. Raises `JournalError`."""
    import sqlite3

    try:
        with _damage_told(path), closing(connection.cursor()) as cursor:
            yield from cursor.execute(sql, values)
    except sqlite3.ProgrammingError as error:
        raise JournalError(f"the journal {path} is not open, or was opened by another thread ({error})") from error


class _damage_told:  # noqa: N801 - used like a function
    """Turns what SQLite says into a `JournalError` that tells what to do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import sqlite3

        if isinstance(error, (sqlite3.ProgrammingError, sqlite3.DataError)):
            return  # that is the caller's fault
        if isinstance(error, sqlite3.OperationalError):
            raise JournalError(
                f"the journal {self._path} cannot be used ({error}); nothing more is submitted. Check that the disk "
                "has room and the file may be written, then start again with the same journal"
            ) from error
        if isinstance(error, sqlite3.DatabaseError):
            raise JournalError(
                f"the journal {self._path} is damaged or is no journal ({error}). Restore it from a copy; with a "
                "new journal everything would be submitted, and billed, again"
            ) from error


def _tells_damage(error: Exception) -> bool:
    import sqlite3

    return isinstance(error, JournalError) and isinstance(error.__cause__, sqlite3.Error)


@contextmanager
def _closed_if_wrong(connection: Connection) -> Generator[None]:
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
        with _closed_if_wrong(lock):
            lock.execute("BEGIN EXCLUSIVE")
            # Not before it is locked: closing a file takes away all POSIX locks that this process has on it.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except (OSError, ValueError, sqlite3.Error) as error:
        if "locked" in str(error):
            raise JournalError(
                f"the journal {path} is in use by another batch, in this process or in another one; "
                "wait for its end, or give this batch a journal of its own. A batch that was left uses it until the "
                "last run that it was sending is answered"
            ) from error
        raise JournalError(f"the journal {path} cannot be opened: {error}") from error
    return lock


def _opened(path: Path) -> Connection:
    import sqlite3

    with _damage_told(path):
        connection = sqlite3.connect(_real(path), timeout=BUSY_SECONDS, isolation_level=None)
        with _closed_if_wrong(connection):
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
    return connection


def _real(path: Path) -> Path:
    """The file itself, also where its name means something else to SQLite, such as ":memory:"."""
    return Path(os.path.realpath(path))


def _sync_folder(path: Path) -> None:
    """Names of new files survive a power cut only with the folder that holds them, where the system can do that."""
    with suppress(OSError):
        folder = os.open(_real(path).parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
