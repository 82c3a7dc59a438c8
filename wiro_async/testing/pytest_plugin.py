"""Fixtures for tests of programs that use Wiro: `wiro_emulator` and `wiro`."""

from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from wiro_async._session import AsyncWiro
    from wiro_async.testing._emulator import WiroEmulator

Fixture: TypeAlias = "Callable[[WiroEmulator], AsyncIterator[AsyncWiro]]"

# Without pytest-asyncio, anyio's plugin runs plain async fixtures.
async_fixture: Callable[[Fixture], Fixture] = import_module(
    "pytest_asyncio" if find_spec("pytest_asyncio") else "pytest"
).fixture


@pytest.fixture
def wiro_emulator() -> "Iterator[WiroEmulator]":
    """A new emulator at twenty times the speed."""
    from wiro_async.testing import WiroEmulator

    with WiroEmulator(speed=20) as emulator:
        yield emulator


@async_fixture
async def wiro(wiro_emulator: "WiroEmulator") -> "AsyncIterator[AsyncWiro]":
    """An `AsyncWiro` connected to `wiro_emulator`."""
    from wiro_async._session import AsyncWiro

    async with AsyncWiro(**wiro_emulator.options()) as session:
        yield session
