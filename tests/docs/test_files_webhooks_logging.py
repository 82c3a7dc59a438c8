"""The pages on files, callbacks and logging: their code runs, and their lists are complete."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn

import wiro_async
from wiro_async.testing import WiroEmulator

if TYPE_CHECKING:
    from tests.docs.conftest import RunPage

DOCS = Path(__file__).parents[2] / "docs"
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


@pytest.fixture
def folder(emulator: WiroEmulator, in_folder: Callable[[WiroEmulator], Path]) -> Path:
    """A directory with a photo, and credentials in the environment."""
    path = in_folder(emulator)
    (path / "photo.jpg").write_bytes(PICTURE)
    return path


async def test_files(
    folder: Path, emulator: WiroEmulator, run_page: RunPage, capsys: pytest.CaptureFixture[str]
) -> None:
    """Uploads arrive, and saved files are there."""
    names, _ = await run_page("files.md")
    assert (folder / "fox.png").read_bytes() == (folder / "again.png").read_bytes() == names["data"]
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["0-2.png", "0.png", "1.png", "2.png"]
    assert f"{len(PICTURE)} of {len(PICTURE)} bytes" in capsys.readouterr().out
    assert emulator.ledger.count("File/Upload") == 1
    assert emulator.ledger.count("Task/InputOutputDelete") == 1
    answer = await names["download_all"](names["result"])
    assert answer.media_type == "application/zip"


async def test_webhooks(folder: Path, run_page: RunPage, capsys: pytest.CaptureFixture[str]) -> None:
    """The page runs."""
    await run_page("webhooks.md")
    assert "WebhookStatistics(received=0" in capsys.readouterr().out


async def test_the_app_for_callbacks(
    folder: Path, emulator: WiroEmulator, run_page: RunPage, unused_tcp_port: int
) -> None:
    """A callback to the app ends its run."""
    names, _ = await run_page("webhooks.md", 1, unused_tcp_port)
    server = uvicorn.Server(
        uvicorn.Config(names["app"], port=unused_tcp_port, log_config=None, lifespan="on", ws="none")
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        answer = await client.get(f"http://127.0.0.1:{unused_tcp_port}/paint")
    server.should_exit = True
    await serving
    assert answer.json()["url"].startswith(emulator.base_url)
    assert [callback.status for callback in emulator.ledger.callbacks] == [200]
    assert (emulator.ledger.count("Task/Detail"), len(emulator.ledger.sockets)) == (1, 0)


async def test_logging(run_page: RunPage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page lists every message of the SDK with its level, and no others."""
    monkeypatch.setattr(logging, "basicConfig", lambda: None)
    await run_page("logging.md")
    logging.getLogger("wiro_async").setLevel(logging.NOTSET)
    page = (DOCS / "logging.md").read_text(encoding="utf-8")
    listed = {(level, text) for level, text in re.findall(r"^\| (\w+) \| `(.+?)` \|", page, re.MULTILINE)}
    assert listed == set(messages())


def messages() -> Iterator[tuple[str, str]]:
    """Level and template of every call of a logger in the package."""
    for path in Path(wiro_async.__path__[0]).rglob("*.py"):
        if path.parts[-2] in ("testing", "_demo", "cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(ast.Attribute(ast.Name("logger"), level), [ast.Constant(str() as text), *_]):
                    yield ("error" if level == "exception" else level), text
