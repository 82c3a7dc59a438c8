"""The page about conversations: its code runs, one block after the other, and prints what the page shows."""

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

PAGE = Path(__file__).parents[2] / "docs" / "conversations.md"
TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not PAGE.exists(), reason="only where the page is")
async def test_the_page(printed: Printed) -> None:
    """Every block runs, every shown output is the real one."""
    assistant = next(model for model in STANDARD if model.slug == "emulator/assistant")
    with WiroEmulator(models=[attrs.evolve(assistant, slug="openai/gpt-5-2")], speed=50) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro:
            names: dict[str, Any] = {"wiro": wiro, "__name__": "page"}
            for code, expected in BLOCKS:
                output = await printed(code, names)
                assert output == expected or not expected
        assert {task.pexit for task in emulator.ledger.tasks.values()} == {"0"}
    assert len(BLOCKS) == 7
    assert names["chat"].history[0].pending_calls == names["chat"].history[0].tool_calls[:1]
