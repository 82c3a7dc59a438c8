"""Journals of every schema that was ever used open in this version.

A file of each lies in `files`, with an item in every state. Do not change them: a new schema adds a new file.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from wiro_async import AsyncWiro, Journal, SubmissionUnknownError, Tuning
from wiro_async.testing import WiroEmulator

FILES = Path(__file__).parent / "files"
SLEEPER = "emulator/sleeper"
SECONDS = {"seconds": 0.1}
STATES = {"sleeper-0": "succeeded", "sleeper-1": "submitted", "sleeper-2": "undecided", "sleeper-3": "cancelled"}
STATES |= {"painter": "succeeded", "failed": "failed", "refused": "refused"}


@pytest.fixture(params=sorted(path.name for path in FILES.iterdir()))
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A journal of an earlier version."""
    name: str = request.param
    return Path(shutil.copy(FILES / name, tmp_path / name))


def test_it_is_read_as_it_is(old: Path) -> None:
    """Reading changes nothing."""
    before = old.read_bytes()
    with Journal.open(old) as journal:
        items = {item.key: item for item in journal}
        assert len(journal) == len(items)
        assert sum(journal.counts.values()) == len(items)
        assert [item.key for item in journal.items("succeeded")] == ["sleeper-0", "painter"]
    assert {key: items[key].state for key in STATES} == STATES
    assert items["painter"].input == {"prompt": "ein Boot, ü中"}
    assert items["painter"].task is not None
    assert items["sleeper-1"].token
    assert old.read_bytes() == before


async def test_it_is_used(old: Path) -> None:
    """Nothing that it knows is sent again, and what it does not know is not guessed."""
    tuning = Tuning(journal_grace=0.1, search_pause=0.05, search_max_pause=0.1)
    with WiroEmulator(speed=50, tuning=tuning) as emulator:
        async with AsyncWiro(**emulator.options(), journal=old) as wiro:
            result = await wiro.run(SLEEPER, SECONDS, key="sleeper-0")
            assert result.replayed
            assert (await wiro.run("emulator/painter", {"prompt": "ein Boot, ü中"}, key="painter")).replayed
            assert not emulator.ledger.submissions
            with pytest.raises(SubmissionUnknownError):
                await wiro.run(SLEEPER, SECONDS, key="sleeper-2")
            assert not emulator.ledger.submissions
            for key in ("sleeper-3", "new"):
                assert not (await wiro.run(SLEEPER, SECONDS, key=key)).replayed
            assert len(emulator.ledger.submissions) == 2
            item = await wiro.journal.get("sleeper-1")
            assert item is not None
            assert (item.state, bool(item.token)) == ("submitted", True)
