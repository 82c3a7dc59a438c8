"""Journals of awkward items: shared files, odd text, repeated keys, items that run again."""

from __future__ import annotations

import csv
import io
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from wiro_async import AsyncWiro, BatchItem, File, InvalidInputError, Journal, RunRequest, TaskFailedError
from wiro_async._api.journal.journal_schema import checksum_of
from wiro_async._api.journal.sqlite_statements import COLUMNS
from wiro_async.testing import Respond, WiroEmulator

SLEEPER = "emulator/sleeper"
BIG = 3 * 1024 * 1024


def rewrite(journal: Path, sql: str) -> None:
    """Change a journal behind the library's back, with the right checksums."""
    connection = sqlite3.connect(journal)
    connection.create_function("checksum_of", -1, checksum_of)
    with connection:
        connection.execute(sql)
        with suppress(sqlite3.OperationalError):  # it is no journal
            connection.execute(f"UPDATE items SET checksum = checksum_of({COLUMNS})")
    connection.close()


async def through(wiro: AsyncWiro, inputs: Any, journal: Path | None, **settings: Any) -> list[BatchItem]:
    """All items of a batch, by index."""
    async with wiro.batch(SLEEPER, inputs, journal=journal, **settings) as batch:
        return sorted(await batch.results(), key=lambda item: item.index)


