"""The page about realtime models: its code runs, against the emulator."""

from __future__ import annotations

import ast
import inspect
import os
import re
import wave
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from wiro_async.testing import WiroEmulator

PAGE = Path(__file__).parents[1] / "docs" / "realtime.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, emulator: WiroEmulator) -> Path:
    """A folder with a question, and keys in the environment."""
    monkeypatch.setenv("WIRO_API_KEY", emulator.api_key)
    monkeypatch.setenv("WIRO_API_SECRET", emulator.api_secret or "")
    monkeypatch.setenv("WIRO_API_BASE_URL", emulator.base_url)
    monkeypatch.setenv("WIRO_SOCKET_URL", emulator.socket_url)
    monkeypatch.chdir(tmp_path)
    with wave.open(str(tmp_path / "question.wav"), "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", "not compressed"))
        file.writeframes(os.urandom(48_000))
    return tmp_path


async def test_the_page(folder: Path, emulator: WiroEmulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Every block runs, one after the other, and every session ends as it should."""
    page, names, blocks = PAGE.read_text(encoding="utf-8"), dict[str, Any](), 0
    for match in BLOCK.finditer(page):
        lines = "\n" * (page.count("\n", 0, match.start()) + 1)
        code = compile(lines + match[1], str(PAGE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        ran = eval(code, names)
        if inspect.isawaitable(ran):
            await ran
        blocks += 1
    shown = capsys.readouterr().out
    assert blocks == 5
    assert {task.pexit for task in emulator.ledger.tasks.values()} == {"0"}
    assert "user: This was turn 1.\nassistant: I heard turn 1.\n$0.002 so far\n0.002" in shown
    assert "24000 samples\n48000 samples\n" in shown
    assert (folder / "answer.wav").read_bytes() == (folder / "question.wav").read_bytes()
    assert f"{(folder / 'morning.wav').stat().st_size / 48_000:.2f} s" in shown
    assert names["session"].cost == Decimal("0.002")
