"""A thousand runs in one session. It holds no more at the end than after the first half."""

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from wiro_async import AsyncWiro
from wiro_async._engine.engine import Statistics
from wiro_async.testing import WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until

RUNS = min(500, int(os.environ.get("WIRO_TEST_CHAOS_RUNS", "2000")) // 4)
IN_FLIGHT = 50
POLLS_OVER = 0.5  # seconds until every planned poll is due
NOISE = 10
NOTHING = Statistics(0, 0, 0, 0, 0, 0, 0)


def held() -> Counter[str]:
    """Return the number of objects of each class of the SDK."""
    gc.collect()
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in map(type, gc.get_objects()))
    ours = (name for name in names if name.startswith("wiro_async."))
    return Counter(name for name in ours if not name.startswith("wiro_async.testing."))


async def use(wiro: AsyncWiro, numbers: Iterator[int]) -> None:
    """Make runs of several kinds."""
    for number in numbers:
        given = {"prompt": f"intent {number}", "seconds": 1}
        if number % 5 == 1:
            async with wiro.stream("emulator/writer", given) as stream:
                await stream.result()
        elif number % 5 == 2:
            task = await wiro.submit("emulator/sleeper", given)
            assert [event async for event in task.events()]
        elif number % 20 == 3:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await wiro.run("emulator/sleeper", {**given, "seconds": 100_000})
        else:
            assert (await wiro.run("emulator/sleeper", given)).succeeded


async def half(wiro: AsyncWiro) -> Counter[str]:
    """Make half of the runs, and return the objects that are left."""
    numbers = iter(range(RUNS))
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(use(wiro, numbers))
    await asyncio.sleep(POLLS_OVER)
    return held()


@pytest.mark.usefixtures("short_timing")
@pytest.mark.tuning(http_keep_alive=0.1)  # how many connections are idle at the moment does not count
async def test_nothing_grows(emulator: WiroEmulator, open_files: Callable[[], set[str]], until: "Until") -> None:
    """The second half leaves no objects, and closing leaves no socket and no task."""

    def sockets() -> int:
        return sum("socket:" in name for name in open_files())

    tasks, before = asyncio.all_tasks(), sockets()
    async with AsyncWiro(**emulator.options()) as wiro:
        first = await half(wiro)
        second = await half(wiro)
        grown = {name: count for name, count in (second - first).items() if count > NOISE}
        assert not grown, f"held after {RUNS} more runs: {grown}"
        assert sockets() > before
    assert wiro.statistics() == NOTHING
    assert asyncio.all_tasks() == tasks
    await until(lambda: sockets() <= before)
