"""The page about models: its code runs, one block after the other, and prints what the page shows."""

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

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", TEXT, re.MULTILINE | re.DOTALL)
ALIASES = {"google/nano-banana-pro": "family/image-edit", "wiro/virtual-try-on": "family/Virtual Try-On"}


@pytest.mark.skipif(not PAGE.exists(), reason="only where the page is")
async def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: Printed) -> None:
    """Every block runs, every shown output is the real one."""
    standard = {model.slug: model for model in STANDARD}
    models = [attrs.evolve(standard[alias], slug=slug) for slug, alias in ALIASES.items()]
    monkeypatch.chdir(tmp_path)
    for name in ("shirt.jpg", "me.jpg"):
        (tmp_path / name).write_bytes(b"picture")
    with WiroEmulator(models=models, speed=50) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro:
            names: dict[str, Any] = {"wiro": wiro}
            for code, expected in BLOCKS:
                output = await printed(code, names)
                assert output == expected or not expected
        assert [run.model for run in emulator.ledger.submissions] == list(ALIASES)
        uploads = [(upload.field, upload.name) for upload in emulator.ledger.submissions[-1].files]
    assert len(BLOCKS) == 7
    assert uploads == [("inputImageHuman", "me.jpg"), ("inputImageClothes", "shirt.jpg")]
    assert names["result"].succeeded
