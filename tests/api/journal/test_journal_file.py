"""The journal's file: errors, cancellation and odd paths leave no caller waiting, and nothing locked."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from wiro_async import AsyncWiro, Journal, JournalError
from wiro_async._api.journal.sqlite_store import SqliteStore
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._transport.sqlite import Connection, Database
from wiro_async._tuning import Tuning
from wiro_async.testing import DelayAnswer, WiroEmulator

SLEEPER = "emulator/sleeper"
BUSY = Tuning().journal_busy
NOBODY = 65534


def table(connection: Connection) -> None:
    """Makes a table."""
    connection.execute("CREATE TABLE IF NOT EXISTS t (x)")


def insert(value: object) -> Callable[[Connection], None]:
    """Writes a row."""

    def write(connection: Connection) -> None:
        connection.execute("INSERT INTO t VALUES (?)", (value,))

    return write


def values(connection: Connection) -> list[object]:
    """All rows."""
    return [row[0] for row in connection.execute("SELECT x FROM t ORDER BY rowid")]


def fails_after_writing(connection: Connection) -> None:
    """An operation that fails by itself."""
    insert("half")(connection)
    raise ZeroDivisionError


async def through(emulator: WiroEmulator, journal: Path) -> None:
    """Run a batch of one item, in its own session."""
    async with (
        AsyncWiro(**emulator.options()) as wiro,
        wiro.batch(SLEEPER, [{"seconds": 0.1}], journal=journal) as batch,
    ):
        await batch.results()


async def test_an_operation_that_fails_by_itself_fails_alone(journal: Path) -> None:
    """Operations that share its commit are written, its own writes are not, and the file stays usable."""
    database = Database(journal, table, BUSY)
    await database.open()
    outcomes: list[object] = []

    async def ask(operation: Callable[[Connection], None]) -> None:
        try:
            outcomes.append(await database.do(operation))
        except ZeroDivisionError as error:
            outcomes.append(type(error))

    async with anyio.create_task_group() as group:
        for operation in (insert(1), fails_after_writing, insert(2)):
            group.start_soon(ask, operation)
    assert sorted(map(str, outcomes)) == ["<class 'ZeroDivisionError'>", "None", "None"]
    with pytest.raises(UnicodeEncodeError):
        await database.do(insert("\ud83d"))
    assert await database.do(values) == [1, 2]
    await database.aclose()


async def test_errors_without_a_caller_are_logged(journal: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The error of an operation that was only put goes to the log, and the others are written."""
    database = Database(journal, table, BUSY)
    await database.open()
    database.put(fails_after_writing)
    database.put(insert(1))
    assert await database.do(values) == [1]
    await database.aclose()
    assert [record.levelno for record in caplog.records if "could not be written" in record.message] == [logging.ERROR]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EACCES], ids=["no folder can be synced", "not readable"])
