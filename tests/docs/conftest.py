"""Run the code of the README and of the pages."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any, Protocol

import pytest

from wiro_async.testing import WiroEmulator

PAGES = {path.name: path.read_text(encoding="utf-8") for path in (Path(__file__).parents[2] / "docs").glob("*.md")}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Printed(Protocol):
    """Run a code block of a page, with `await` allowed, and return what it prints."""

    async def __call__(self, code: str, names: dict[str, Any]) -> str: ...


class RunPage(Protocol):
    """Run the blocks of a page, or the first ones, as one program. Return its names and the number of blocks."""

    async def __call__(self, name: str, most: int | None = None, port: int = 8000) -> tuple[dict[str, Any], int]: ...


def compiled(text: str, path: str = "<page>") -> CodeType:
    """Compile a block, with `await` allowed."""
    code: CodeType = compile(text, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


@pytest.fixture
def printed() -> Printed:
    """A function that runs a code block of a page and returns what it prints."""

    async def printed(code: str, names: dict[str, Any]) -> str:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            running = eval(compiled(code), names)
            if inspect.isawaitable(running):
                await running
        return output.getvalue()

    return printed


@pytest.fixture
def run_page() -> RunPage:
    """A function that runs a page. Tracebacks have the line numbers of the page."""

    async def run_page(name: str, most: int | None = None, port: int = 8000) -> tuple[dict[str, Any], int]:
        page, names = PAGES[name].replace("8000", str(port)), dict[str, Any]()
        blocks = list(BLOCK.finditer(page))[:most]
        for match in blocks:
            lines = "\n" * (page.count("\n", 0, match.start()) + 1)
            running = eval(compiled(lines + match[1], name), names)
            if inspect.isawaitable(running):
                await running
        return names, len(blocks)

    return run_page


@pytest.fixture
def in_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[WiroEmulator], Path]:
    """A function that puts an emulator's keys and URLs into the environment, and changes to an empty folder."""

    def in_folder(emulator: WiroEmulator) -> Path:
        monkeypatch.setenv("WIRO_API_KEY", emulator.api_key)
        monkeypatch.setenv("WIRO_API_SECRET", emulator.api_secret or "")
        monkeypatch.setenv("WIRO_API_BASE_URL", emulator.base_url)
        monkeypatch.setenv("WIRO_SOCKET_URL", emulator.socket_url)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return in_folder
