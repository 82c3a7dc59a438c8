"""The bounded queue between the stages of a batch."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from wiro_async._api.batch.bounded_queue import Outbox


async def test_a_full_one_makes_writers_wait() -> None:
    """They go on one by one, in their order, as there is room."""
    box: Outbox[int] = Outbox(2)
    put: list[int] = []

    async def write(item: int) -> None:
        await box.put(item)
        put.append(item)

    async with anyio.create_task_group() as group:
        for item in range(5):
            group.start_soon(write, item)
        await anyio.wait_all_tasks_blocked()
        assert put == [0, 1]
        for item in range(5):
            assert await box.get() == item
            await anyio.wait_all_tasks_blocked()
            assert put == list(range(min(5, item + 3)))


async def cancelled_at_once(task: asyncio.Task[None]) -> bool:
    """Cancel a task, whatever woke it up in the same moment; whether that ended it."""
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


@pytest.mark.parametrize("was_admitted", [False, True])
async def test_a_writer_that_gives_up_passes_its_turn_on(was_admitted: bool) -> None:
    """Whether it still stands in line, or was admitted at that very moment."""
    box: Outbox[str] = Outbox(1)
    await box.put("first")
    impatient = asyncio.create_task(box.put("never"))
    await anyio.wait_all_tasks_blocked()
    patient = asyncio.create_task(box.put("second"))
    await anyio.wait_all_tasks_blocked()
    if was_admitted:
        assert await box.get() == "first"
        assert await cancelled_at_once(impatient)
    else:
        assert await cancelled_at_once(impatient)
        assert await box.get() == "first"
    with anyio.fail_after(5):
        assert await box.get() == "second"
        await patient


async def test_a_reader_that_gives_up_loses_nothing() -> None:
    """What comes at that moment is for the next one."""
    box: Outbox[str] = Outbox(1)
    got: list[str] = []

    async def read() -> None:
        got.append(await box.get())

    reader = asyncio.create_task(read())
    await anyio.wait_all_tasks_blocked()
    await box.put("kept")
    assert await cancelled_at_once(reader)
    with anyio.fail_after(5):
        assert await box.get() == "kept"
    assert not got


async def test_a_closed_one_is_read_to_its_end() -> None:
    """Then all readers are told."""
    box: Outbox[str] = Outbox(3)
    await box.put("last")
    box.close()
    assert await box.get() == "last"
    for _ in range(2):
        with pytest.raises(anyio.EndOfStream):
            await box.get()