async def test_an_open_file_shared_by_all_inputs(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path, tmp_path: Path
) -> None:
    """Many items read it at once, to hash and to send it. Each gets all of it, and each key stays the same."""
    picture = tmp_path / "big.bin"
    picture.write_bytes(bytes(range(256)) * (BIG // 256))
    keys: list[list[str]] = []
    for _ in range(2):
        with picture.open("rb") as opened:
            opened.seek(100)
            inputs = [{"seconds": 0.1, "n": n, "inputImage": opened} for n in range(12)]
            items = await through(wiro, inputs, journal, concurrency=6)
        assert [item.error for item in items] == [None] * 12
        keys.append([item.key for item in items])
    assert keys[0] == keys[1]
    sizes = {upload.size for made in emulator.ledger.submissions for upload in made.files}
    assert (sizes, len(emulator.ledger.submissions)) == ({BIG - 100}, 12)


async def test_odd_text_in_keys_and_logs(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path, tmp_path: Path
) -> None:
    """Half of a surrogate pair, as in file names and in logs that were cut, breaks neither a batch nor its restart."""
    cut = rb'{"tasklist":[{"id":"3066517","status":"task_postprocess_end","pexit":"1","debugoutput":"boom \ud83d"}]}'
    emulator.faults.http("Task/Detail", Respond(200, cut))
    requests = [RunRequest(SLEEPER, {"seconds": 0.1}, key=key) for key in ("=cut", "caf\udce9.png", "last")]
    for _ in range(2):
        items = await through(wiro, requests, journal, concurrency=1)
        assert [item.key for item in items] == [request.key for request in requests]
        assert [type(item.error) for item in items] == [TaskFailedError, type(None), type(None)]
    assert len(emulator.ledger.submissions) == 3

    def look() -> list[dict[str, str]]:
        with Journal.open(journal) as seen:
            seen.export(tmp_path / "a.jsonl")
            return list(csv.DictReader(seen.export(tmp_path / "a.csv").read_text().splitlines(keepends=True)))

    rows = await anyio.to_thread.run_sync(look)
    assert [row["key"] for row in rows] == ["'=cut", "caf\\udce9.png", "last"]
    assert "boom \\ud83d" in rows[0]["error"]


class SlowFile(io.BytesIO):
    """A file that is slow to read."""

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.1)
        return super().read(size)


async def test_of_two_with_one_key_the_first_wins(wiro: AsyncWiro, journal: Path) -> None:
    """At every start, although its file is slow to read and the other one has another input."""
    for _ in range(2):
        requests = [
            RunRequest(SLEEPER, {"seconds": 0.1}, key="z"),
            RunRequest(SLEEPER, {"seconds": 0.1, "image": File(SlowFile(b"picture"), "a.png")}, key="a"),
            RunRequest(SLEEPER, {"seconds": 0.1, "n": 2}, key="a"),
        ]
        items = await through(wiro, requests, journal, concurrency=3)
        assert [type(item.error) for item in items] == [type(None), type(None), InvalidInputError]


async def test_failed_items_run_again_with_their_journal(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path
) -> None:
    """Passed as items they run again, as often as `retries` says, and their attempts add up."""
    inputs = [{"seconds": 0.1, "fail": "true"}, {"seconds": 0.1}]
    failed = [item for item in await through(wiro, inputs, journal) if item.error]
    (item,) = await through(wiro, failed, journal, retries=1)
    assert (item.attempts, len(emulator.ledger.submissions)) == (3, 4)
    assert [item.attempts for item in await through(wiro, inputs, journal)] == [3, 1]
    assert len(emulator.ledger.submissions) == 4


async def test_an_index_is_no_key(emulator: WiroEmulator, wiro: AsyncWiro, journal: Path) -> None:
    """The first items of two batches without a journal are two items of one journal."""
    failed = [
        *await through(wiro, [{"seconds": 0.1, "fail": "true"}], None),
        *await through(wiro, [{"seconds": 0.2, "fail": "true"}], None),
    ]
    assert [item.key for item in failed] == ["0", "0"]
    items = await through(wiro, failed, journal)
    assert [type(item.error) for item in items] == [TaskFailedError] * 2
    assert len(emulator.ledger.submissions) == 4


async def test_an_empty_key_is_a_key(wiro: AsyncWiro, journal: Path, tmp_path: Path) -> None:
    """A number is one too, as text."""
    requests = [RunRequest(SLEEPER, {"seconds": 0.1}, key=key) for key in ("", 0, 7)]
    for where in (None, journal):
        items = await through(wiro, requests, where, save_to=tmp_path / "out")
        assert [item.key for item in items] == ["", "0", "7"]
        assert [item.save_error for item in items] == [None] * 3


@pytest.mark.parametrize("key", [1.5, True, b"a"], ids=repr)
def test_invalid_keys(key: Any) -> None:
    """The request refuses them."""
    with pytest.raises(InvalidInputError, match="whole number"):
        RunRequest(SLEEPER, {}, key=key)


async def test_an_undecided_item_finds_its_own_task_by_its_callback(
    emulator: WiroEmulator, wiro: AsyncWiro, journal: Path
) -> None:
    """Another undecided item differs from it only by its file."""
    requests = [
        RunRequest(SLEEPER, {"seconds": 0.1}, key="plain"),
        RunRequest(
            SLEEPER, {"seconds": 0.1, "image": File(b"abc", "a.bin")}, key="file", callback_url="http://127.0.0.1:9/x"
        ),
    ]
    await through(wiro, requests, journal)
    rewrite(journal, "UPDATE items SET state = 'undecided', task_id = NULL, token = NULL, record = NULL")
    async with AsyncWiro(**emulator.options()) as later:
        items = await through(later, requests, journal, journal_grace=0.1)
    assert items[1].error is None
    assert len(emulator.ledger.submissions) == 2


async def test_projects_of_items(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Each item may be billed to another project."""
    requests = [RunRequest(SLEEPER, {"seconds": 0.1}, project_id=project) for project in ("716", None)]
    await through(wiro, requests, None, concurrency=1)
    assert [made.project_id for made in emulator.ledger.submissions] == ["716", ""]


def test_items_match_by_position() -> None:
    """In the documented order: index, key, input, result, error, attempts."""
    item = BatchItem(3, "k", RunRequest(SLEEPER, {"x": 1}), None, ValueError("no"), 2)
    match item:
        case BatchItem(3, key, given, None, error, attempts):
            assert (key, given, str(error), attempts) == ("k", {"x": 1}, "no", 2)
        case _:
            pytest.fail("no match")
