"""Outputs that are saved as items end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async import AsyncWiro, DownloadError, RunRequest
from wiro_async._api.batch.saving import file_stem
from wiro_async.testing import Respond, WiroEmulator

PAINTER = "emulator/painter"
SMALL = {"prompt": "A boat", "width": 16, "height": 16, "seconds": 0.1}


async def test_names_and_contents(wiro: AsyncWiro, tmp_path: Path) -> None:
    """Two pictures of each item lie where the item says, by key and number."""
    requests = [RunRequest(PAINTER, {**SMALL, "images": 2}, key=key) for key in ("one", "../two")]
    async with wiro.batch(requests, save_to=tmp_path / "out") as batch:
        items = {item.key: item for item in await batch.results()}
    assert [path.name for path in items["one"].saved] == ["one-1.png", "one-2.png"]
    assert len(items["../two"].saved) == 2
    for item in items.values():
        for path in item.saved:
            assert path.parent == tmp_path / "out"


async def test_a_broken_download_does_not_cost_the_result(
    emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path
) -> None:
    """The item has its result, and an error of its own for the file."""
    emulator.faults.http("files/*", Respond(403), times=None)
    async with wiro.batch(PAINTER, [SMALL], save_to=tmp_path) as batch:
        (item,) = await batch.results()
    assert item.result is not None
    assert item.error is None
    assert isinstance(item.save_error, DownloadError)
    assert item.saved == ()


async def test_the_journal_knows_what_is_saved(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """A second start downloads only what is not there any more, under the same name."""
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
def test_good_keys_stay_as_they_are(key: str) -> None:
    """What is safe is not changed."""
    assert file_stem(key) == key


@given(st.lists(st.text(max_size=300), unique=True, max_size=6))
def test_different_keys_have_different_names(keys: list[str]) -> None:
    """However strange the keys, no file takes another's place, and none leaves its directory."""
    stems = [file_stem(key) for key in keys]
    assert len(set(stems)) == len(keys)
    assert not any(set("/\\\0") & set(stem) or stem in ("", ".", "..") for stem in stems)
    assert all(len(stem.encode()) < 230 for stem in stems)
