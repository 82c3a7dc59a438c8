"""The README's code runs, its commands are complete, and its links work."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import wiro_async
from wiro_async.testing import STANDARD, WiroEmulator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LIVE = {"google/nano-banana-pro": "emulator/painter", "openai/gpt-5-2": "emulator/writer"}
BLOCKS = [
    (README.count("\n", 0, match.start()) + 2, match[1])
    for match in re.finditer(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
]
TEST = next(text for _, text in BLOCKS if "def test_" in text)


@pytest.fixture
def server(in_folder: Callable[[WiroEmulator], Path]) -> Iterator[WiroEmulator]:
    """An emulator with the README's models. The environment points to it."""
    standard = {model.slug: model for model in STANDARD}
    models = [attrs.evolve(standard[alias], slug=slug) for slug, alias in LIVE.items()]
    with WiroEmulator(models=models, speed=20) as emulator:
        (in_folder(emulator) / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0 a photo")
        yield emulator


def code(line: int, text: str) -> Any:
    """Return a compiled block with the README's line numbers."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile("\n" * (line - 1) + text, str(ROOT / "README.md"), "exec", flags=flags, dont_inherit=True)


SCRIPTS = [(line, text) for line, text in BLOCKS if "asyncio.run(" in text]
SNIPPETS = [(line, text) for line, text in BLOCKS if "asyncio.run(" not in text and text != TEST]


@pytest.mark.parametrize("line,text", SCRIPTS)
def test_whole_programs_run(line: int, text: str, server: WiroEmulator, tmp_path: Path) -> None:
    """A complete program works as documented."""
    exec(code(line, text), {"__name__": "__main__"})
    assert (tmp_path / "city.png").read_bytes().startswith(b"\x89PNG")
    assert server.ledger.count("Run/*") == 1


@pytest.mark.parametrize("line,text", SNIPPETS)
async def test_snippets_run(line: int, text: str, server: WiroEmulator) -> None:
    """Each block runs by itself, and its runs succeed."""
    names: dict[str, Any] = {}
    running = eval(code(line, text), names)
    if inspect.isawaitable(running):
        await running
    assert "result" not in names or names["result"].succeeded
    assert all(task.pexit == "0" for task in server.ledger.tasks.values())
    submitted = sum(text.count(call) for call in ("wiro.run(", ".submit(", "wiro.stream(", "patient.run("))
    if "WiroEmulator" not in text and "batch" not in text:
        assert server.ledger.count("Run/*") == submitted


async def test_the_batch_saves_every_picture(server: WiroEmulator, tmp_path: Path) -> None:
    """Four colours give four houses."""
    line, text = next((line, text) for line, text in SNIPPETS if "wiro.batch(" in text)
    await eval(code(line, text), {})
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == [f"{n}.png" for n in range(4)]


async def test_the_test_passes(wiro_emulator: WiroEmulator) -> None:
    """The README's own test passes, with an emulated `wiro`."""
    names: dict[str, Any] = {}
    exec(TEST, names)
    async with wiro_async.AsyncWiro(**wiro_emulator.options()) as wiro:
        await names["test_it_survives_a_hiccup"](wiro, wiro_emulator)


def test_every_kind_of_snippet_was_found() -> None:
    """A change of style must not leave the README untested."""
    assert len(SCRIPTS) == 1
    assert len(SNIPPETS) == README.count("```python") - 2
    assert len(SNIPPETS) >= 8


def test_the_two_commands_stand_alone() -> None:
    """Each is one line in its own block, under Quick start."""
    quick_start = README.split("## Quick start")[1].split("\n## ")[0]
    blocks = re.findall(r"^```console\n(.*?)^```$", quick_start, re.MULTILINE | re.DOTALL)
    pip = "python -m pip install 'nox[uv]' && python -m nox -s"
    assert blocks == [f"{pip} demo\n", f"{pip} tests\n"]


def test_relative_links_lead_somewhere() -> None:
    """Linked files exist."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_errors_it_names_exist_and_none_is_forgotten() -> None:
    """The table has every error that can reach a user."""
    named = set(re.findall(r"`(\w+Error)`", README)) - {"TimeoutError", "RuntimeError"}
    public = {name for name in wiro_async.__all__ if name.endswith("Error")} - {"OnError"}
    documented_elsewhere = {
        "WiroError",
        "TransportError",
        "APIError",
        "TaskError",
        "AnswerError",
        "ConcurrencyLimitError",
    }
    assert named <= public
    assert public - named <= documented_elsewhere


def test_every_page_is_linked() -> None:
    """A page without a link cannot be found."""
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in README
