"""Promise 12. One session, one loop, any number of tasks."""

from __future__ import annotations

import asyncio
import sys

import pytest

from wiro_async import AsyncWiro, SessionClosedError
from wiro_async.testing import WiroEmulator

SHORT = {"seconds": 5, "events": 9}  # a tenth of a second at the emulator's speed of 50
STUCK = "emulator/stuck"


def statuses(emulator: WiroEmulator) -> list[str]:
    """Return the status of each task."""
    return [task.status for task in emulator.ledger.tasks.values()]


def test_12_a_second_loop_with_a_new_session(emulator: WiroEmulator) -> None:
    """A new session works in a second `asyncio.run`, even if the first one was interrupted."""

    async def interrupted() -> None:
        async with AsyncWiro(**emulator.options()) as wiro:
            async with asyncio.timeout(0.1):
                await wiro.run(STUCK)

    async def whole() -> bool:
        async with AsyncWiro(**emulator.options()) as wiro:
            return (await wiro.run("emulator/sleeper", SHORT)).succeeded

    with pytest.raises(TimeoutError):
        asyncio.run(interrupted())
    assert asyncio.run(whole())
    assert statuses(emulator) == ["task_cancel", "task_postprocess_end"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks before Python 3.12")
def test_12_tasks_may_be_eager(emulator: WiroEmulator) -> None:
    """With a loop whose tasks begin at once, a session opens, runs and stops as with any other."""

    async def main() -> bool:
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - 3.12
        async with AsyncWiro(**emulator.options()) as wiro:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await wiro.run(STUCK)
            return (await wiro.run("emulator/sleeper", SHORT)).succeeded

    assert asyncio.run(asyncio.wait_for(main(), 10))
    assert statuses(emulator) == ["task_cancel", "task_postprocess_end"]


async def test_12_another_loop_is_refused(wiro: AsyncWiro) -> None:
    """Use from another loop raises, and the session keeps working."""

    async def elsewhere() -> None:
        await wiro.submit("emulator/sleeper")

    with pytest.raises(SessionClosedError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, elsewhere())
    assert (await wiro.run("emulator/sleeper", SHORT)).succeeded


async def test_12_hundreds_of_tasks_share_one_session(emulator: WiroEmulator, default_session: AsyncWiro) -> None:
    """150 runs at once use one WebSocket and at most three requests each."""
    results = await asyncio.gather(
        *(default_session.run("emulator/sleeper", {"seconds": 40, "n": n}) for n in range(150))
    )
    assert [result.info.parameters["n"] for result in results] == [str(n) for n in range(150)]
    assert len(emulator.ledger.sockets) == 1
    assert emulator.ledger.count() <= 450
