"""How processes that share an account share its limit: throughput next to the ideal, and refusals for each run.

    python benchmarks/fairness.py [--clients 1 3] [--items 150] [--seconds 2] [--limit 20] [--only naive]

Each client is a process with its own batch, `concurrency="auto"`, and knows nothing of the others. The ideal has as
many tasks in flight as the account allows, from the first task to the last. "naive" retries after a jittered backoff.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import subprocess
import sys
import time
import urllib.request
from random import Random, random
from typing import Any
from weakref import WeakKeyDictionary

import attrs

from harness import emulator, parser
from wiro_async import AsyncWiro
from wiro_async._engine.calls.limiter import Limiter, Slot

TARGETS = {1: (0.97, 0.16), 3: (0.94, 0.16)}  # by clients: minimum share of the ideal, maximum refusals a run
BACKOFF, BACKOFF_CAP = 0.5, 8.0


@attrs.frozen
class Figures:
    share: float
    refusals: float
    seconds: list[float]


def be_naive() -> None:
    """Let all sessions of this process submit everything at once, and retry refused runs after a growing pause."""
    tries: WeakKeyDictionary[object, int] = WeakKeyDictionary()
    empty: Any = {field.name: 0 for field in attrs.fields(Slot) if field.default is attrs.NOTHING}

    async def acquire(limiter: Limiter, **retry: object) -> Slot:
        caller = asyncio.current_task()
        tries[caller] = tries.get(caller, 0) + 1 if any(retry.values()) else 0
        if tries[caller]:
            await asyncio.sleep(random() * min(BACKOFF_CAP, BACKOFF * 2.0 ** tries[caller]))
        return Slot(**empty)

    def ignore(limiter: Limiter, *arguments: object) -> None: ...

    for name, method in {"acquire": acquire, "start": ignore, "end": ignore, "refuse": ignore}.items():
        setattr(Limiter, name, method)


def durations(client: int, items: int, seconds: float) -> list[float]:
    dice = Random(client)
    return [seconds * dice.uniform(0.5, 1.5) for _ in range(items)]


async def client(number: int, items: int, seconds: float, options: dict[str, Any], naive: bool) -> None:
    """Wait for the signal, run the batch, print the time of its end."""
    inputs = [{"prompt": f"{number}/{n}", "seconds": s} for n, s in enumerate(durations(number, items, seconds))]
    if naive:
        be_naive()
    async with AsyncWiro(**options) as wiro:
        await wiro.run("emulator/sleeper", {"prompt": "warm-up", "seconds": 0})
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        async with wiro.batch("emulator/sleeper", inputs, concurrency="auto") as batch:
            async for item in batch:
                assert item.error is None, item.error
    print(time.time(), flush=True)


def trial(clients: int, items: int, seconds: float, limit: int, naive: bool) -> Figures:
    """Run all clients at once."""
    with emulator("--balance", str(10 * limit + 9)) as options:  # the balance sets the limit
        command = [sys.executable, __file__, "--options", json.dumps(options), "--items", str(items)]
        command += ["--seconds", str(seconds), *(["--only", "naive"] if naive else [])]
        running = [
            subprocess.Popen(
                [*command, "--client", str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for number in range(clients)
        ]
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        start = time.time()
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        ends = [float(process.communicate()[0]) for process in running]
        with urllib.request.urlopen(options["base_url"].removesuffix("/v1") + "/_emulator/ledger") as answer:
            ledger = json.load(answer)
    made = len(ledger["submissions"])
    assert made == clients * (items + 1)
    refused = sum(count for endpoint, count in ledger["calls"].items() if endpoint.startswith("Run/")) - made
    work = [durations(number, items, seconds) for number in range(clients)]
    best = ideal([task for tasks in zip(*work, strict=True) for task in tasks], limit)
    return Figures(best / (max(ends) - start), refused / (clients * items), [end - start for end in ends])


def ideal(tasks: list[float], limit: int) -> float:
    """Return the seconds that the account needs for these tasks in this order, without gaps."""
    free = [0.0] * limit
    for task in tasks:
        heapq.heapreplace(free, free[0] + task)
    return max(free)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--clients", type=int, nargs="*", default=[1, 3], help="number of processes")
    arguments.add_argument("--items", type=int, default=150, help="runs of each process")
    arguments.add_argument(
        "--seconds", type=float, default=2.0, help="mean duration of a run; runs take 0.5 to 1.5 times as long"
    )
    arguments.add_argument("--limit", type=int, default=20, help="number of tasks that the account may run at a time")
    arguments.add_argument("--only", choices=("wiro", "naive"))
    arguments.add_argument("--client", type=int, help="only run this client")
    arguments.add_argument("--options", type=json.loads, help="only run this client")
    given = arguments.parse_args()
    if given.client is not None:
        asyncio.run(client(given.client, given.items, given.seconds, given.options, given.only == "naive"))
        return
    missed = False
    for clients in given.clients:
        for kind in ("wiro", "naive") if given.only is None else (given.only,):
            figures = trial(clients, given.items, given.seconds, given.limit, kind == "naive")
            ends = ", ".join(f"{seconds:.1f}" for seconds in sorted(figures.seconds))
            print(
                f"{clients} x {given.items} runs, {kind:5}: {figures.share:6.1%} of the ideal, "
                f"{figures.refusals:.2f} refusals a run, ended after {ends} s",
                flush=True,
            )
            share, refusals = TARGETS.get(clients, (0.0, float("inf")))
            missed |= kind == "wiro" and (figures.share < share or figures.refusals > refusals)
    sys.exit(missed)


if __name__ == "__main__":
    main()
