"""Sessions and accounts for the tests of the promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import pytest
import pytest_asyncio

from wiro_async import AsyncWiro, RetryPolicy, Timeouts, Tuning
from wiro_async.testing import WiroEmulator

LIMIT = RetryPolicy(base=0.02, cap=1.0)


@pytest_asyncio.fixture
async def quick_session(emulator: WiroEmulator, short_timing: Tuning) -> AsyncIterator[AsyncWiro]:
    """A session that soon gives up a request, and a search for a lost run."""
    async with AsyncWiro(**emulator.options(), timeout=Timeouts(request=1.0), retry=LIMIT) as session:
        yield session


@pytest.fixture
def poor(short_timing: Tuning) -> Iterator[WiroEmulator]:
    """An emulator whose account may run five tasks at a time."""
    with WiroEmulator(speed=50, balance=Decimal(59), tuning=short_timing) as running:
        yield running
