"""The bounded queue: writers wait for room, and cancelling loses neither items nor turns."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from wiro_async._engine.background.bounded_queue import BoundedQueue


async def test_writers_wait_for_room_in_a_full_queue() -> None:
    """They continue one by one, in their order."""
    queue: BoundedQueue[int] = BoundedQueue(2)
    put: list[int] = []

    async def write(item: int) -> None:
        await queue.put(item)
        put.append(item)

    async with anyio.create_task_group() as group:
        for item in range(5):
            group.start_soon(write, item)
        await anyio.wait_all_tasks_blocked()
        assert put == [0, 1]
        for item in range(5):
            assert await queue.get() == item
            await anyio.wait_all_tasks_blocked()
            assert put == list(range(min(5, item + 3)))


async def cancelled_at_once(task: asyncio.Task[None]) -> bool:
    """Cancel a task that may have been woken up in the same moment. Return whether that ended it."""
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


@pytest.mark.parametrize("was_admitted", [False, True])
async def test_a_cancelled_writer_passes_its_turn_on(was_admitted: bool) -> None:
    """Both while it waits, and when it was admitted in that moment."""
    queue: BoundedQueue[str] = BoundedQueue(1)
    await queue.put("first")
    cancelled = asyncio.create_task(queue.put("never"))
    await anyio.wait_all_tasks_blocked()
    waiting = asyncio.create_task(queue.put("second"))
    await anyio.wait_all_tasks_blocked()
    if was_admitted:
        assert await queue.get() == "first"
        assert await cancelled_at_once(cancelled)
    else:
        assert await cancelled_at_once(cancelled)
        assert await queue.get() == "first"
    with anyio.fail_after(5):
        assert await queue.get() == "second"
        await waiting


async def test_a_cancelled_reader_loses_no_item() -> None:
    """An item that arrives in that moment goes to the next reader."""
    queue: BoundedQueue[str] = BoundedQueue(1)
    got: list[str] = []

    async def read() -> None:
        got.append(await queue.get())

    reader = asyncio.create_task(read())
    await anyio.wait_all_tasks_blocked()
    await queue.put("kept")
    assert await cancelled_at_once(reader)
    with anyio.fail_after(5):
        assert await queue.get() == "kept"
    assert not got


async def test_a_closed_queue_is_read_to_its_end() -> None:
    """Then every reader gets `EndOfStream`."""
    queue: BoundedQueue[str] = BoundedQueue(3)
    await queue.put("last")
    queue.close()
    assert await queue.get() == "last"
    for _ in range(2):
        with pytest.raises(anyio.EndOfStream):
            await queue.get()
