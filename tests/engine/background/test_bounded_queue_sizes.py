"""A bounded queue whose items count by their bytes, as for the unread events of a realtime session."""

from __future__ import annotations

import anyio
import pytest

from wiro_async import AudioChunk, LogLine, TaskEvent
from wiro_async._engine.background.bounded_queue import BoundedQueue


@pytest.fixture
def queue() -> BoundedQueue[TaskEvent]:
    """A queue for ten bytes."""
    return BoundedQueue(10)


async def fill(queue: BoundedQueue[TaskEvent]) -> None:
    """Put audio in indefinitely, five bytes at a time."""
    while True:
        await queue.put(AudioChunk(bytes(5)), 5)


async def test_a_writer_waits_for_the_reader(queue: BoundedQueue[TaskEvent]) -> None:
    """The queue never exceeds its limit, and a read makes room for one item."""
    async with anyio.create_task_group() as group:
        group.start_soon(fill, queue)
        await anyio.wait_all_tasks_blocked()
        assert (queue.size, queue.is_blocked) == (10, True)
        await queue.get()
        assert queue.size == 5
        await anyio.wait_all_tasks_blocked()
        assert queue.size == 10
        group.cancel_scope.cancel()


async def test_a_writer_that_may_go_on_counts_as_blocked(queue: BoundedQueue[TaskEvent]) -> None:
    """It counts until its item is in the queue. Otherwise closing the queue in between would lose the item."""
    async with anyio.create_task_group() as group:
        await queue.put(LogLine("first"), 10)
        group.start_soon(queue.put, LogLine("second"), 10)
        await anyio.wait_all_tasks_blocked()
        await queue.get()
        assert (queue.size, queue.is_blocked) == (0, True)
        await anyio.wait_all_tasks_blocked()
        assert (queue.size, queue.is_blocked) == (10, False)


async def test_room_depends_on_size(queue: BoundedQueue[TaskEvent]) -> None:
    """Room for one big item does not admit all waiting writers."""
    async with anyio.create_task_group() as group:
        await queue.put(LogLine("first"), 10)
        for _ in range(3):
            group.start_soon(queue.put, AudioChunk(bytes(9)), 9)
        await anyio.wait_all_tasks_blocked()
        await queue.get()
        await anyio.wait_all_tasks_blocked()
        assert queue.size == 18
        group.cancel_scope.cancel()


async def test_a_larger_limit_for_a_while(queue: BoundedQueue[TaskEvent]) -> None:
    """While a caller waits for the other side, a larger limit applies. Afterwards the usual limit does."""
    async with anyio.create_task_group() as group:
        group.start_soon(fill, queue)
        await anyio.wait_all_tasks_blocked()
        queue.set_limit(30)
        await anyio.wait_all_tasks_blocked()
        assert queue.size == 30
        queue.set_limit(10)
        for _ in range(4):
            await queue.get()
            await anyio.wait_all_tasks_blocked()
        assert queue.size == 10
        group.cancel_scope.cancel()


async def test_dropping_items(queue: BoundedQueue[TaskEvent]) -> None:
    """Audio can be dropped, or all items and all later ones. Both make room."""
    line = LogLine("hello")
    async with anyio.create_task_group() as group:
        await queue.put(line, 5)
        group.start_soon(fill, queue)
        await anyio.wait_all_tasks_blocked()
        queue.replace([(item, size) for item, size in queue.snapshot() if not isinstance(item, AudioChunk)])
        assert queue.size == 5
        assert await queue.get() is line
        await anyio.wait_all_tasks_blocked()
        assert queue.size == 10
        group.cancel_scope.cancel()
    queue.close()
    queue.replace([])
    await queue.put(line, 5)
    assert queue.size == 0
    with pytest.raises(anyio.EndOfStream):
        await queue.get()


async def test_the_end(queue: BoundedQueue[TaskEvent]) -> None:
    """The items are read first, then the error is raised every time. The first error counts."""
    await queue.put(LogLine("hello"), 5)
    queue.close(ZeroDivisionError())
    queue.close()
    assert isinstance(await queue.get(), LogLine)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await queue.get()


async def test_cancelling_loses_nothing(queue: BoundedQueue[TaskEvent]) -> None:
    """A cancelled reader leaves the items to the next one."""
    with anyio.move_on_after(0.01):
        await queue.get()
    await queue.put(LogLine("hello"), 5)
    assert isinstance(await queue.get(), LogLine)


async def test_items_after_the_end(queue: BoundedQueue[TaskEvent]) -> None:
    """They are dropped, so that a busy reader reaches the error. No writer waits for room."""
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(queue.put, AudioChunk(bytes(5)), 5)
        await anyio.wait_all_tasks_blocked()
        assert queue.is_blocked
        queue.close(ZeroDivisionError())
    await queue.put(AudioChunk(bytes(5)), 5)
    assert [type(await queue.get()) for _ in range(2)] == [AudioChunk] * 2
    with pytest.raises(ZeroDivisionError):
        await queue.get()
