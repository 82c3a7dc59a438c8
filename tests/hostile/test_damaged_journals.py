"""The file of a journal is lost, damaged, copied or put back: it is refused by name, and nothing is billed twice."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import pytest

from wiro_async import AsyncWiro, Journal, JournalError, Tuning

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

MODEL = "owner/model"
KEYS = 12
Change: TypeAlias = Callable[[Path], object]


def session(raw: RawWiro, journal: Path, **tuning: Any) -> AsyncWiro:
    """A session with a journal."""
    return AsyncWiro(**raw.options(), updates="polling", journal=journal, tuning=Tuning(poll_first=0.02, **tuning))


async def run_all(raw: RawWiro, journal: Path, count: int = KEYS) -> None:
    """Run each key once, in a session of its own."""
    async with session(raw, journal) as wiro:
        await wiro.journal.counts()
        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(run_one, wiro, number)


async def run_one(wiro: AsyncWiro, number: int) -> None:
    """Run one key."""
    await wiro.run(MODEL, {"prompt": str(number)}, key=f"order-{number}", timeout=10)


def billed_twice(raw: RawWiro) -> list[str]:
    """The prompts that were run more than once, by the server's own account."""
    return [prompt for prompt, times in Counter(str(given.get("prompt")) for _, given in raw.runs).items() if times > 1]


@pytest.fixture
def journal(raw: RawWiro, tmp_path: Path) -> Path:
    """The path of a journal, in a folder of its own, of a service that answers everything."""

    async def run(peer: Peer) -> None:
        await peer.respond_json(raw.take_run(MODEL, peer.sent))

    raw.routes["Run"] = run
    (tmp_path / "journals").mkdir()
    return tmp_path / "journals" / "orders.sqlite"


