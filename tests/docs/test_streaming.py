"""The page about streaming: its code runs, one block after the other, and prints what the page shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from wiro_async import AsyncWiro, TextDelta, TextReset, Tuning
from wiro_async.testing import STANDARD, WiroEmulator

if TYPE_CHECKING:
    from tests.docs.conftest import Printed

PAGE = Path(__file__).parents[2] / "docs" / "streaming.md"
TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```$)?", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not PAGE.exists(), reason="only where the page is")
async def test_the_page(short_timing: Tuning, printed: Printed) -> None:
    """Every block runs, every shown output is the real one."""
    writer = next(model for model in STANDARD if model.slug == "emulator/writer")
    with WiroEmulator(models=[attrs.evolve(writer, slug="openai/gpt-5-2")], speed=50) as emulator:
        options = emulator.options()
        async with AsyncWiro(**options) as wiro:
            names: dict[str, Any] = {"wiro": wiro, "options": options, "AsyncWiro": AsyncWiro}
            names |= {"TextDelta": TextDelta, "TextReset": TextReset}
            for code, expected in BLOCKS:
                output = await printed(code, names)
                assert not expected or output == expected
    assert len(BLOCKS) == 5
