"""The installed wheel: typed, light to import, with its layers in order."""

import ast
import importlib
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
    """Return the modules that a new interpreter has loaded after a statement."""
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
    """Type checkers read its annotations."""
    assert (Path(wiro_async.__file__).parent / "py.typed").is_file()


def test_importing_the_package_is_light() -> None:
    """Libraries are imported when a name needs them."""
    loaded = imported_by("import wiro_async")
    assert not loaded & {"httpx", "httpcore", "websockets", "msgspec", "anyio", "attrs", "asyncio", "ssl"}
    assert {name for name in loaded if name.startswith("wiro_async")} == {"wiro_async"}


def test_the_session_is_light() -> None:
    """Heavy libraries, and those that few programs need, are imported at first use."""
    heavy = {"httpx", "httpcore", "aiohttp", "websockets", "rich", "starlette", "uvicorn", "PIL"}
    heavy |= {"importlib.metadata", "pytest", "sqlite3", "urllib.request", "email.utils", "msgspec"}
    heavy |= {f"wiro_async._api.{part}" for part in ("conversation", "resources.file_store")}
    assert not imported_by("from wiro_async import AsyncWiro, TaskFailedError, Timeouts") & heavy


def test_every_public_name_is_listed_and_there() -> None:
    """`__all__` is sorted, complete and importable; the types that checkers see are those at run time."""
    assert wiro_async.__all__ == sorted(wiro_async.__all__)
    assert all(hasattr(wiro_async, name) for name in wiro_async.__all__)
    assert dir(wiro_async) == wiro_async.__all__
    source = Path(wiro_async.__file__).read_text(encoding="utf-8")
    checking = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    seen = {
        alias.name: str(node.module)
        for node in checking.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(seen) == set(wiro_async.__all__)
    for name, module in seen.items():
        assert getattr(wiro_async, name) is getattr(importlib.import_module(module), name)
    with pytest.raises(AttributeError, match="no attribute 'Sync'"):
        getattr(wiro_async, "Sync")  # noqa: B009 - type checkers know that it is not there


def test_public_classes_name_the_package_from_the_start() -> None:
    """Even before they are imported from the package, as in a traceback or a pickle."""
    script = (
        "import pkgutil, importlib, inspect, wiro_async\n"
        "public = set(wiro_async.__all__)\n"
        "for layer in ('_records', '_errors', '_protocol', '_transport', '_engine', '_api'):\n"
        "    package = importlib.import_module(f'wiro_async.{layer}')\n"
        "    for module in pkgutil.walk_packages(package.__path__, f'wiro_async.{layer}.'):\n"
        "        importlib.import_module(module.name)\n"
        "import sys, typing\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.startswith('wiro_async._'):\n"
        "        for kind in vars(module).values():\n"
        "            if inspect.isclass(kind) and kind.__module__.startswith('wiro_async'):\n"
        "                is_public = kind.__name__ in public and getattr(wiro_async, kind.__name__) is kind\n"
        "                assert (kind.__module__ == 'wiro_async') == is_public, (kind, kind.__module__)\n"
    )
    assert "wiro_async" in imported_by(script)


def test_what_users_wrap_can_be_named() -> None:
    """The types of options, inputs and listeners are public."""
    names = "Input FileInput Inputs OnCancel OnUnknown UpdateMode Verify EventListener ProgressListener RunOptions"
    assert set(names.split()) <= set(wiro_async.__all__)
