"""Does a session that lives long grow? Many thousand runs in one session, its memory sampled on the way.

python benchmarks/soak.py [--runs 20000] [--in-flight 100] [--types]

The emulator has a process of its own. A tenth of the runs is streamed text, a tenth is followed by its events, a
hundredth is cancelled. The slope is that of a line through the samples after the first tenth (least squares). What a
session knows of its last 10,000 tasks, a megabyte, is there from the start, so that it does not look like a leak.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from statistics import linear_regression
from typing import Any

import attrs

from wiro_async import AsyncWiro

psutil: Any = import_module("psutil")  # it has no types

WARM_UP = 0.1
SAMPLES = 200
SLOPE = 100.0  # most KB that 1,000 runs may add: far less than any object kept for each of them
ENDLESS = 1e6
Sample = tuple[int, float]  # runs done, KB held


@contextmanager
def emulator() -> Generator[dict[str, Any]]:
    """The service in a process of its own."""
    command = [sys.executable, "-m", "wiro_async.testing", "--no-secret", "--speed", "20"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


async def one(wiro: AsyncWiro, number: int) -> None:
    """One of the things that people do."""
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
    """Make the runs, and sample."""
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
    """KB that 1,000 runs add, once warm."""
    warm = [sample for sample in samples if sample[0] > WARM_UP * runs]
    return 1000 * linear_regression(*zip(*warm, strict=True)).slope


async def measured(options: dict[str, Any], runs: int, in_flight: int, show_types: bool) -> bool:
    """Soak, print, and say whether all is well."""
    start = time.perf_counter()
    async with AsyncWiro(**options) as wiro:
        for number in range(wiro._engine.tuning.max_known_tasks):  # the memory of ids is full from the start
            wiro._engine.tracker.remember(f"9{number:06}")
        await soak(wiro, in_flight, in_flight)
        before = types() if show_types else Counter[str]()
        samples = await soak(wiro, runs, in_flight)
        after = types() if show_types else before
        for name, count in (after - before).most_common(15):
            print(f"  {count:+6} {name}")
    seconds = time.perf_counter() - start
    growth = slope(samples, runs)
    sockets = len(psutil.Process().net_connections("inet"))
    tasks = len(asyncio.all_tasks()) - 1
    held = sum(attrs.astuple(wiro.statistics()))
    print(f"{runs:,} runs in {seconds:.0f} s, {in_flight} in flight")
    print(f"memory: {samples[0][1] / 1024:.1f} MB at first, {samples[-1][1] / 1024:.1f} MB at the end")
    print(f"slope:  {growth:+.1f} KB for 1,000 runs (at most {SLOPE:.0f})")
    print(f"left after closing: {sockets} sockets, {tasks} tasks, {held} things in the session's statistics")
    return growth <= SLOPE and not (sockets or tasks or held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--types", action="store_true", help="show which objects there are more of")
    given = parser.parse_args()
    with emulator() as options:
        well = asyncio.run(measured(options, given.runs, given.in_flight, given.types))
    sys.exit(not well)


if __name__ == "__main__":
    main()
