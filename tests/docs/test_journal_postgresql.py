"""The page about a journal in PostgreSQL: its code runs against a real server, and prints what the page shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from wiro_async.testing import STANDARD, WiroEmulator

if TYPE_CHECKING:
    from tests.docs.conftest import Printed

PAGE = Path(__file__).parents[2] / "docs" / "journal-postgresql.md"
TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", TEXT, re.MULTILINE | re.DOTALL)
MODEL = "google/nano-banana-pro"


@pytest.mark.skipif(not PAGE.exists(), reason="only where the page is")
async def test_the_page(in_folder: Any, database_url: str, printed: Printed) -> None:
    """Every block runs, every shown output is the real one, and each key is billed once."""
    painter = next(model for model in STANDARD if model.slug == "emulator/painter")
    with WiroEmulator(models=[attrs.evolve(painter, slug=MODEL)], speed=50) as emulator:
        in_folder(emulator)
        names: dict[str, Any] = {"database_url": database_url, "__name__": "page"}
        for code, expected in BLOCKS:
            assert await printed(code, names) == expected
        assert len(emulator.ledger.submissions) == 2
    assert len(BLOCKS) == 4
