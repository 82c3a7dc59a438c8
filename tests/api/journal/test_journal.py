"""Batches with a journal: ended items come back, running tasks are followed, undecided ones are searched for."""

from __future__ import annotations

import asyncio
import csv
import json
import sqlite3
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Protocol, Unpack

import anyio
import anyio.to_thread
import attrs
import pytest

from wiro_async import (
    AsyncWiro,
    BatchItem,
    File,
    InvalidInputError,
    Journal,
    JournalError,
    RunRequest,
    SubmissionUnknownError,
    TaskFailedError,
    TaskInfo,
)
from wiro_async._api.batch.batch_inputs import Inputs
from wiro_async._api.batch.batch_options import BatchOptions
from wiro_async._api.journal.journal_schema import prepare
from wiro_async._api.journal.sqlite_store import SqliteStore
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._protocol.journal.record import State
from wiro_async._transport.sqlite import Database
from wiro_async._tuning import Tuning
from wiro_async.testing import DelayAnswer, Respond, WiroEmulator


class Until(Protocol):
    """Wait for a condition."""

    async def __call__(self, condition: Callable[[], object], seconds: float = 10.0) -> None: ...


SLEEPER = "emulator/sleeper"
MINUTE = timedelta(minutes=1)
FAILING = "emulator/failing"
STUCK = "emulator/stuck"


def sleeps(count: int) -> list[dict[str, object]]:
    """This many different inputs."""
    return [{"seconds": 0.1, "number": number} for number in range(count)]


async def through(
    emulator: WiroEmulator, inputs: Inputs, journal: Path, /, **settings: Unpack[BatchOptions]
) -> list[BatchItem]:
    """Run a batch in its own session. Return its items by index."""
    settings["journal"] = journal
    async with AsyncWiro(**emulator.options()) as wiro, wiro.batch(SLEEPER, inputs, **settings) as batch:
        return sorted(await batch.results(), key=lambda item: item.index)


async def counts(journal: Path) -> dict[State, int]:
    """Count a journal's items by state. Reading blocks, so it happens in a thread."""

    def read() -> dict[State, int]:
        with Journal.open(journal) as reader:
            return reader.counts

    return await anyio.to_thread.run_sync(read)


def rewrite(journal: Path, sql: str) -> None:
    """Change a journal behind the library's back."""
    connection = sqlite3.connect(journal)
    with connection:
        connection.execute(sql)
    connection.close()


def spoil(journal: Path, damage: str) -> None:
    """Turn a file into one that no batch may write."""
    match damage:
        case "folder":
            journal.mkdir()
        case "foreign":
            rewrite(journal, "CREATE TABLE other (x)")
        case "text":
            journal.write_text("This is no journal." * 100)
        case "newer":
            rewrite(journal, "PRAGMA user_version = 99")
        case _:
            data = bytearray(journal.read_bytes())
            start = 0 if damage == "head" else 4096
            data[start : start + 6000] = b"\xff" * 6000
            journal.write_bytes(data)


