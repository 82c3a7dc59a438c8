"""The raw server itself: a session is content with what it answers when no route lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wiro_async import AsyncWiro

if TYPE_CHECKING:
    from tests.hostile.conftest import RawWiro


async def test_a_run_of_the_raw_server(raw: RawWiro, raw_wiro: AsyncWiro, tmp_path: Path) -> None:
    """Run, follow, save: one run in the server's own account."""
    result = await raw_wiro.run("owner/model", {"prompt": "a cat", "seed": 4})
    saved = await result.output.save(tmp_path)
    assert raw.runs == [("owner/model", {"prompt": "a cat", "seed": 4})]
    assert saved.read_bytes().startswith(b"\x89PNG")
    assert [task.id async for task in raw_wiro.tasks.list()] == [result.info.id]
