"""Outputs that are saved as items end."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async import AsyncWiro, DownloadError, Output, RunRequest
from wiro_async._api.batch.output_saver import file_stem
from wiro_async._api.journal.journal_schema import checksum_of
from wiro_async._api.journal.sqlite_statements import COLUMNS
from wiro_async.testing import Delay, Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until

PAINTER = "emulator/painter"
SMALL = {"prompt": "A boat", "width": 16, "height": 16, "seconds": 0.1}


async def test_names_and_contents(wiro: AsyncWiro, tmp_path: Path) -> None:
    """Each item's pictures are named by its key and a number."""
    requests = [RunRequest(PAINTER, {**SMALL, "images": 2}, key=key) for key in ("one", "../two")]
    async with wiro.batch(requests, save_to=tmp_path / "out") as batch:
        items = {item.key: item for item in await batch.results()}
    assert [path.name for path in items["one"].saved] == ["one-1.png", "one-2.png"]
    assert len(items["../two"].saved) == 2
    for item in items.values():
        for path in item.saved:
            assert path.parent == tmp_path / "out"


async def test_a_broken_download_keeps_the_result(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """The item has its result, and a separate error for the file."""
    emulator.faults.http("files/*", Respond(403), times=None)
    async with wiro.batch(PAINTER, [SMALL], save_to=tmp_path) as batch:
        (item,) = await batch.results()
    assert item.result is not None
    assert item.error is None
    assert isinstance(item.save_error, DownloadError)
    assert item.saved == ()


async def test_the_journal_knows_what_is_saved(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """A second start downloads only what is missing, under the same name."""
    requests = [RunRequest(PAINTER, {**SMALL, "seed": seed}, key=f"{seed}") for seed in range(3)]

    async def saved() -> list[tuple[Path, ...]]:
        emulator.ledger.calls.clear()
        async with wiro.batch(requests, save_to=tmp_path / "out", journal=tmp_path / "run.sqlite") as batch:
            return [item.saved for item in sorted(await batch.results(), key=lambda item: item.index)]

    first = await saved()
    assert await saved() == first
    assert not emulator.ledger.calls
    (tmp_path / "out" / "1-1.png").unlink()
    assert await saved() == first
    assert emulator.ledger.count("files/*") == len(emulator.ledger.calls) == 1


async def test_other_files_are_kept(wiro: AsyncWiro, journal: Path, tmp_path: Path) -> None:
    """With a journal, too: only files that it knows as the item's own are overwritten."""
    theirs = tmp_path / "out" / "cat-1.png"
    theirs.parent.mkdir()
    theirs.write_bytes(b"irreplaceable")
    requests = [RunRequest(PAINTER, SMALL, key="cat")]

    async def saved() -> tuple[Path, ...]:
        async with wiro.batch(requests, save_to=tmp_path / "out", journal=journal) as batch:
            (item,) = await batch.results()
        return item.saved

    first = await saved()
    assert [path.name for path in first] == ["cat-1-2.png"]
    assert theirs.read_bytes() == b"irreplaceable"
    first[0].unlink()
    assert await saved() == first


async def test_killed_before_the_saved_paths_were_written(wiro: AsyncWiro, journal: Path, tmp_path: Path) -> None:
    """The second start saves it under the same name, which the journal had planned."""
    requests = [RunRequest(PAINTER, SMALL, key="cat")]
    names: list[list[str]] = []
    for _ in range(2):
        async with wiro.batch(requests, save_to=tmp_path / "out", journal=journal) as batch:
            (item,) = await batch.results()
        names.append([path.name for path in item.saved])
        connection = sqlite3.connect(journal)
        connection.create_function("checksum_of", -1, checksum_of)
        with connection:
            connection.execute("UPDATE items SET saved = NULL")
            connection.execute(f"UPDATE items SET checksum = checksum_of({COLUMNS})")
        connection.close()
    assert names == [["cat-1.png"]] * 2
    assert len(list((tmp_path / "out").iterdir())) == 1


async def test_any_error_in_saving_is_the_items_error(
    wiro: AsyncWiro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result stays complete."""

    def broken(output: Output, *arguments: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Output, "save", broken)
    async with wiro.batch(PAINTER, [SMALL], save_to=tmp_path) as batch:
        (item,) = await batch.results()
    assert isinstance(item.save_error, ZeroDivisionError)
    assert item.result is not None


async def test_time_left_while_downloads_wait(
    emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path, until: Until
) -> None:
    """A batch whose runs have ended still has time left until its files are saved."""
    emulator.faults.http("files/*", Delay(1.0), after=1, times=None)
    async with wiro.batch(PAINTER, [{**SMALL, "n": n} for n in range(3)], save_to=tmp_path) as batch:
        await anext(batch)
        await until(lambda: batch.stats.succeeded == 3)
        assert batch.stats.eta != 0
        await batch.results()
    assert batch.stats.eta == 0


async def test_text_is_saved_too(wiro: AsyncWiro, tmp_path: Path) -> None:
    """An LLM's answer becomes a text file; failed items have nothing to save."""
    requests = [
        RunRequest("emulator/writer", {"prompt": "Hello"}, key="a"),
        RunRequest("emulator/failing", {"seconds": 0.1}, key="b"),
    ]
    async with wiro.batch(requests, save_to=tmp_path) as batch:
        items = {item.key: item for item in await batch.results()}
    assert [path.suffix for path in items["a"].saved] == [".txt"]
    assert items["b"].saved == ()


@pytest.mark.parametrize("key", ["plain", "with space", "ünï"])
def test_safe_keys_are_file_names(key: str) -> None:
    """A safe key is not changed."""
    assert file_stem(key) == key


@given(st.lists(st.text(max_size=300), unique=True, max_size=6))
def test_different_keys_have_different_names(keys: list[str]) -> None:
    """Even for strange keys no file replaces another, and none leaves its directory."""
    stems = [file_stem(key) for key in keys]
    assert len(set(stems)) == len(keys)
    assert not any(set("/\\\0") & set(stem) or stem in ("", ".", "..") for stem in stems)
    assert all(len(stem.encode()) < 230 for stem in stems)
