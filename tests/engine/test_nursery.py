"""The session's one task group."""

from __future__ import annotations

import asyncio
import logging

import anyio
import pytest

from wiro_async import SessionClosedError
from wiro_async._engine.nursery import Nursery


async def nothing() -> None:
    """There is nothing to be done at the end."""


async def test_a_failure_in_the_background_ends_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and counted no more."""
    nursery = Nursery(nothing, nothing)
    await nursery.open()
    over = anyio.Event()

    async def fail() -> None:
        raise ZeroDivisionError

    async def go_on() -> None:
        await asyncio.sleep(0)
        over.set()

    with caplog.at_level(logging.ERROR, "wiro_async"):
        nursery.start(fail)
        nursery.start(go_on)
        await over.wait()
    assert "background task failed" in caplog.text
    await nursery.aclose()
    assert nursery.count == 0


async def test_closing_cancels_what_runs() -> None:
    """And waits until it has ended."""
    nursery = Nursery(nothing, nothing)
    await nursery.open()
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(name)

    nursery.start(wait, "one")
    nursery.start(wait, "two")
    await asyncio.sleep(0)
    assert nursery.count == 2
    await nursery.aclose()
    await nursery.aclose()
    assert sorted(ended) == ["one", "two"]
    assert not nursery.is_open
    with pytest.raises(SessionClosedError):
        await nursery.open()


async def test_opened_by_many_at_once() -> None:
    """All wait for the one that opens it."""
    nursery = Nursery(nothing, nothing)
    await asyncio.gather(*(nursery.open() for _ in range(5)))
    assert nursery.is_open
    assert nursery.count == 0
    await nursery.aclose()
