"""A loop whose clock jumps, for scenarios that take hours."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, Protocol

import pytest


class Jump(Protocol):
    """Run a scenario in no time."""

    def __call__(self, scenario: Coroutine[Any, Any, None]) -> None: ...


class JumpingClock(selectors.SelectSelector):
    """Never waits. Where the loop would sleep, the clock jumps instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        assert ready or timeout is not None, "every task waits, and nothing can wake one"
        self.now += 0.0 if ready else timeout or 0.0
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop with a jumping clock."""

    def __init__(self) -> None:
        self._clock = JumpingClock()
        super().__init__(self._clock)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._clock.now


@pytest.fixture(scope="session")
def jump() -> Jump:
    """A function that runs a scenario in a loop with a jumping clock."""

    def jump(scenario: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(scenario)

    return jump
