"""Fixtures for tests of programs that use Wiro: `wiro_emulator` and `wiro`.

A session belongs to one event loop, and pytest-asyncio may run a test and its fixtures in loops of different scopes. So
there is one async fixture for each scope, and `wiro` takes the one whose loop the test runs in.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from wiro_async._session import AsyncWiro
    from wiro_async.testing._emulator import WiroEmulator

Fixture: TypeAlias = "Callable[[WiroEmulator], AsyncIterator[AsyncWiro]]"


@pytest.fixture
def wiro_emulator() -> "Iterator[WiroEmulator]":
    """A new emulator at twenty times the speed."""
    from wiro_async.testing import WiroEmulator

    with WiroEmulator(speed=20) as emulator:
        yield emulator


def _session_fixture() -> Fixture:
    """Make the function of a fixture: pytest-asyncio keeps the scope of its loop in the function."""

    async def session(wiro_emulator: "WiroEmulator") -> "AsyncIterator[AsyncWiro]":
        from wiro_async._session import AsyncWiro

        async with AsyncWiro(**wiro_emulator.options()) as session:
            yield session

    return session


# anyio's plugin runs plain async fixtures, for its own tests.
_wiro_of_anyio = pytest.fixture(_session_fixture())

if find_spec("pytest_asyncio"):
    _of_scope: Callable[..., Callable[[Fixture], Any]] = import_module("pytest_asyncio").fixture
    _wiro_of_function = _of_scope(loop_scope="function")(_session_fixture())
    _wiro_of_class = _of_scope(loop_scope="class")(_session_fixture())
    _wiro_of_module = _of_scope(loop_scope="module")(_session_fixture())
    _wiro_of_package = _of_scope(loop_scope="package")(_session_fixture())
    _wiro_of_session = _of_scope(loop_scope="session")(_session_fixture())


@pytest.fixture
def wiro(request: pytest.FixtureRequest) -> "AsyncWiro":
    """An `AsyncWiro` connected to `wiro_emulator`, in the event loop of the test."""
    session: AsyncWiro = request.getfixturevalue(f"_wiro_of_{_loop_of(request)}")
    return session


def _loop_of(request: pytest.FixtureRequest) -> str:
    if "anyio_backend" in request.fixturenames or not find_spec("pytest_asyncio"):
        return "anyio"
    mark = request.node.get_closest_marker("asyncio")
    chosen = mark and (mark.kwargs.get("loop_scope") or mark.kwargs.get("scope"))
    return str(chosen or request.config.getini("asyncio_default_test_loop_scope") or "function")
