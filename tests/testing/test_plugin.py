"""The pytest plugin."""

import sys
from typing import TYPE_CHECKING

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
