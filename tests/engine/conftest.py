"""A loop whose clock jumps, for stories that take hours."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, Protocol

import pytest


class Jump(Protocol):
    """Tell a story in no time."""

    def __call__(self, story: Coroutine[Any, Any, None]) -> None: ...


class JumpingClock(selectors.SelectSelector):
    """Waits for nothing: where the loop would sleep, its clock goes on instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        assert ready or timeout is not None, "everybody waits, and nothing will ever happen"
        self.now += 0.0 if ready else timeout or 0.0
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop on such a clock."""

    def __init__(self) -> None:
        self._clock = JumpingClock()
        super().__init__(self._clock)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._clock.now


@pytest.fixture(scope="session")
def jump() -> Jump:
    """Such a loop for one story."""

    def jump(story: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(story)

    return jump
