"""The page about keys and journals: its code runs, and prints what the page shows."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from wiro_async.testing import STANDARD, WiroEmulator

if TYPE_CHECKING:
    from tests.docs.conftest import Printed

PAGE = Path(__file__).parents[2] / "docs" / "journal.md"
TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not PAGE.exists(), reason="only where the page is")
async def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: Printed) -> None:
    """Every block runs, every shown output is the real one, and one key makes one bill."""
    painter = next(model for model in STANDARD if model.slug == "emulator/painter")
    monkeypatch.chdir(tmp_path)
    with WiroEmulator(models=[attrs.evolve(painter, slug="google/nano-banana-pro")], speed=50) as emulator:
        for name, value in emulator.options().items():
            monkeypatch.setenv(f"WIRO_{'API_BASE_URL' if name == 'base_url' else name.upper()}", str(value))
        names: dict[str, Any] = {}
        for code, expected in BLOCKS:
            if "await" in code:
                assert await printed(code, names) == expected
            else:  # a program without an event loop
                await asyncio.to_thread(exec, code, names)
        assert len(emulator.ledger.submissions) == 1
    assert len(BLOCKS) == 3
    assert (tmp_path / "orders-backup.sqlite").is_file()
    assert "order-123" in (tmp_path / "orders.csv").read_text()
