"""`wiro.tasks.list`: filters and pages, even if tasks are made between two pages, and deleted files."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from wiro_async import APIError, AsyncWiro, NotFoundError, TaskHandle, Tuning
from wiro_async.testing import Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until

QUICK = {"seconds": 3, "events": 9}


async def made(wiro: AsyncWiro, count: int, model: str = "emulator/queued") -> list[str]:
    """Make some tasks, and return their ids in order."""
    return [str((await wiro.submit(model)).id) for _ in range(count)]


async def test_both_orders(wiro: AsyncWiro) -> None:
    """Newest first or oldest first."""
    ids = await made(wiro, 5)
    assert [task.id async for task in wiro.tasks.list()] == ids[::-1]
    assert [task.id async for task in wiro.tasks.list(oldest_first=True)] == ids


async def test_a_limit(emulator: WiroEmulator) -> None:
    """No more pages are fetched than needed."""
    emulator.tuning = Tuning(page_size=2)
    async with AsyncWiro(**emulator.options()) as wiro:
        ids = await made(wiro, 5)
        assert [task.id async for task in wiro.tasks.list(limit=3)] == ids[:1:-1]
        assert emulator.ledger.count("Task/List") == 2
        assert [task async for task in wiro.tasks.list(limit=0)] == []
        assert emulator.ledger.count("Task/List") == 2


async def test_by_status(wiro: AsyncWiro) -> None:
    """One, or several."""
    queued = await made(wiro, 2)
    done = (await wiro.run("emulator/sleeper", QUICK)).info.id
    assert [task.id async for task in wiro.tasks.list(status="task_queue")] == queued[::-1]
    assert [task.id async for task in wiro.tasks.list(status="task_postprocess_end", limit=5)] == [done]
    both = [task.id async for task in wiro.tasks.list(status=["task_queue", "task_postprocess_end"])]
    assert both == [done, *queued[::-1]]


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_by_time(emulator: WiroEmulator, until: Until, oldest_first: bool) -> None:
    """Older tasks are left out. With the newest first, their pages are not even fetched."""
    emulator.tuning = Tuning(page_size=2)
    async with AsyncWiro(**emulator.options()) as wiro:
        ids = await made(wiro, 3)
        start = int(time.time()) + 1  # the service reports whole seconds
        await until(lambda: time.time() >= start)
        ids += await made(wiro, 3)
        since = datetime.fromtimestamp(start, UTC)
        found = [task.id async for task in wiro.tasks.list(since=since, oldest_first=oldest_first)]
        assert sorted(found) == ids[3:]
        assert emulator.ledger.count("Task/List") == (4 if oldest_first else 2)
        local = since.astimezone().replace(tzinfo=None)
        assert [task.id async for task in wiro.tasks.list(since=local)] == ids[:2:-1]


async def test_new_tasks_between_two_pages(emulator: WiroEmulator) -> None:
    """New tasks shift others to the next page. No task is listed twice."""
    emulator.tuning = Tuning(page_size=3)
    async with AsyncWiro(**emulator.options()) as wiro:
        ids = await made(wiro, 6)
        found: list[str] = []
        async for task in wiro.tasks.list():
            found.append(task.id)
            if len(found) == 3:
                await made(wiro, 2)
        assert found == ids[::-1]


async def test_a_service_that_gives_fewer_at_a_time(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A page that is not full does not mean that there are no more."""
    rows = [f'{{"id":"{number}","status":"task_queue"}}' for number in range(45)]
    for first in (0, 20, 40):
        page = ",".join(rows[first : first + 20])
        emulator.faults.http("Task/List", Respond(200, f'{{"result":true,"total":"45","tasklist":[{page}]}}'))
    assert [task.id async for task in wiro.tasks.list()] == [str(number) for number in range(45)]


@pytest.mark.parametrize("size", [20, 100])
async def test_invalid_rows(emulator: WiroEmulator, wiro: AsyncWiro, size: int) -> None:
    """A null or a row without an id does not end the list."""
    rows: list[object] = [{"id": str(number), "status": "task_queue"} for number in range(240)]
    rows[5:8] = [None, {"socketaccesstoken": "one"}, {"socketaccesstoken": "two"}]
    for first in range(0, 260, size):
        body = json.dumps({"result": True, "total": "240", "tasklist": rows[first : first + size]})
        emulator.faults.http("Task/List", Respond(200, body.encode()))
    found = [task.id or task.token async for task in wiro.tasks.list()]
    assert found == [*map(str, range(5)), "one", "two", *map(str, range(8, 240))]


async def test_deleting_files(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Only when the task is over, by any reference. Repeating is idempotent, and the task stays."""
    handle: TaskHandle = await wiro.submit("emulator/sleeper", QUICK)
    running = await wiro.submit("emulator/stuck")
    with pytest.raises(APIError, match="still running"):
        await wiro.tasks.delete_files(running)
    result = await handle
    for ref in (handle, result.info, str(handle.id), str(handle.token)):
        await wiro.tasks.delete_files(ref)
    task = await handle.info()
    assert task is not None
    assert (task.outputs, task.succeeded) == ((), True)


async def test_a_task_that_is_not_listed_yet(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A call that needs the task's other identifier raises instead of sending an empty one."""
    emulator.faults.empty_tasklist = 2
    handle = await wiro.submit("emulator/queued")
    with pytest.raises(NotFoundError, match="not listed yet"):
        await wiro.tasks.delete_files(str(handle.id))
    assert await wiro.tasks.cancel(str(handle.token)), "cancelling waits until the task is listed"


def growing_list(emulator: WiroEmulator, growth: int) -> None:
    """A list of 250 tasks, to which this many are added at its head after each page is read."""
    rows = list(range(250, 0, -1))
    for start in range(0, 100_000, 100):
        page = [{"id": str(number)} for number in rows[start : start + 100]]
        body = json.dumps({"result": True, "tasklist": page})
        emulator.faults.http("Task/List", Respond(200, body.encode()))
        if len(page) < 100:
            return
        rows[:0] = range(rows[0] + growth, rows[0], -1)


@pytest.mark.parametrize("growth", [0, 1, 30])
async def test_new_tasks_between_pages(emulator: WiroEmulator, wiro: AsyncWiro, growth: int) -> None:
    """New tasks shift others to the next page. No task is listed twice."""
    growing_list(emulator, growth)
    found = [task.id async for task in wiro.tasks.list()]
    assert len(found) == len(set(found))
    assert {str(number) for number in range(1, 251)} <= set(found)


async def test_a_list_that_repeats_its_page(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A service that repeats a page is not requested indefinitely."""
    body = json.dumps({"result": True, "tasklist": [{"id": str(number)} for number in range(100)]})
    emulator.faults.http("Task/List", Respond(200, body.encode()), times=None)
    assert len([task async for task in wiro.tasks.list()]) == 100
    assert emulator.ledger.count("Task/List") < 6


async def test_lists_are_context_managers(wiro: AsyncWiro) -> None:
    """After the block the iterator yields nothing more."""
    await wiro.submit("emulator/stuck")
    for items in (wiro.tasks.list(), wiro.models.list(), wiro.models.search("paints")):
        async with items:
            assert await anext(items)
        with pytest.raises(StopAsyncIteration):
            await anext(items)
        await items.aclose()
