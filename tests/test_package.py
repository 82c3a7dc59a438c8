"""What is installed: the wheel itself, typed, light to import, with its floors in order."""

import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import wiro_async

installed = pytest.mark.skipif("WIRO_TEST_INSTALLED" not in os.environ, reason="only where the wheel is installed")


def imported_by(statement: str) -> set[str]:
    """The modules a fresh interpreter has loaded after a statement."""
    script = f"{statement}\nimport sys; print(*sys.modules)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    return set(done.stdout.split())


@installed
def test_the_tests_run_against_the_installed_wheel() -> None:
    """The package comes from site-packages, not from the checkout."""
    assert Path(wiro_async.__file__).parent.parent == Path(sysconfig.get_path("purelib"))


@installed
def test_the_version_has_one_source() -> None:
    """The wheel's metadata and the package agree."""
    assert importlib.metadata.version("wiro-async") == wiro_async.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", wiro_async.__version__)


def test_the_package_is_marked_as_typed() -> None:
    """Type checkers read our annotations."""
    assert (Path(wiro_async.__file__).parent / "py.typed").is_file()


def test_importing_the_package_is_light() -> None:
    """The heavy libraries wait until they are needed."""
    heavy = {"httpx", "httpcore", "aiohttp", "websockets", "rich", "starlette", "uvicorn", "PIL"}
    heavy |= {"importlib.metadata", "pytest", "sqlite3", "urllib.request", "email.utils", "msgspec"}
    heavy |= {f"wiro_async._api.{part}" for part in ("conversation", "forms", "realtime", "schemas")}
    assert not imported_by("import wiro_async") & heavy


def test_every_public_name_is_listed_and_there() -> None:
    """`__all__` is sorted, complete and importable."""
    assert wiro_async.__all__ == sorted(wiro_async.__all__)
    assert all(hasattr(wiro_async, name) for name in wiro_async.__all__)
    assert set(wiro_async.__all__) <= set(dir(wiro_async))
    classes = [value for name in wiro_async.__all__ if isinstance(value := getattr(wiro_async, name), type)]
    assert {kind.__module__ for kind in classes} == {"wiro_async"}
    with pytest.raises(AttributeError, match="no attribute 'Sync'"):
        getattr(wiro_async, "Sync")  # noqa: B009 - type checkers know that it is not there
