"""The session's one task group."""

from __future__ import annotations

import asyncio
import logging

import anyio
import pytest

from wiro_async import SessionClosedError
from wiro_async._engine.background.background_tasks import BackgroundTasks


async def nothing() -> None:
    """Do nothing at the end."""


async def test_a_failure_in_the_background_ends_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and its task no longer counts."""
    background = BackgroundTasks(nothing, nothing)
    await background.open()
    over = anyio.Event()

    async def fail() -> None:
        raise ZeroDivisionError

    async def go_on() -> None:
        await asyncio.sleep(0)
        over.set()

    with caplog.at_level(logging.ERROR, "wiro_async"):
        background.start(fail)
        background.start(go_on)
        await over.wait()
    assert "background task failed" in caplog.text
    await background.aclose()
    assert background.count == 0


async def test_closing_cancels_tasks() -> None:
    """It also waits until they have ended."""
    background = BackgroundTasks(nothing, nothing)
    await background.open()
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(name)

    background.start(wait, "one")
    background.start(wait, "two")
    await asyncio.sleep(0)
    assert background.count == 2
    await background.aclose()
    await background.aclose()
    assert sorted(ended) == ["one", "two"]
    assert not background.is_open
    with pytest.raises(SessionClosedError):
        await background.open()


async def test_opened_by_many_at_once() -> None:
    """All calls wait for the one that opens it."""
    background = BackgroundTasks(nothing, nothing)
    await asyncio.gather(*(background.open() for _ in range(5)))
    assert background.is_open
    assert background.count == 0
    await background.aclose()


async def test_a_task_cancelled_before_its_first_step_still_begins() -> None:
    """The end of a program cancels all tasks. The others go on."""
    background = BackgroundTasks(nothing, nothing)
    await background.open()
    others = asyncio.all_tasks()
    finished: list[str] = []

    async def work(name: str) -> None:
        await asyncio.sleep(0.01)
        finished.append(name)

    background.start(work, "one")
    await asyncio.sleep(0)
    others |= asyncio.all_tasks()
    background.start(work, "two")
    (not_begun,) = asyncio.all_tasks() - others
    not_begun.cancel()
    await asyncio.sleep(0.05)
    assert not_begun.cancelled()
    assert finished == ["one", "two"]
    await background.aclose()
    assert background.count == 0


async def test_cancelled_before_it_is_open() -> None:
    """The next call of `open` starts it again."""
    background = BackgroundTasks(nothing, nothing)
    opening = [asyncio.create_task(background.open()) for _ in range(2)]
    await asyncio.sleep(0)
    (host,) = (task for task in asyncio.all_tasks() if task.get_name() == "wiro_async session")
    host.cancel()
    await asyncio.gather(*opening)
    assert background.is_open
    await background.aclose()
    assert not background.is_open


async def test_closed_before_it_is_open() -> None:
    """The steps of closing still run."""
    done: list[str] = []

    async def note() -> None:
        done.append("")

    background = BackgroundTasks(note, note)
    opening = asyncio.create_task(background.open())
    await asyncio.sleep(0)
    (host,) = (task for task in asyncio.all_tasks() if task.get_name() == "wiro_async session")
    opening.cancel()
    host.cancel()
    await background.aclose()
    assert done
    with pytest.raises(SessionClosedError):
        await background.open()


async def test_closing_is_repeated_if_it_is_disturbed() -> None:
    """All tasks are cancelled, the closing one among them."""
    steps: list[str] = []

    async def before() -> None:
        steps.append("before")
        await asyncio.sleep(0.01)
        steps.append("still before")

    async def after() -> None:
        steps.append("after")

    background = BackgroundTasks(before, after)
    await background.open()
    (host,) = (task for task in asyncio.all_tasks() if task.get_name() == "wiro_async session")
    closing = asyncio.create_task(background.aclose())
    await asyncio.sleep(0.005)
    host.cancel()
    await closing
    assert steps == ["before", "before", "still before", "after"]


async def test_a_step_of_closing_that_fails_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    """Not after an error, nor after a cancellation that it causes itself."""

    async def fail() -> None:
        raise ZeroDivisionError

    async def cancel() -> None:
        raise asyncio.CancelledError

    background = BackgroundTasks(fail, cancel)
    await background.open()
    await background.aclose()
    assert "closing the session failed" in caplog.text
    assert not background.is_open
