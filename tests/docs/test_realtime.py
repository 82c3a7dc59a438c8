"""The page about realtime models: its code runs, against the emulator."""

from __future__ import annotations

import os
import wave
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wiro_async.testing import WiroEmulator

if TYPE_CHECKING:
    from tests.docs.conftest import RunPage


@pytest.fixture
def folder(emulator: WiroEmulator, in_folder: Callable[[WiroEmulator], Path]) -> Path:
    """A folder with a question, and keys in the environment."""
    path = in_folder(emulator)
    with wave.open(str(path / "question.wav"), "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", "not compressed"))
        file.writeframes(os.urandom(48_000))
    return path


async def test_the_page(
    folder: Path, emulator: WiroEmulator, run_page: RunPage, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block runs, one after the other, and every session ends as it should."""
    names, blocks = await run_page("realtime.md")
    shown = capsys.readouterr().out
    assert blocks == 5
    assert {task.pexit for task in emulator.ledger.tasks.values()} == {"0"}
    assert "user: This was turn 1.\nassistant: I heard turn 1.\n$0.002 so far\n0.002" in shown
    assert "24000 samples\n48000 samples\n" in shown
    assert (folder / "answer.wav").read_bytes() == (folder / "question.wav").read_bytes()
    assert f"{(folder / 'morning.wav').stat().st_size / 48_000:.2f} s" in shown
    assert names["session"].cost == Decimal("0.002")
