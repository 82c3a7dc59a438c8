"""The SDK's own threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

import anyio
import pytest
import pytest_asyncio

from wiro_async._transport import threads

if TYPE_CHECKING:
    from tests.conftest import Until

setting = ContextVar("setting", default="outside")


class Session:
    """Anything that keeps threads."""


@pytest_asyncio.fixture
async def session() -> AsyncIterator[Session]:
    """A session that keeps the threads of the loop."""
    made = Session()
    threads.keep_for(made)
    yield made
    await threads.end_for(made)


def ours() -> list[threading.Thread]:
    """Return the threads of the SDK."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("wiro_async")]


async def test_a_value_comes_back_from_another_thread() -> None:
    """The thread is named, a daemon, and has the context of its caller."""
    setting.set("inside")

    def work(number: int) -> tuple[int, str, str, bool]:
        thread = threading.current_thread()
        return number + 1, setting.get(), thread.name, thread.daemon

    assert await threads.run(work, 1) == (2, "inside", "wiro_async files", True)


@pytest.mark.parametrize("kind", [ValueError, SystemExit, asyncio.CancelledError])
async def test_an_error_comes_back(kind: type[BaseException]) -> None:
    """Whatever it is."""

    def work() -> None:
        raise kind("no")

    with pytest.raises(kind, match="no"):
        await threads.run(work)


async def test_an_error_that_no_future_takes() -> None:
    """A function may raise `StopIteration`."""
    with pytest.raises(RuntimeError, match="StopIteration") as raised:
        await threads.run(next, iter(()))
    assert isinstance(raised.value.__cause__, StopIteration)


async def test_without_a_session_threads_end_with_their_work(until: Until) -> None:
    """Nothing waits for more of it."""
    await asyncio.gather(*(threads.run(int) for _ in range(100)))
    await until(lambda: not ours())


async def test_the_last_session_ends_the_threads(session: Session) -> None:
    """Until then they wait for more work."""
    other = Session()
    threads.keep_for(other)
    await threads.run(int)
    known = ours()
    await threads.end_for(other)
    assert known
    assert ours() == known
    assert await threads.run(threading.current_thread) is known[0]
    await threads.end_for(session)
    assert not ours()


@pytest.mark.parametrize("kind", ["files", "lookups", "callbacks", "tools"])
async def test_a_limit_holds(session: Session, until: Until, kind: threads.Kind) -> None:
    """What is too much waits; no other kind of work does."""
    free, limit = threading.Event(), int(threads.LIMITS[kind])
    busy = [asyncio.create_task(threads.run(free.wait, kind=kind)) for _ in range(limit)]
    await until(lambda: len(ours()) == limit)
    late = asyncio.create_task(threads.run(int, kind=kind))
    others: list[threads.Kind] = [other for other in threads.LIMITS if other != kind]
    with anyio.fail_after(5):
        for other in others:
            await threads.run(int, kind=other)
    assert not late.done()
    free.set()
    assert await late == 0
    await asyncio.gather(*busy)


async def test_stuck_work_that_was_given_up_takes_no_place(session: Session, until: Until) -> None:
    """Cancelling ends the wait at once, and the next work begins."""
    free, limit = threading.Event(), int(threads.LIMITS["files"])
    stuck = [asyncio.create_task(threads.run(free.wait)) for _ in range(limit)]
    await until(lambda: len(ours()) == limit)
    given_up = asyncio.create_task(threads.run(free.wait))
    late = asyncio.create_task(threads.run(int))
    await asyncio.sleep(0)
    for task in (given_up, *stuck):
        task.cancel()
    with anyio.fail_after(5):
        await asyncio.gather(*stuck, given_up, return_exceptions=True)
        assert await late == 0
        await asyncio.gather(*(threads.run(int) for _ in range(limit)))
        await threads.end_for(session)  # does not wait for it
    assert len(ours()) == limit
    free.set()
    await until(lambda: not ours())


async def test_work_that_was_started_is_done(until: Until) -> None:
    """Even if its caller is cancelled before its next await."""
    done = threading.Event()

    async def begin() -> None:
        threads.start(done.set)
        await asyncio.sleep(60)

    beginning = asyncio.create_task(begin())
    await asyncio.sleep(0)
    beginning.cancel()
    await until(done.is_set)


def test_a_loop_that_is_closed() -> None:
    """Work that outlives its loop harms nobody."""
    free = threading.Event()

    async def leave() -> None:
        threads.keep_for(session)
        await threads.run(int)
        threads.start(free.wait)

    session = Session()
    asyncio.run(leave())
    left = ours()
    free.set()
    for thread in left:
        thread.join(threads.IDLE_SECONDS + 5)
    assert left
    assert not ours()
