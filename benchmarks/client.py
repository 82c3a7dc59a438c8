"""One client in a process of its own: runs a load, and prints what it took as JSON."""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import runpy
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

MODEL = "emulator/sleeper"
WARM_UP = 5
Run = Callable[[str, dict[str, Any]], Awaitable[Any]]


class Load:
    """So many runs, so many at a time; errors are counted, not raised."""

    def __init__(self, run: Run, seconds: float, events: int) -> None:
        self.run = run
        self.input = {"seconds": seconds, "events": events}
        self.errors: Counter[str] = Counter()

    async def one(self) -> None:
        try:
            await self.run(MODEL, self.input)
        except Exception as error:
            self.errors[type(error).__name__] += 1

    async def carry(self, runs: int, in_flight: int) -> None:
        """As many tasks as runs if all may be in flight, else that many workers."""
        if in_flight >= runs:
            await asyncio.gather(*(self.one() for _ in range(runs)))
            return
        left = iter(range(runs))

        async def work() -> None:
            for _ in left:
                await self.one()

        await asyncio.gather(*(work() for _ in range(in_flight)))


async def measure(given: argparse.Namespace) -> dict[str, Any]:
    client = runpy.run_path(str(Path(__file__).with_name(f"{given.client}.py")))["client"]
    async with client(json.loads(given.options)) as run:
        load = Load(run, given.seconds, given.events)
        await load.carry(given.warm_up, given.warm_up)
        profile = cProfile.Profile() if given.profile else None
        wall, cpu = time.perf_counter(), time.process_time()
        if profile:
            profile.enable()
        await load.carry(given.runs, given.in_flight)
        if profile:
            profile.disable()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if profile:
        stats = pstats.Stats(profile, stream=sys.stderr)
        stats.sort_stats("tottime").print_stats(40).sort_stats("cumtime").print_stats(60)
    return {"wall": wall, "cpu": cpu, "errors": dict(load.errors)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=("floor", "sdk", "sdk_aiohttp", "naive"))
    parser.add_argument("--options", required=True, help="the emulator's connection options, as JSON")
    parser.add_argument("--runs", type=int, default=600)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--events", type=int, default=12)
    parser.add_argument("--warm-up", type=int, default=WARM_UP)
    parser.add_argument("--profile", action="store_true", help="where the time goes, to standard error")
    sys.stdout.write(json.dumps(asyncio.run(measure(parser.parse_args()))) + "\n")


if __name__ == "__main__":
    main()
