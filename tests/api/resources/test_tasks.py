"""`wiro.tasks`: any task of the account, by any reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wiro_async import AsyncWiro, InvalidInputError, NotFoundError, TaskHandle, TaskInfo, Tuning
from wiro_async._protocol.tasks.records import parse_task
from wiro_async.testing import WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until


@pytest.mark.parametrize("by", ["handle", "record", "token", "id"])
async def test_a_task_by_any_reference(emulator: WiroEmulator, wiro: AsyncWiro, by: str) -> None:
    """A handle, a record, a token and an id refer to one task."""
    handle = await wiro.submit("emulator/queued")
    record = await wiro.tasks.get(handle)
    assert isinstance(record, TaskInfo)
    refs: dict[str, TaskHandle | TaskInfo | str] = {
        "handle": handle,
        "record": record,
        "token": str(handle.token),
        "id": str(handle.id),
    }
    ref = refs[by]
    detail = await wiro.tasks.get(ref)
    assert detail is not None
    assert (detail.id, detail.token, detail.model) == (handle.id, handle.token, "emulator/queued")
    await wiro.tasks.cancel(ref)
    assert emulator.ledger.tasks[str(handle.id)].status == "task_cancel"
    await wiro.tasks.delete_files(ref)


async def test_numbers_are_ids(wiro: AsyncWiro) -> None:
    """A number is accepted as the id of a task."""
    handle = await wiro.submit("emulator/queued")
    task = await wiro.tasks.get(int(str(handle.id)))
    assert task is not None
    assert task.token == handle.token


@pytest.mark.parametrize("ref", [None, "", " ", b"x", True, 1.5, parse_task({})])
async def test_references_to_no_task(wiro: AsyncWiro, emulator: WiroEmulator, ref: Any) -> None:
    """Nothing is sent."""
    for ask in (wiro.tasks.get, wiro.tasks.cancel, wiro.tasks.delete_files):
        with pytest.raises(InvalidInputError, match="refers to no task"):
            await ask(ref)
    assert not emulator.ledger.calls


@pytest.mark.parametrize("model,status", [("emulator/queued", "task_queue"), ("emulator/stuck", "task_start")])
async def test_cancel(emulator: WiroEmulator, wiro: AsyncWiro, until: Until, model: str, status: str) -> None:
    """Queued or running. A second call has nothing to do."""
    handle = await wiro.submit(model)
    await until(lambda: emulator.ledger.tasks[str(handle.id)].status == status)
    assert await wiro.tasks.cancel(str(handle.id))
    assert emulator.ledger.tasks[str(handle.id)].status == "task_cancel"
    assert await wiro.tasks.cancel(str(handle.token))


async def test_cancelling_an_ended_task(wiro: AsyncWiro) -> None:
    """It raises nothing."""
    task = await wiro.submit("emulator/sleeper", {"seconds": 1})
    await task
    assert await wiro.tasks.cancel(task) is False


async def test_a_missing_task(wiro: AsyncWiro) -> None:
    """Each call raises `NotFoundError`."""
    for call in (wiro.tasks.get, wiro.tasks.cancel, wiro.tasks.delete_files):
        with pytest.raises(NotFoundError):
            await call("404")


async def test_list_goes_through_all_pages(
    emulator: WiroEmulator,
) -> None:
    """Newest first, and pages are fetched as needed."""
    emulator.tuning = Tuning(page_size=3)
    async with AsyncWiro(**emulator.options()) as wiro:
        made = [(await wiro.submit("emulator/queued")).id for _ in range(7)]
        assert [task.id async for task in wiro.tasks.list()] == made[::-1]
        assert emulator.ledger.count("Task/List") == 3
        async for _ in wiro.tasks.list():
            break
        assert emulator.ledger.count("Task/List") == 4


async def test_list_of_one_model(wiro: AsyncWiro) -> None:
    """Tasks of other models are left out."""
    await wiro.submit("emulator/stuck")
    made = await wiro.submit("emulator/queued")
    assert [task.id async for task in wiro.tasks.list(model="emulator/queued")] == [made.id]


async def test_an_empty_list(wiro: AsyncWiro) -> None:
    """No tasks is not an error."""
    assert [task async for task in wiro.tasks.list()] == []
