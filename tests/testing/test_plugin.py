"""The pytest plugin."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wiro_async.testing import pytest_plugin

if TYPE_CHECKING:
    from wiro_async._session import AsyncWiro
    from wiro_async.testing import WiroEmulator

wiro_emulator = pytest_plugin.wiro_emulator
wiro = pytest_plugin.wiro


async def test_fixtures(wiro: "AsyncWiro", wiro_emulator: "WiroEmulator") -> None:
    """The session is connected to the emulator."""
    result = await wiro.run("emulator/sleeper", {"seconds": 1})
    assert result.info.token == wiro_emulator.ledger.submissions[0].token
    assert "wiro_async.testing.pytest_plugin" in sys.modules


TESTS = """
import pytest

async def run(wiro):
    assert (await wiro.run("emulator/sleeper", {"seconds": 1})).info.succeeded

@pytest.mark.asyncio
async def test_by_default(wiro):
    await run(wiro)

@pytest.mark.asyncio(loop_scope="function")
async def test_function(wiro):
    await run(wiro)

@pytest.mark.asyncio(loop_scope="class")
class TestClass:
    async def test_class(self, wiro):
        await run(wiro)

    async def test_again(self, wiro):
        await run(wiro)

@pytest.mark.asyncio(loop_scope="module")
async def test_module(wiro):
    await run(wiro)

@pytest.mark.asyncio(loop_scope="package")
async def test_package(wiro):
    await run(wiro)

@pytest.mark.asyncio(loop_scope="session")
async def test_session(wiro):
    await run(wiro)

@pytest.mark.anyio
async def test_anyio(wiro, anyio_backend_name):
    if anyio_backend_name == "asyncio":
        await run(wiro)

@pytest.fixture(params=["asyncio"])
def anyio_backend(request):
    return request.param

def test_without_a_loop(wiro):
    assert repr(wiro).startswith("AsyncWiro(")
"""


@pytest.mark.parametrize(
    "fixtures, tests, mode",
    [
        ("", "", "strict"),
        ("session", "", "strict"),
        ("", "session", "auto"),
        ("function", "session", "auto"),
        ("module", "function", "auto"),
        ("session", "function", "auto"),
    ],
)
def test_every_scope_of_loops(tmp_path: Path, fixtures: str, tests: str, mode: str) -> None:
    """The session is in the loop of the test, whatever the defaults are. The auto mode and anyio exclude each other."""
    (tmp_path / "test_it.py").write_text(TESTS)
    options = [f"asyncio_mode={mode}"]
    options += [f"asyncio_default_fixture_loop_scope={fixtures}"] if fixtures else []
    options += [f"asyncio_default_test_loop_scope={tests}"] if tests else []
    (tmp_path / "pytest.ini").write_text("\n".join(["[pytest]", *options]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not anyio" if mode == "auto" else ""],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ("8 passed, 1 deselected" if mode == "auto" else "9 passed") in done.stdout, done.stdout