async def test_ended_items_come_back_without_a_request(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """A second start gives the same results from the disk alone."""
    first = await through(emulator, sleeps(5), journal)
    emulator.ledger.calls.clear()
    second = await through(emulator, sleeps(5), journal)
    assert not emulator.ledger.calls
    assert [item.key for item in second] == [item.key for item in first]
    assert [item.result and item.result.info.raw for item in second] == [
        item.result and item.result.info.raw for item in first
    ]
    assert len(emulator.ledger.submissions) == 5


async def test_more_inputs_behind_the_old_ones(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """Only new inputs are submitted, and the stats count all."""
    await through(emulator, sleeps(3), journal)
    async with wiro.batch(SLEEPER, sleeps(5), journal=journal) as batch:
        items = await batch.results()
    assert len(items) == batch.stats.succeeded == 5
    assert len(emulator.ledger.submissions) == 5


async def test_equal_inputs_are_separate_items(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """Three equal inputs are three runs, once. Their keys number them."""
    inputs = [{"seconds": 0.1}] * 3
    keys = {item.key for item in await through(emulator, inputs, journal)}
    assert keys == {item.key for item in await through(emulator, inputs, journal)}
    stem = min(keys, key=len)
    assert keys == {stem, f"{stem}-2", f"{stem}-3"}
    assert len(emulator.ledger.submissions) == 3


async def test_running_tasks_are_followed(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path, until: Until) -> None:
    """Left with on_exit="leave", the tasks are followed by their tokens."""
    inputs = [{"seconds": 20, "number": number} for number in range(4)]
    async with wiro.batch(SLEEPER, inputs, concurrency=4, journal=journal, on_exit="leave"):
        await until(lambda: len(emulator.ledger.submissions) == 4 and not wiro.statistics().submissions)
    items = await through(emulator, inputs, journal)
    assert [item.error for item in items] == [None] * 4
    assert len(emulator.ledger.submissions) == 4


async def test_stopped_tasks_run_again(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path, until: Until) -> None:
    """A batch that was left has stopped its tasks, which are not billed. Its second start runs them again."""
    inputs = [{"seconds": 100, "number": number} for number in range(3)]
    async with wiro.batch(SLEEPER, inputs, concurrency=3, journal=journal):
        await until(lambda: wiro.statistics().watched_tasks == 3)
    assert await counts(journal) == {"submitted": 3}
    items = await through(emulator, inputs, journal)
    assert [(item.error, item.attempts) for item in items] == [(None, 2)] * 3
    finished = [task for task in emulator.ledger.tasks.values() if task.pexit == "0"]
    assert len(finished) == 3


async def test_an_undecided_item_is_found(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """The listed task of an intent without a token is adopted. Tasks of its equals are not."""
    inputs = [{"seconds": 0.1}] * 3
    await through(emulator, inputs, journal)
    rewrite(journal, "UPDATE items SET state = 'undecided', task_id = NULL, token = NULL WHERE rowid = 2")
    items = await through(emulator, inputs, journal)
    assert len({item.result.info.id for item in items if item.result}) == 3
    assert len(emulator.ledger.submissions) == 3


async def test_undecided_equals_find_a_task_each(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """Two undecided equals claim one of two tasks each."""
    inputs = [{"seconds": 0.1}] * 3
    await through(emulator, inputs, journal)
    rewrite(journal, "UPDATE items SET state = 'undecided', task_id = NULL, token = NULL WHERE rowid > 1")
    items = await through(emulator, inputs, journal, concurrency=1)
    assert len({item.result.info.id for item in items if item.result}) == 3
    assert len(emulator.ledger.submissions) == 3


@pytest.mark.parametrize("first", [1, 2], ids=["the older first", "the newer first"])
async def test_undecided_equals_of_different_age(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """A run that was sent later cannot have made the older task, which is left to the other item."""
    inputs = [{"seconds": 0.1}] * 2
    await through(emulator, inputs, journal, concurrency=1)
    older = emulator.ledger.submissions[0].task_id
    listed = TaskCalls.page

    async def page(calls: TaskCalls, start: int, limit: int, *, oldest_first: bool = False) -> list[TaskInfo]:
        tasks = await listed(calls, start, limit, oldest_first=oldest_first)
        return [
            attrs.evolve(t, created_at=t.created_at and t.created_at - MINUTE) if t.id == older else t for t in tasks
        ]

    monkeypatch.setattr(TaskCalls, "page", page)
    rewrite(journal, "UPDATE items SET state = 'undecided', task_id = NULL, token = NULL")
    rewrite(journal, f"UPDATE items SET intended_at = intended_at - 60 WHERE rowid = {first}")
    items = await through(emulator, inputs, journal, concurrency=1, journal_grace=0.3)
    assert len({item.result.info.id for item in items if item.result}) == 2
    assert len(emulator.ledger.submissions) == 2


async def test_an_undecided_item_that_was_never_sent(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """It is submitted after the grace period, once later items have shown how the service lists them."""
    emulator.faults.http("Run/*", Respond(200, b'{"result":false,"errors":[{"code":97,"message":"Balance"}]}'), after=1)
    await through(emulator, sleeps(2), journal, concurrency=1)
    rewrite(journal, "UPDATE items SET state = 'undecided' WHERE rowid = 2")
    start = time.monotonic()
    items = await through(emulator, sleeps(4), journal, journal_grace=0.6, concurrency=1)
    assert time.monotonic() - start >= 0.6
    assert [item.error for item in items] == [None] * 4
    assert [item.replayed for item in items] == [True, False, False, False]
    assert len(emulator.ledger.submissions) == 4


async def test_an_undecided_item_without_a_list_is_not_guessed(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path
) -> None:
    """If Task/List cannot be read, nothing is submitted, and the item is parked."""
    await through(emulator, sleeps(2), journal)
    rewrite(journal, "UPDATE items SET state = 'undecided', task_id = NULL, token = NULL WHERE rowid = 2")
    emulator.faults.http("Task/List", Respond(403), times=None)
    items = await through(emulator, sleeps(2), journal, journal_grace=0.1)
    assert [type(item.error) for item in items] == [type(None), SubmissionUnknownError]
    assert len(emulator.ledger.submissions) == 2
    assert await counts(journal) == {"succeeded": 1, "unknown": 1}


async def test_undecided_items_with_different_files_are_not_guessed(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path
) -> None:
    """Tasks do not show their files, so two lost ones look the same."""
    requests = [
        RunRequest("emulator/mirror", {"inputImage": File(bytes([n]), "a.png"), "seconds": 0.1}) for n in (1, 2)
    ]
    await through(emulator, requests, journal)
    rewrite(journal, "UPDATE items SET state = 'undecided', task_id = NULL, token = NULL")
    items = await through(emulator, requests, journal, journal_grace=0.1)
    assert [type(item.error) for item in items] == [SubmissionUnknownError] * 2
    assert len(emulator.ledger.submissions) == 2


async def test_undecided_items_are_decided_by_hand(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """One is decided to be a certain task, which is followed; the other to be none, so it is submitted."""
    requests = [RunRequest("emulator/mirror", {"inputImage": File(bytes([n]), "a.png")}, f"{n}") for n in (1, 2)]
    await through(emulator, requests, journal)
    rewrite(journal, "UPDATE items SET state = 'undecided', task_id = NULL, token = NULL")
    items = await through(emulator, requests, journal, journal_grace=0.1)
    assert isinstance(items[0].error, SubmissionUnknownError)
    task = min(items[0].error.candidates, key=lambda task: int(task.id))

    def decide() -> None:
        with Journal.open(journal) as reader:
            reader.decide("1", task)
            reader.decide("2", None)
            with pytest.raises(JournalError, match="no undecided item '1'"):
                reader.decide("1", None)

    await anyio.to_thread.run_sync(decide)
    errors = [item.error for item in await through(emulator, requests, journal)]  # these are no pictures
    tasks = [error.info.id for error in errors if isinstance(error, TaskFailedError)]
    assert tasks == [task.id, emulator.ledger.submissions[2].task_id]


async def test_the_intent_is_on_disk_before_the_run_and_the_token_right_after(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path, until: Until
) -> None:
    """Seen from another connection, before and after the response has arrived."""
    emulator.faults.http("Run/*", DelayAnswer(0.3))
    async with wiro.batch(SLEEPER, [{"seconds": 60}], journal=journal) as batch:
        await until(lambda: emulator.ledger.submissions)
        assert await counts(journal) == {"undecided": 1}
        await until(lambda: wiro.statistics().watched_tasks)
        assert await counts(journal) == {"submitted": 1}
        assert (await batch.results())[0].error is None


async def test_left_before_the_response(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """The new task is stopped and recorded. Started again, the batch runs the item once more."""
    emulator.faults.http("Run/*", DelayAnswer(0.3))
    async with wiro.batch(SLEEPER, [{"seconds": 100}], journal=journal):
        while not emulator.ledger.submissions:  # noqa: ASYNC110 - the emulator's thread sends no event
            await anyio.sleep(0.005)
    assert [task.status for task in emulator.ledger.tasks.values()] == ["task_cancel"]
    (item,) = await through(emulator, [{"seconds": 100}], journal)
    assert item.result is not None
    assert len(emulator.ledger.submissions) == 2
    assert await counts(journal) == {"succeeded": 1}


async def test_failures_come_back_until_retries_are_raised(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path
) -> None:
    """A failed task has ended. More retries run it again, and its attempts add up."""
    requests = [RunRequest(FAILING, {"reason": "Out of memory.", "seconds": 0.05})]
    for retries, submissions in ((0, 1), (0, 1), (2, 3), (2, 3)):
        (item,) = await through(emulator, requests, journal, retries=retries)
        assert isinstance(item.error, TaskFailedError)
        assert item.attempts == retries + 1
        assert len(emulator.ledger.submissions) == submissions


async def test_a_refused_item_is_sent_again_at_once(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """No task was made, so none is searched for."""
    emulator.faults.http("Run/*", Respond(200, b'{"result":false,"errors":[{"code":97,"message":"Balance"}]}'))
    (item,) = await through(emulator, sleeps(1), journal)
    assert item.result is None
    assert await counts(journal) == {"refused": 1}
    emulator.ledger.calls.clear()
    (item,) = await through(emulator, sleeps(1), journal)
    assert item.result is not None
    assert emulator.ledger.count("Task/List") == 1  # for the largest id, before the first run of the session


async def test_other_requests_are_refused(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """A journal of other inputs, or a key with another input, is refused, and nothing is sent."""
    await through(emulator, [RunRequest(SLEEPER, {"seconds": 0.1}, key="a")], journal)
    for requests in ([RunRequest(SLEEPER, {"seconds": 0.2}, key="a")], [RunRequest(SLEEPER, {"seconds": 0.1})] * 9):
        with pytest.raises(JournalError, match=r"other requests.*another"):
            await through(emulator, requests, journal)
    assert len(emulator.ledger.submissions) == 1


async def test_a_key_given_twice(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """The second item with that key has an error. The first one runs."""
    requests = [RunRequest(SLEEPER, {"seconds": 0.1}, key="a")] * 2
    items = await through(emulator, requests, journal)
    assert Counter(type(item.error) for item in items) == {type(None): 1, InvalidInputError: 1}
    assert len(emulator.ledger.submissions) == 1


async def test_inputs_that_cannot_be_sent(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """Each has its own error, the first one too. The others run."""
    requests = [
        RunRequest(SLEEPER, {"x": object()}),
        RunRequest("emulator/mirror", {"inputImage": journal.with_name("missing.png")}),
        RunRequest(SLEEPER, {"seconds": 0.1}),
    ]
    errors = [item.error for item in await through(emulator, requests, journal)]
    assert isinstance(errors[0], InvalidInputError)
    assert isinstance(errors[1], (FileNotFoundError, InvalidInputError))
    assert errors[2] is None


async def test_files_differ_by_their_contents(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path, tmp_path: Path
) -> None:
    """A path and an open file with the same contents are the same request. Other contents are another one."""
    picture = tmp_path / "a.png"
    picture.write_bytes(b"one")
    first = RunRequest("emulator/mirror", {"inputImage": picture, "seconds": 0.1})
    await through(emulator, [first], journal)
    with picture.open("rb") as opened:
        same = RunRequest("emulator/mirror", {"inputImage": opened, "seconds": 0.1})
        await through(emulator, [same], journal)
    assert len(emulator.ledger.submissions) == 1
    picture.write_bytes(b"two")
    with pytest.raises(JournalError, match="other requests"):
        await through(emulator, [first], journal)


async def test_two_batches_on_one_journal(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """The second one gets an error, in the same process and in another one. Afterwards the journal is free."""
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from wiro_async._api.journal.sqlite_store import SqliteStore\n"
        "from wiro_async import JournalError, Tuning\n"
        "async def main():\n"
        "    try:\n"
        "        await SqliteStore(Path(sys.argv[1]), Tuning()).open()\n"
        "    except JournalError as error:\n"
        "        print(error)\n"
        "asyncio.run(main())"
    )
    async with wiro.batch(STUCK, [{}], journal=journal):
        with pytest.raises(JournalError, match="in use by another batch"):
            await wiro.batch(SLEEPER, [{}], journal=journal).__aenter__()
        done = await anyio.run_process([sys.executable, "-c", code, str(journal)], stderr=subprocess.STDOUT)
        assert b"in use by another batch" in done.stdout
    store = SqliteStore(journal, Tuning())
    await store.open()
    await store.aclose()


@pytest.mark.parametrize("damage", ["head", "middle", "text", "folder", "foreign", "newer"])
async def test_a_damaged_journal(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path, damage: str) -> None:
    """It is refused, and nothing is sent."""
    if damage in ("head", "middle", "newer"):
        await through(emulator, sleeps(40), journal)
    await anyio.to_thread.run_sync(spoil, journal, damage)
    emulator.ledger.clear()
    with pytest.raises(JournalError):
        await through(emulator, sleeps(41), journal)
    with pytest.raises(JournalError):
        await counts(journal)
    assert not emulator.ledger.submissions


async def test_a_journal_that_cannot_be_written_ends_the_batch(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path
) -> None:
    """When the disk refuses, nothing more is submitted, and the error says so."""

    got: list[BatchItem] = []

    async def read() -> None:
        async with wiro.batch(SLEEPER, sleeps(100), journal=journal, concurrency=2) as batch:
            async for item in batch:
                got.append(item)
                if len(got) == 5:
                    await anyio.to_thread.run_sync(rewrite, journal, "DROP TABLE items")

    with pytest.raises(JournalError, match="nothing more is submitted"):
        await read()
    assert len(got) <= len(emulator.ledger.submissions) <= 12


def test_reading_a_journal(emulator: WiroEmulator, journal: Path, tmp_path: Path) -> None:
    """It has counts, items, costs, and exports. Only its owner can read it, and exports have no tokens."""
    requests = [
        RunRequest(SLEEPER, {"seconds": 0.1, "n": 1}, key="good"),
        RunRequest(FAILING, {"seconds": 0.1}, key="bad"),
    ]
    asyncio.run(through(emulator, requests, journal))
    with Journal.open(journal) as reader:
        assert reader.counts == {"succeeded": 1, "failed": 1}
        assert len(reader) == 2
        by_key = {item.key: item for item in reader}
        good, bad = by_key["good"], by_key["bad"]
        assert (good.model, good.input, good.attempts) == (SLEEPER, {"seconds": 0.1, "n": 1}, 1)
        assert good.task is not None
        assert good.cost == good.task.cost == reader.cost
        assert bad.error is not None
        assert "CUDA" in bad.error
        assert [item.key for item in reader.items("failed")] == ["bad"]
        lines = reader.export(tmp_path / "a.jsonl").read_text().splitlines()
        table = list(csv.DictReader(reader.export(tmp_path / "a.csv").read_text().splitlines()))
        with pytest.raises(JournalError, match="neither"):
            reader.export(tmp_path / "a.xlsx")
    assert {json.loads(line)["key"] for line in lines} == {row["key"] for row in table} == {"good", "bad"}
    assert good.token is not None
    assert good.token not in "".join(lines)
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    with pytest.raises(JournalError, match="no journal"):
        Journal.open(tmp_path / "none.sqlite")


async def test_a_journal_syncs_every_commit(journal: Path) -> None:
    """`synchronous` is FULL and the mode WAL: SQLite then syncs its log at each commit, so power may fail."""
    database = Database(journal, prepare, Tuning().journal_busy)
    await database.open()

    def pragmas(connection: sqlite3.Connection) -> tuple[object, ...]:
        names = ("synchronous", "journal_mode")
        return tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)

    assert await database.do(pragmas) == (2, "wal")
    await database.aclose()
    with pytest.raises(JournalError, match="closed"):
        await database.do(pragmas)


async def test_callback_urls_identify_undecided_items(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """The id in the callback URL survives the restart."""
    requests = [RunRequest(SLEEPER, {"seconds": 0.1}, callback_url="http://127.0.0.1:9/x") for _ in range(2)]
    await through(emulator, requests, journal)
    rewrite(journal, "UPDATE items SET state = 'undecided', task_id = NULL, token = NULL")
    items = await through(emulator, requests, journal)
    assert [item.error for item in items] == [None, None]
    assert len(emulator.ledger.submissions) == 2
