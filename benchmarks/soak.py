"""The memory of a session that lives long: many thousand runs in one session.

    python benchmarks/soak.py [--runs 20000] [--in-flight 100] [--types]

The emulator has its own process. A tenth of the runs streams text, a tenth is followed by its events, a hundredth is
cancelled. The slope is that of a line through the samples after the first tenth (least squares). The session remembers
few ended tasks, and the warm-up fills that memory, so that it does not look like a leak.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from statistics import linear_regression
from typing import Any

import attrs

from harness import emulator, parser
from wiro_async import AsyncWiro, Tuning

psutil: Any = import_module("psutil")  # has no types

WARM_UP = 0.1
SAMPLES = 200
MAX_SLOPE = 100.0  # KB that 1,000 runs may add: far less than one object kept for each of them
TUNING = Tuning(max_known_tasks=500)
ENDLESS = 1e6
Sample = tuple[int, float]  # completed runs, KB of memory


async def one(wiro: AsyncWiro, number: int) -> None:
    """Make one run, of one of several kinds."""
    given = {"prompt": f"intent {number}", "seconds": 1}
    if number % 10 == 1:
        async with wiro.stream("emulator/writer", given) as stream:
            async for _ in stream:
                pass
    elif number % 10 == 2:
        task = await wiro.submit("emulator/sleeper", given)
        async for _ in task.events():
            pass
    elif number % 100 == 3:
        run = asyncio.ensure_future(wiro.run("emulator/sleeper", {**given, "seconds": ENDLESS}))
        await asyncio.wait([run], timeout=0.1)
        run.cancel()
        await asyncio.wait([run])
        assert run.cancelled()
    else:
        await wiro.run("emulator/sleeper", given)


async def soak(wiro: AsyncWiro, runs: int, in_flight: int) -> list[Sample]:
    """Make the runs, and sample the memory."""
    process = psutil.Process()
    samples: list[Sample] = []
    numbers = iter(range(runs))
    done = 0

    async def work() -> None:
        nonlocal done
        for number in numbers:
            await one(wiro, number)
            done += 1
            if done % max(1, runs // SAMPLES) == 0:
                samples.append((done, process.memory_info().rss / 1024))

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())
    return samples


def types() -> Counter[str]:
    gc.collect()
    return Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects())


def slope(samples: Sequence[Sample], runs: int) -> float:
    """Return the KB that 1,000 runs add after the warm-up."""
    warm = [sample for sample in samples if sample[0] > WARM_UP * runs]
    return 1000 * linear_regression(*zip(*warm, strict=True)).slope


async def measured(options: dict[str, Any], runs: int, in_flight: int, show_types: bool) -> bool:
    """Run the benchmark, print the figures, and return whether all targets are met."""
    start = time.perf_counter()
    async with AsyncWiro(**options, tuning=TUNING) as wiro:
        await soak(wiro, max(in_flight, TUNING.max_known_tasks), in_flight)
        before = types() if show_types else Counter[str]()
        samples = await soak(wiro, runs, in_flight)
        after = types() if show_types else before
        for name, count in (after - before).most_common(15):
            print(f"  {count:+6} {name}")
    seconds = time.perf_counter() - start
    added = slope(samples, runs)
    sockets = len(psutil.Process().net_connections("inet"))
    tasks = len(asyncio.all_tasks()) - 1
    held = sum(attrs.astuple(wiro.statistics()))
    print(f"{runs:,} runs in {seconds:.0f} s, {in_flight} in flight")
    print(f"memory: {samples[0][1] / 1024:.1f} MB at first, {samples[-1][1] / 1024:.1f} MB at the end")
    print(f"slope:  {added:+.1f} KB for 1,000 runs (at most {MAX_SLOPE:.0f})")
    print(f"left after closing: {sockets} sockets, {tasks} tasks, {held} entries in the session's statistics")
    return added <= MAX_SLOPE and not (sockets or tasks or held)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=20_000)
    arguments.add_argument("--in-flight", type=int, default=100)
    arguments.add_argument("--types", action="store_true", help="show which types of objects became more")
    given = arguments.parse_args()
    with emulator("--speed", "20") as options:
        well = asyncio.run(measured(options, given.runs, given.in_flight, given.types))
    sys.exit(not well)


if __name__ == "__main__":
    main()
