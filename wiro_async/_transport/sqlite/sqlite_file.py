"""The file of a journal on the disk: who may write it, and whether it still is what it was.

Everything rests on this file: a journal that is taken for an empty one, or for an older state of itself, bills runs a
second time. SQLite notices neither. So the file and its lock file know each other, and an opened file is compared with
what it was at the last commit before anything relies on it:

- The lock is an exclusive transaction on a small database beside the file. The system takes it away from a process that
  dies, which no lock file could do. That database also knows the id of the journal, and a number of changes that the
  journal has reached. So a journal that was removed, emptied, or replaced by an older state is noticed. It is only a
  witness: without it the journal opens all the same.
- The file knows its inode. A copy has another one, and two files that both go on would both send the runs of a key.
- Only the owner of the lock writes. If SQLite sees changes of others, the file was overwritten.
- `journal_mode=DELETE` leaves nothing beside the file between two commits, and `synchronous=EXTRA` syncs the folder
  too, so that a power cut does not bring a rollback journal back that undoes a commit.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from wiro_async._errors import JournalError

if TYPE_CHECKING:
    import sqlite3

logger = logging.getLogger("wiro_async")
Connection: TypeAlias = "sqlite3.Connection"
Prepare: TypeAlias = "Callable[[Connection], None]"

IDENTITY = "CREATE TABLE IF NOT EXISTS identity (name TEXT PRIMARY KEY, value TEXT NOT NULL)"
KEEP = "INSERT INTO identity VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
COUNT = "UPDATE identity SET value = CAST(value AS INTEGER) + 1 WHERE name = 'changes'"
BILLS_TWICE = "with a new journal everything would be submitted, and billed, again"


class SqliteFile:
    """A file that this process alone writes, opened and checked. All methods block.

    Args:
        prepare: checks the file, or fills a new one. Its `JournalError` says what is wrong with the file.
        busy_seconds: how long another program may lock the file before an operation fails.

    Raises:
        JournalError: it cannot be used, or is not what it was.
    """

    def __init__(self, path: Path, prepare: Prepare, busy_seconds: float) -> None:
        self.path = path
        real = _real(path)
        self._lock_path = real.with_name(f"{real.name}-lock")
        with ExitStack() as opened:
            self._lock = opened.enter_context(closing(_locked(path, self._lock_path)))
            self._lock_inode = self._lock_path.stat().st_ino
            witness = _identity(self._lock)
            self._check_presence(real, witness)
            with sqlite_errors(path):
                import sqlite3

                connection = sqlite3.connect(real, timeout=busy_seconds, isolation_level=None)
                self._connection = opened.enter_context(closing(connection))
                self._inode = real.stat().st_ino
                self._check_identity(witness)
                prepare(self._connection)
                _leave_nothing_beside(self._connection)
                self._connection.execute(IDENTITY)
                own = _identity(self._connection)
                known = {"journal": own.get("journal", uuid4().hex), "inode": str(self._inode)}
                self._connection.executemany(KEEP, [*known.items(), ("changes", str(_changes(own) + 1))])
                self._lock.execute(KEEP, ("journal", known["journal"]))
                self._committed()
            _sync_folder(real)
            self._close = opened.pop_all().close

    def close(self) -> None:
        """Close the file, then release the lock."""
        import sqlite3

        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA optimize")
        self._close()

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """Run one transaction. Raises `JournalError` if the file is not what it was, also if nothing is written."""
        self.check()
        connection, before = self._connection, self._connection.total_changes
        with sqlite_errors(self.path):
            with connection:
                # A lock that is taken at the first write cannot be waited for: the other side may wait for ours.
                connection.execute("BEGIN IMMEDIATE")
                if self._version() != self._seen_version:
                    raise self._changed("another program has written it")
                yield connection
                has_changed = connection.total_changes != before
                if has_changed:
                    connection.execute(COUNT)
            if has_changed:
                self._committed()

    def check(self) -> None:
        """Raise `JournalError` if the file on the disk is not the one that this process has opened."""
        try:
            found, lock = self.path.stat(), self._lock_path.stat()
        except OSError as error:
            raise self._changed(f"it, or its lock file, was removed or moved ({error.strerror})") from None
        if found.st_ino != self._inode:
            raise self._changed("another file was put in its place")
        if lock.st_ino != self._lock_inode:
            raise self._changed("another lock file was put beside it")
        if found.st_nlink > 1:
            raise self._changed("it was given a second name (a hard link)")
        if found.st_size < self._size:
            raise self._changed("it was cut off" if found.st_size else "it was emptied")

    def _check_presence(self, real: Path, witness: dict[str, str]) -> None:
        """Refuse a file that was removed or emptied, and make a new one for its owner only."""
        try:
            found = real.stat()
        except FileNotFoundError:
            problem = "was removed or moved"
        except OSError as error:
            raise cannot_open(self.path, error) from error
        else:
            if found.st_nlink > 1 and not real.is_dir():
                raise JournalError(
                    f"the journal {self.path} has a second name (a hard link), so two sessions could use it at once. "
                    "Remove the other name"
                )
            if found.st_size:
                return
            problem = "was emptied"
        if witness:
            raise JournalError(
                f"the journal {self.path} {problem} since it was last used. Restore it: {BILLS_TWICE}. To begin a new "
                f"one on purpose, remove {self._lock_path.name} as well"
            )
        try:
            os.close(os.open(real, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise cannot_open(self.path, error) from error

    def _check_identity(self, witness: dict[str, str]) -> None:
        """Hold the file against its inode and its lock file."""
        own = _identity(self._connection)
        if own.get("inode", str(self._inode)) != str(self._inode):
            raise JournalError(
                f"the journal {self.path} is a copy of another file. If both went on, both would submit and bill the "
                "same runs. Use the original. If it is gone, Journal.open(…).backup(…) makes a journal of the copy"
            )
        if witness.get("journal", own.get("journal")) != own.get("journal"):
            raise JournalError(
                f"the journal {self.path} is another one than the one that was used here before. Put that one back, or "
                f"remove {self._lock_path.name} to use this one"
            )
        if _changes(own) < _changes(witness):
            raise JournalError(
                f"the journal {self.path} is an older state of itself, with {_changes(own)} of {_changes(witness)} "
                "changes. The runs that it does not know any more would be submitted, and billed, again. Put the "
                f"newest state back, or remove {self._lock_path.name} to go on with this one"
            )

    def _committed(self) -> None:
        """Note the state after a commit, here and in the lock file: it may know less than the journal, never more."""
        self._size, self._seen_version = self.path.stat().st_size, self._version()
        self._lock.execute(KEEP, ("changes", str(_changes(_identity(self._connection)))))

    def _version(self) -> int:
        """A number that changes when another connection has written the file."""
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    def _changed(self, what: str) -> JournalError:
        return JournalError(
            f"the journal {self.path} cannot be used any more: {what} while it was in use. Nothing more is submitted. "
            f"Put the file back and start again; {BILLS_TWICE}"
        )


def _identity(connection: Connection) -> dict[str, str]:
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'identity'").fetchone() is None:
        return {}
    return dict(connection.execute("SELECT name, value FROM identity").fetchall())


def _changes(identity: dict[str, str]) -> int:
    return int(identity.get("changes", "0"))


def reader(path: Path, check: Prepare, busy_seconds: float) -> Connection:
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

    with sqlite_errors(path):
        try:
            return opened("mode=rw")
        except sqlite3.OperationalError:
            # SQLite makes files beside a database even for a reader, and here it may not. Without a log beside the
            # file nobody writes it, so it can be read as a file that does not change.
            if any(path.with_name(f"{path.name}{end}").exists() for end in ("-wal", "-journal")):
                raise
            return opened("mode=ro&immutable=1")


def rows(connection: Connection, path: Path, sql: str, values: tuple[object, ...] = ()) -> Iterator[Any]:
    """Read the rows of a query at once, as an open cursor keeps the writer waiting. Raises `JournalError`."""
    import sqlite3

    try:
        with sqlite_errors(path), closing(connection.cursor()) as cursor:
            return iter(cursor.execute(sql, values).fetchall())
    except sqlite3.ProgrammingError as error:
        raise JournalError(
            f"the journal {path} is not open in this thread ({error}). Open it, with Journal.open, where it is read"
        ) from error


def back_up(connection: Connection, path: Path, target: Path) -> None:
    """Copy a database to a new file that does not know its inode yet. Raises `JournalError`."""
    import sqlite3

    part = target.with_name(f"{target.name}.part")
    try:
        if target.exists():
            raise JournalError(f"cannot back up to {target}: it exists. Give another path")
        with sqlite_errors(path), closing(sqlite3.connect(part, isolation_level=None)) as copy:
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            copy.execute("PRAGMA synchronous=EXTRA")
            copy.execute("DELETE FROM identity WHERE name = 'inode'")
        part.chmod(0o600)
        part.rename(target)
        _sync_folder(target)
    except OSError as error:
        raise JournalError(f"cannot back up to {target}: {error.strerror}. Check the path and its folder") from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def sqlite_errors(path: Path) -> Generator[None]:
    """Turn the errors of a file that fails into a `JournalError` that names it. Errors of the caller pass."""
    import sqlite3

    try:
        yield
    except JournalError as error:
        if type(error) is not JournalError or str(path) in str(error):
            raise
        raise JournalError(f"{path}: {error}") from error.__cause__
    except (sqlite3.ProgrammingError, sqlite3.DataError):
        raise
    except sqlite3.OperationalError as error:
        raise cannot_use(path, error) from error
    except sqlite3.DatabaseError as error:
        raise JournalError(
            f"the journal {path} is damaged or is no journal ({error}). Restore it from a copy; {BILLS_TWICE}"
        ) from error


def cannot_use(path: Path, error: Exception) -> JournalError:
    """Return the error for a file that cannot be read or written now."""
    if "locked" in str(error):
        return JournalError(
            f"the journal {path} is locked by another program, such as a database browser or a backup ({error}). It is "
            "not damaged, and nothing more is submitted. Close that program, then start again with the same journal"
        )
    return JournalError(
        f"the journal {path} cannot be used ({error}); nothing more is submitted. Check that the disk "
        "has room and the file may be written, then start again with the same journal"
    )


def cannot_open(path: Path, error: Exception) -> JournalError:
    """Return the error for a path at which no journal can be."""
    return JournalError(
        f"the journal {path} cannot be opened: {error!r}. Check the path, and that its folder may be written"
    )


@contextmanager
def _closed_on_error(connection: Connection) -> Generator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _locked(path: Path, lock_path: Path) -> Connection:
    import sqlite3

    try:
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _lock(lock_path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:  # nobody holds it, and it is only a witness
            logger.warning("the lock file %s is damaged (%s), so a new one is made", lock_path, error)
            lock_path.unlink()
            return _lock(lock_path)
    except (OSError, ValueError, sqlite3.Error) as error:
        if "locked" in str(error):
            raise JournalError(
                f"the journal {path} is in use by another batch, in this process or in another one. "
                "Wait for its end, or give this batch another journal. A batch that was left uses its journal until "
                "the last run that it was sending is answered"
            ) from error
        raise cannot_open(path, error) from error


def _lock(path: Path) -> Connection:
    import sqlite3

    lock = sqlite3.connect(path, timeout=0, isolation_level=None)
    with _closed_on_error(lock):
        lock.execute("PRAGMA locking_mode=EXCLUSIVE")  # the lock outlives the transaction
        lock.execute("PRAGMA journal_mode=MEMORY")
        lock.execute("PRAGMA synchronous=OFF")  # it may know less than the journal, but never more
        lock.execute("BEGIN EXCLUSIVE")
        lock.execute(IDENTITY)
        lock.execute("COMMIT")
    return lock


def _leave_nothing_beside(connection: Connection) -> None:
    import sqlite3

    (mode,) = connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    if mode != "delete":  # somebody reads a file that an earlier version wrote
        raise sqlite3.OperationalError("database is locked")
    connection.execute("PRAGMA synchronous=EXTRA")


def _real(path: Path) -> Path:
    """Return the file itself, also where its name means something else to SQLite, such as ":memory:"."""
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        raise cannot_open(path, error) from error


def _sync_folder(path: Path) -> None:
    # The name of a new file survives a power cut only with its folder, on systems that can sync folders.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