async def test_a_folder_that_cannot_be_synced(journal: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The journal opens nevertheless."""
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    database = Database(journal, table, BUSY)
    with anyio.fail_after(20):
        await database.open()
    await database.aclose()


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
async def test_an_impossible_file_name(tmp_path: Path, name: str) -> None:
    """It raises a `JournalError` at once."""
    with anyio.fail_after(20), pytest.raises(JournalError, match="cannot be opened"):
        await Database(tmp_path / name, table, BUSY).open()


async def test_any_error_while_opening_is_raised(journal: Path) -> None:
    """Any error in the thread reaches the caller, and the file is free."""
    with anyio.fail_after(20), pytest.raises(JournalError, match="ZeroDivisionError"):
        await Database(journal, lambda connection: 1 / 0, BUSY).open()  # type: ignore[arg-type]
    database = Database(journal, table, BUSY)
    await database.open()
    await database.aclose()


async def test_a_file_named_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ ":memory:" is a file like any other."""
    monkeypatch.chdir(tmp_path)
    for expected in ([], [1]):
        database = Database(Path(":memory:"), table, BUSY)
        await database.open()
        assert await database.do(values) == expected
        await database.do(insert(1))
        await database.aclose()


@pytest.mark.parametrize("steps", [1, 2, 3])
async def test_cancelled_while_it_opens(journal: Path, caplog: pytest.LogCaptureFixture, steps: int) -> None:
    """When the cancellation arrives, the lock is free and the thread has ended. Nothing is logged."""
    released = threading.Event()

    def slow(connection: Connection) -> None:
        released.wait(20)
        table(connection)

    opening = asyncio.create_task(Database(journal, slow, BUSY).open())
    for _ in range(steps):
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.sleep(0)
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await anyio.wait_all_tasks_blocked()
    database = Database(journal, table, BUSY)
    await database.open()
    await database.aclose()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_cancelled_between_opening_and_reading(
    wiro: AsyncWiro, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is free at once then, too."""
    do = Database.do

    async def cancelled(database: Database, operation: Callable[[Connection], object]) -> object:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return await do(database, operation)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "do", cancelled)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(wiro.batch(SLEEPER, [{}], journal=journal).__aenter__())
    store = SqliteStore(journal, Tuning())
    await store.open()
    await store.aclose()


async def test_a_damaged_row_leaves_the_file_free(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """A cost that is no number is reported as damage, at every start."""
    async with wiro.batch(SLEEPER, [{"seconds": 0.1}], journal=journal) as batch:
        await batch.results()
    connection = sqlite3.connect(journal)
    with connection:
        connection.execute("UPDATE items SET cost = 'abc'")
    connection.close()
    for _ in range(2):
        with pytest.raises(JournalError, match=r"damaged.*'abc'"):
            await wiro.batch(SLEEPER, [{"seconds": 0.1}], journal=journal).__aenter__()
    assert len(emulator.ledger.submissions) == 1


async def test_a_batch_that_cannot_begin(
    emulator: WiroEmulator, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal is closed again."""
    wiro = AsyncWiro(**emulator.options())
    batch = wiro.batch(SLEEPER, [{}], journal=journal)

    def refuse(*arguments: object) -> None:
        raise ZeroDivisionError

    async with wiro:
        with monkeypatch.context() as patch:
            patch.setattr(BackgroundTasks, "start", refuse)
            with pytest.raises(ZeroDivisionError):
                await batch.__aenter__()
        with pytest.raises(ZeroDivisionError):
            await anext(batch)
    store = SqliteStore(journal, Tuning())
    await store.open()
    await store.aclose()


@pytest.mark.tuning(submit_answer_wait=0.05, submit_search_wait=0.0)
async def test_started_again_before_the_last_response(
    emulator: WiroEmulator, short_timing: Tuning, journal: Path
) -> None:
    """In the same session a second batch waits until the first one has settled the run that it was sending."""
    emulator.faults.http("Run/*", DelayAnswer(0.6), times=1)
    emulator.faults.http("Task/List", DelayAnswer(0.4), times=1)
    async with AsyncWiro(**emulator.options()) as wiro:
        async with wiro.batch(SLEEPER, [{"seconds": 0.1}], journal=journal) as batch:
            while not emulator.ledger.submissions:  # noqa: ASYNC110 - the emulator's thread sends no event
                await anyio.sleep(0.005)
        assert wiro.statistics().submissions
        async with wiro.batch(SLEEPER, [{"seconds": 0.1}], journal=journal, journal_grace=0.1) as batch:
            (item,) = await batch.results()
    assert item.error is None


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user may read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path
        path.chmod(0o755)


def test_a_journal_in_a_read_only_folder(emulator: WiroEmulator, public_folder: Path) -> None:
    """A user who may not write there can read it."""
    journal = public_folder / "run.sqlite"
    asyncio.run(through(emulator, journal))
    journal.chmod(0o444)
    public_folder.chmod(0o555)
    code = (
        "import os, sqlite3, sys\n"
        "from wiro_async import Journal\n"
        f"os.getuid() or os.seteuid({NOBODY})\n"
        "with Journal.open(sys.argv[1]) as journal: print(journal.counts)"
    )
    command = [sys.executable, "-c", code, str(journal)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "{'succeeded': 1}", done.stderr


def test_reading_after_it_was_closed(emulator: WiroEmulator, journal: Path) -> None:
    """Every way of reading raises."""

    asyncio.run(through(emulator, journal))
    with Journal.open(journal) as reader:
        assert len(reader) == 1
    for read in (lambda: reader.counts, lambda: reader.cost, lambda: list(reader)):
        with pytest.raises(JournalError, match="not open"):
            read()
