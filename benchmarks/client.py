"""One client under load, in its own process. Prints its wall time, CPU time and errors as JSON.

python benchmarks/client.py sdk --options JSON [--runs 600] [--in-flight 200] [--profile]

The options are those that `python -m wiro_async.testing` prints.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import sys
import time
from collections import Counter
from importlib import import_module
from typing import Any

from harness import EVENTS, MODEL, SECONDS, Client, Run, parser

CLIENTS = ("floor", "sdk", "sdk_aiohttp", "recipe")
WARM_UP = 5


class Load:
    """Runs of one kind. Errors are counted, not raised."""

    def __init__(self, run: Run, seconds: float, events: int) -> None:
        self.run = run
        self.input = {"seconds": seconds, "events": events}
        self.errors: Counter[str] = Counter()

    async def one(self) -> None:
        try:
            await self.run(MODEL, self.input)
        except Exception as error:
            self.errors[type(error).__name__] += 1

    async def make(self, runs: int, in_flight: int) -> None:
        """Make runs: all at once from one gather, or with as many workers as runs may be in flight."""
        if in_flight >= runs:
            await asyncio.gather(*(self.one() for _ in range(runs)))
            return
        left = iter(range(runs))

        async def work() -> None:
            for _ in left:
                await self.one()

        await asyncio.gather(*(work() for _ in range(in_flight)))


async def measure(given: argparse.Namespace) -> dict[str, Any]:
    client: Client = import_module(f"clients.{given.client}").client
    async with client(json.loads(given.options)) as run:
        load = Load(run, given.seconds, given.events)
        await load.make(given.warm_up, given.warm_up)
        profile = cProfile.Profile() if given.profile else None
        wall, cpu = time.perf_counter(), time.process_time()
        if profile:
            profile.enable()
        await load.make(given.runs, given.in_flight)
        if profile:
            profile.disable()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if profile:
        stats = pstats.Stats(profile, stream=sys.stderr)
        stats.sort_stats("tottime").print_stats(40).sort_stats("cumtime").print_stats(60)
    return {"wall": wall, "cpu": cpu, "errors": dict(load.errors)}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("client", choices=CLIENTS)
    arguments.add_argument("--options", required=True, help="the emulator's connection options, as JSON")
    arguments.add_argument("--runs", type=int, default=600)
    arguments.add_argument("--in-flight", type=int, default=200)
    arguments.add_argument("--seconds", type=float, default=SECONDS)
    arguments.add_argument("--events", type=int, default=EVENTS)
    arguments.add_argument("--warm-up", type=int, default=WARM_UP)
    arguments.add_argument("--profile", action="store_true", help="print where the time goes to standard error")
    sys.stdout.write(json.dumps(asyncio.run(measure(arguments.parse_args()))) + "\n")


if __name__ == "__main__":
    main()
