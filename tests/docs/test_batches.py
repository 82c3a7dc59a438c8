"""The page about batches: its code runs, one block after the other, and prints what the page shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from wiro_async import AsyncWiro
from wiro_async.testing import STANDARD, WiroEmulator

if TYPE_CHECKING:
    from tests.docs.conftest import Printed

PAGE = Path(__file__).parents[2] / "docs" / "batches.md"
TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", TEXT, re.MULTILINE | re.DOTALL)
MODEL = "google/nano-banana-pro"


@pytest.fixture
def leak_check() -> None:
    """The page reads a journal in the loop, as small programs do."""


@pytest.mark.skipif(not PAGE.exists(), reason="only where the page is")
async def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: Printed) -> None:
    """Every block runs, every shown output is the real one."""
    painter = next(model for model in STANDARD if model.slug == "emulator/painter")
    monkeypatch.chdir(tmp_path)
    with WiroEmulator(models=[attrs.evolve(painter, slug=MODEL)], speed=50) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro:
            names: dict[str, Any] = {"wiro": wiro}
            for code, expected in BLOCKS:
                assert await printed(code, names) == expected
    assert len(BLOCKS) == 7
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 3
    assert "3 of 3" in (tmp_path / "report.html").read_text()
