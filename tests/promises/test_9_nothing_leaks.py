"""Promise 9. Nothing leaks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest

from wiro_async import AsyncWiro, SessionClosedError, TaskHandle, Tuning
from wiro_async.testing import Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until

psutil = import_module("psutil")  # has no types

STUCK = "emulator/stuck"
QUEUED = "emulator/queued"


def connections_to(emulator: WiroEmulator) -> int:
    """Return the number of connections from this process to the emulator."""
    port = int(emulator.base_url.rsplit(":", 1)[1].split("/")[0])
    return sum(
        bool(connection.raddr) and connection.raddr.port == port and connection.status != psutil.CONN_TIME_WAIT
        for connection in psutil.Process().net_connections("inet")
    )


async def test_9_closing_ends_pauses_between_attempts(emulator: WiroEmulator, until: Until) -> None:
    """A request that waits a minute for its retry raises at once."""
    emulator.faults.http("Task/Detail", Respond(429, headers={"Retry-After": "60"}), times=None)
    wiro = AsyncWiro(**emulator.options())
    async with wiro:
        looking = asyncio.create_task(wiro.tasks.get("7"))
        await until(lambda: emulator.ledger.count("Task/Detail"))
        await anyio.sleep(0.1)
    with anyio.fail_after(5), pytest.raises(SessionClosedError):
        await looking


async def test_9_after_closing_nothing_is_left(
    emulator: WiroEmulator, short_timing: Tuning, until: Until, open_files: Callable[[], set[str]], tmp_path: Path
) -> None:
    """No task, socket, connection or file is left, even if everything was left half-way."""
    before = open_files()
    async with AsyncWiro(**emulator.options()) as wiro:
        result = await wiro.run("emulator/painter", {"prompt": "x", "width": 64, "height": 64, "seconds": 3})
        async with result.output.stream() as chunks:
            async for _ in chunks:
                break
        await result.save(tmp_path)
        async for _ in (await wiro.submit(STUCK)).events():
            break
        async with wiro.stream("emulator/writer", {"prompt": "x"}) as stream:
            await anext(stream)
        async with wiro.batch(STUCK, [{}] * 9, concurrency=3):
            pass
        assert connections_to(emulator) > 0
    assert not any(attrs.astuple(wiro.statistics()))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("wiro_async")]
    await until(lambda: not emulator.ledger.open_sockets)
    await until(lambda: not connections_to(emulator))
    await until(lambda: not {name for name in open_files() - before if "socket" not in name})


@pytest.mark.parametrize("listen", [TaskHandle.events, TaskHandle.text_deltas])
async def test_9_breaking_out_of_a_loop_frees_it(wiro: AsyncWiro, listen: Any) -> None:
    """The end of a loop frees its iterator, without `async with`."""
    task = await wiro.submit("emulator/writer", {"prompt": "x", "seconds": 100})
    async with anyio.create_task_group():
        async for _ in listen(task):
            assert wiro.statistics().watched_tasks == 1
            break
    assert wiro.statistics().watched_tasks == 0


async def test_9_an_error_in_a_loop_frees_at_once(wiro: AsyncWiro) -> None:
    """After an error in a loop the task is not followed, even if a traceback holds the iterator."""
    task = await wiro.submit(STUCK)

    async def fail() -> None:
        async with task.events() as events:
            async for _ in events:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await fail()
    assert wiro.statistics().watched_tasks == 0
    assert caught.type is ZeroDivisionError


async def test_9_a_cancelled_loop_frees_at_once(wiro: AsyncWiro, until: Until) -> None:
    """Cancelling a loop frees its iterator, without a context manager."""
    task = await wiro.submit(QUEUED)

    async def follow() -> None:
        async for _ in task.events():
            pass

    context = asyncio.create_task(follow())
    await until(lambda: wiro.statistics().watched_tasks)
    context.cancel()
    await asyncio.wait([context])
    del context
    assert wiro.statistics().watched_tasks == 0


async def test_9_a_download_that_is_left_frees_its_connection(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Leaving a download ends its request."""
    result = await wiro.run("emulator/painter", {"prompt": "x", "width": 512, "height": 512, "seconds": 3})
    async with result.output.stream() as chunks:
        async for _ in chunks:
            assert wiro.statistics().requests == 1
            break
    assert wiro.statistics().requests == 0
