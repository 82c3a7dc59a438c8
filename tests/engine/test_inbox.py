"""What was received and not read yet."""

from __future__ import annotations

import anyio
import pytest

from wiro_async import AudioChunk, LogLine
from wiro_async._engine.realtime import inbox
from wiro_async._engine.realtime.inbox import Inbox


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten bytes are enough, thirty the most."""
    monkeypatch.setattr(inbox, "ENOUGH", 10)
    monkeypatch.setattr(inbox, "MOST", 30)


async def fill(box: Inbox) -> None:
    """Put audio in for ever, five bytes at a time."""
    while True:
        await box.put(AudioChunk(bytes(5)), 5)


async def test_who_fills_it_waits_for_the_reader() -> None:
    """There is never more in it than enough, and a read makes room for one."""
    box = Inbox()
    async with anyio.create_task_group() as group:
        group.start_soon(fill, box)
        await anyio.wait_all_tasks_blocked()
        assert (box.size, box.held) == (10, True)
        await box.next()
        assert box.size == 5
        await anyio.wait_all_tasks_blocked()
        assert box.size == 10
        group.cancel_scope.cancel()


async def test_relief() -> None:
    """Whoever waits for the other side has more taken, up to the most; afterwards it is as before."""
    box = Inbox()
    async with anyio.create_task_group() as group:
        group.start_soon(fill, box)
        await anyio.wait_all_tasks_blocked()
        box.relieve()
        await anyio.wait_all_tasks_blocked()
        assert box.size == 30
        box.tighten()
        for _ in range(4):
            await box.next()
            await anyio.wait_all_tasks_blocked()
        assert box.size == 10
        group.cancel_scope.cancel()


async def test_forgetting() -> None:
    """Audio can be dropped, or everything, with what still comes; both make room."""
    box = Inbox()
    line = LogLine("hello")
    async with anyio.create_task_group() as group:
        await box.put(line, 5)
        group.start_soon(fill, box)
        await anyio.wait_all_tasks_blocked()
        box.drop_audio()
        assert box.size == 5
        assert await box.next() is line
        await anyio.wait_all_tasks_blocked()
        assert box.size == 10
        group.cancel_scope.cancel()
    box.discard()
    await box.put(line, 5)
    assert box.size == 0
    box.close()
    assert await box.next() is None


async def test_the_end() -> None:
    """All that came is given first, then the error, again and again; the first one counts."""
    box = Inbox()
    await box.put(LogLine("hello"), 5)
    box.close(ZeroDivisionError())
    box.close()
    assert isinstance(await box.next(), LogLine)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await box.next()


async def test_cancelling_loses_nothing() -> None:
    """A reader that gave up leaves what comes to the next."""
    box = Inbox()
    with anyio.move_on_after(0.01):
        await box.next()
    await box.put(LogLine("hello"), 5)
    assert isinstance(await box.next(), LogLine)


async def test_what_comes_after_the_end() -> None:
    """It is not taken, so that who always has something to read comes to the error; and nobody waits for room."""
    box = Inbox()
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(box.put, AudioChunk(bytes(5)), 5)
        await anyio.wait_all_tasks_blocked()
        assert box.held
        box.close(ZeroDivisionError())
    await box.put(AudioChunk(bytes(5)), 5)
    assert [type(await box.next()) for _ in range(2)] == [AudioChunk] * 2
    with pytest.raises(ZeroDivisionError):
        await box.next()