def overwrite(journal: Path, offset: int, data: bytes) -> None:
    """Change bytes of the file in place."""
    with journal.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def cut(journal: Path, part: float) -> None:
    """Cut the file off, at the end of a page."""
    size = journal.stat().st_size
    os.truncate(journal, int(size * part) // 4096 * 4096)


def flip(journal: Path, text: bytes, to: bytes) -> None:
    """Change each place that holds a text."""
    data = journal.read_bytes()
    assert text in data
    journal.write_bytes(data.replace(text, to))


def flip_last(journal: Path, text: bytes, to: bytes) -> None:
    """Change the last place that holds a text."""
    data = journal.read_bytes()
    start = data.rindex(text)
    overwrite(journal, start, to)


def copy_over(journal: Path) -> None:
    """Put a copy in its place."""
    shutil.copy(journal, other := journal.with_name("copy"))
    other.replace(journal)


def link(journal: Path) -> None:
    """Give it a second name."""
    os.link(journal, journal.with_name("second.sqlite"))


def foreign(journal: Path) -> None:
    """Put another database there."""
    journal.unlink()
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("CREATE TABLE other (x)")


def folder(journal: Path) -> None:
    """Put a folder there."""
    journal.unlink()
    journal.mkdir()


AT_REST: dict[str, tuple[Change, str]] = {
    "removed": (lambda journal: journal.unlink(), "was removed or moved since it was last used"),
    "moved": (lambda journal: journal.rename(journal.with_name("elsewhere")), "was removed or moved"),
    "emptied": (lambda journal: os.truncate(journal, 0), "was emptied since it was last used"),
    "cut in the middle": (lambda journal: cut(journal, 0.5), "damaged"),
    "cut behind the first page": (lambda journal: os.truncate(journal, 4096), "damaged"),
    "cut within a page": (lambda journal: os.truncate(journal, 5000), "damaged"),
    "without its head": (lambda journal: overwrite(journal, 0, bytes(100)), "damaged or is no journal"),
    "with zeros inside": (lambda journal: overwrite(journal, 4096, bytes(4096)), "damaged"),
    "with noise at its end": (
        lambda journal: overwrite(journal, journal.stat().st_size - 4096, b"\xff" * 4096),
        "damaged",
    ),
    "with a bit in all texts of a key": (
        lambda journal: flip(journal, b"order-3", b"order-\xb3"),
        "damaged|not as it was",
    ),
    "with a bit in one text of a key": (
        lambda journal: flip_last(journal, b"order-3", b"order-7"),
        "damaged|not as it was",
    ),
    "with a bit in a token": (lambda journal: flip(journal, b"token-1003", b"token-1103"), "not as it was written"),
    "with a bit in a state": (lambda journal: flip(journal, b"succeeded", b"succeedec"), "not as it was written"),
    "replaced by a copy": (copy_over, "is a copy of another file"),
    "linked": (link, "has a second name"),
    "replaced by another database": (foreign, "is another one than the one that was used here"),
    "replaced by text": (lambda journal: journal.write_text("nothing" * 999), "damaged or is no journal"),
    "replaced by a folder": (folder, "cannot be opened|cannot be used"),
}


@pytest.mark.parametrize("change, words", AT_REST.values(), ids=AT_REST)
async def test_at_rest(raw: RawWiro, journal: Path, change: Change, words: str) -> None:
    """The error names the file, and what to do. No run is sent."""
    await run_all(raw, journal)
    await asyncio.to_thread(change, journal)
    with pytest.raises((JournalError, ExceptionGroup)) as caught:
        await run_all(raw, journal)
    errors = caught.value.exceptions if isinstance(caught.value, ExceptionGroup) else [caught.value]
    assert all(isinstance(error, JournalError) and "orders.sqlite" in str(error) for error in errors)
    assert re.search(words, str(errors[0]))
    assert len(raw.runs) == KEYS


async def test_an_older_state_put_back(raw: RawWiro, journal: Path) -> None:
    """A copy that is written over the file has its inode. The lock file knows more changes."""
    await run_all(raw, journal, 3)
    older = await asyncio.to_thread(journal.read_bytes)
    await run_all(raw, journal)
    await asyncio.to_thread(journal.write_bytes, older)
    with pytest.raises(JournalError, match="is an older state of itself"):
        await run_all(raw, journal, 0)
    assert len(raw.runs) == KEYS


async def test_another_journal_put_there(raw: RawWiro, journal: Path, tmp_path: Path) -> None:
    """It would not know the runs of this one."""
    await run_all(raw, journal, 3)
    await run_all(raw, other := tmp_path / "other.sqlite", 1)
    raw.runs.clear()
    await asyncio.to_thread(lambda: journal.write_bytes(other.read_bytes()))
    with pytest.raises(JournalError, match=r"is a copy of another file|is another one than"):
        await run_all(raw, journal, 0)
    assert raw.runs == []


def back_up(journal: Path, target: Path) -> Path:
    """Make a copy that can be used."""
    with Journal.open(journal) as reader:
        return reader.backup(target)


def keys_of(journal: Path) -> set[str]:
    """The keys in a journal."""
    with Journal.open(journal) as reader:
        return {item.key for item in reader}


async def test_a_copy_elsewhere(raw: RawWiro, journal: Path, tmp_path: Path) -> None:
    """Two files that both go on would both send the runs of a key. A backup is what can be used."""
    await run_all(raw, journal, 3)
    copy = tmp_path / "copy.sqlite"
    await asyncio.to_thread(shutil.copy, journal, copy)
    with pytest.raises(JournalError, match=r"Journal\.open\(…\)\.backup\(…\) makes a journal of the copy"):
        await run_all(raw, copy, 0)
    await run_all(raw, await asyncio.to_thread(back_up, copy, tmp_path / "usable.sqlite"))
    assert (len(raw.runs), billed_twice(raw)) == (KEYS, [])


@pytest.mark.parametrize("side_file", ["orders.sqlite-lock", "orders.sqlite-journal", "orders.sqlite-wal"])
async def test_a_lost_side_file(raw: RawWiro, journal: Path, side_file: str) -> None:
    """The file itself is whole after each commit."""
    await run_all(raw, journal, 5)
    left = await asyncio.to_thread(os.listdir, journal.parent)
    assert set(left) == {"orders.sqlite", "orders.sqlite-lock"}
    await asyncio.to_thread(journal.with_name(side_file).unlink, missing_ok=True)
    await run_all(raw, journal)
    assert (len(raw.runs), billed_twice(raw)) == (KEYS, [])


async def test_a_damaged_lock_file(raw: RawWiro, journal: Path) -> None:
    """It is only a witness: a new one is made, and the log says so."""
    await run_all(raw, journal, 5)
    await asyncio.to_thread(journal.with_name("orders.sqlite-lock").write_bytes, b"nothing" * 999)
    await run_all(raw, journal)
    assert (len(raw.runs), billed_twice(raw)) == (KEYS, [])


async def test_a_new_one_on_purpose(raw: RawWiro, journal: Path) -> None:
    """The remedy of the error works."""
    await run_all(raw, journal, 1)
    for path in (journal, journal.with_name("orders.sqlite-lock")):
        await asyncio.to_thread(path.unlink)
    await run_all(raw, journal, 1)
    assert len(raw.runs) == 2


async def test_a_renamed_journal(raw: RawWiro, journal: Path, tmp_path: Path) -> None:
    """It is the same file, so it goes on under its new name."""
    await run_all(raw, journal, 5)
    await run_all(raw, await asyncio.to_thread(journal.rename, tmp_path / "renamed.sqlite"))
    assert (len(raw.runs), billed_twice(raw)) == (KEYS, [])


def swap(journal: Path) -> None:
    """Put a new file in its place."""
    journal.unlink()
    journal.touch()


WHILE_OPEN: dict[str, Change] = {
    "removed": lambda journal: journal.unlink(),
    "moved": lambda journal: journal.rename(journal.with_name("elsewhere")),
    "emptied": lambda journal: os.truncate(journal, 0),
    "cut": lambda journal: cut(journal, 0.5),
    "replaced by a copy": copy_over,
    "replaced by an empty file": swap,
    "linked": link,
    "its lock file removed": lambda journal: journal.with_name("orders.sqlite-lock").unlink(),
    "its folder moved": lambda journal: journal.parent.rename(journal.parent.with_name("moved")),
}


@pytest.mark.parametrize("change", WHILE_OPEN.values(), ids=WHILE_OPEN)
async def test_while_it_is_open(raw: RawWiro, journal: Path, change: Change) -> None:
    """No further run is sent, and a program that starts again does not send those that were sent."""
    async with session(raw, journal) as wiro:
        for number in range(3):
            await wiro.run(MODEL, {"prompt": str(number)}, key=f"order-{number}", timeout=10)
        await wiro.journal.counts()  # the ends of these runs are written
        await asyncio.to_thread(change, journal)
        for _ in range(2):
            with pytest.raises(JournalError, match=r"[Nn]othing more is submitted"):
                await wiro.run(MODEL, {"prompt": "more"}, key="more", timeout=10)
    assert len(raw.runs) == 3


async def test_between_intent_and_token(raw: RawWiro, journal: Path) -> None:
    """The task is stopped or reported, and the key is not sent again by a program that starts again."""
    sent, answer = asyncio.Event(), asyncio.Event()

    async def run(peer: Peer) -> None:
        taken = raw.take_run(MODEL, peer.sent)
        sent.set()
        await answer.wait()
        await peer.respond_json(taken)

    raw.routes["Run"] = run
    async with session(raw, journal) as wiro:
        running = asyncio.create_task(wiro.run(MODEL, {"prompt": "x"}, key="order-1", timeout=10))
        await sent.wait()
        await asyncio.to_thread(os.truncate, journal, 0)
        answer.set()
        with pytest.raises(JournalError):
            await running
    with pytest.raises(JournalError, match="was emptied"):
        await run_all(raw, journal, 0)
    assert len(raw.runs) == 1


async def test_a_backup_under_load(raw: RawWiro, journal: Path, tmp_path: Path) -> None:
    """It has what was there, opens, and leaves the session unharmed."""

    async with session(raw, journal) as wiro:
        await wiro.run(MODEL, {"prompt": "0"}, key="order-0", timeout=10)
        backup = asyncio.create_task(asyncio.to_thread(back_up, journal, tmp_path / "backup.sqlite"))
        for number in range(1, KEYS):
            await wiro.run(MODEL, {"prompt": str(number)}, key=f"order-{number}", timeout=10)
        path = await backup
    assert "order-0" in await asyncio.to_thread(keys_of, path)
    with pytest.raises(JournalError, match="it exists"):
        await asyncio.to_thread(back_up, journal, path)
    async with session(raw, path) as wiro:
        assert (await wiro.run(MODEL, {"prompt": "0"}, key="order-0", timeout=10)).replayed
    assert billed_twice(raw) == []


def lock_for(journal: Path, seconds: float) -> threading.Thread:
    """Lock the file, as a database browser does."""
    connection = sqlite3.connect(journal, check_same_thread=False, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")

    def release() -> None:
        time.sleep(seconds)
        connection.close()

    thread = threading.Thread(target=release)
    thread.start()
    return thread


async def test_a_journal_that_is_locked_by_another_program(raw: RawWiro, journal: Path) -> None:
    """It is waited for, at the beginning and while it is in use, and the event loop goes on."""
    await run_all(raw, journal, 1)
    for number in (1, 2):
        other = await asyncio.to_thread(lock_for, journal, 1.0)
        await run_all(raw, journal, number + 1)
        await asyncio.to_thread(other.join)
    async with session(raw, journal) as wiro:
        await wiro.run(MODEL, {"prompt": "3"}, key="order-3", timeout=10)
        other = await asyncio.to_thread(lock_for, journal, 1.0)
        await wiro.run(MODEL, {"prompt": "4"}, key="order-4", timeout=10)
        await asyncio.to_thread(other.join)
    assert billed_twice(raw) == []


async def test_a_lock_that_lasts_is_no_damage(raw: RawWiro, journal: Path) -> None:
    """The error says who may hold it."""
    await run_all(raw, journal, 1)
    other = await asyncio.to_thread(lock_for, journal, 1.0)
    with pytest.raises(JournalError, match=r"is locked by another program.*It is not damaged"):
        async with session(raw, journal, journal_busy=0.1) as wiro:
            await wiro.run(MODEL, {"prompt": "1"}, key="order-1", timeout=10)
    await asyncio.to_thread(other.join)
    await run_all(raw, journal, 2)
    assert billed_twice(raw) == []
