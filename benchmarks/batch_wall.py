"""The wall time of a batch: 2,000 runs of half a second, 200 in flight, next to the ideal, the floor and the recipe.

    python benchmarks/batch_wall.py [--runs 2000] [--in-flight 200] [--rounds 3] [--plot docs/batch-wall.png]

Every client has a process of its own, and so has the emulator; clients take turns, medians count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
SECONDS = 0.5
EVENTS = 12
LIMIT = 1.15
MODEL = "emulator/sleeper"
NAMES = {
    "floor": "hand-written aiohttp",
    "batch": "wiro.batch",
    "journal": "wiro.batch with a journal",
    "recipe": "Semaphore + gather, httpx",
}


async def by_batch(options: dict[str, Any], runs: int, in_flight: int, journal: str | None = None) -> int:
    """How many runs failed in this library's batch."""
    from wiro_async import AsyncWiro

    inputs = ({"seconds": SECONDS, "events": EVENTS, "number": number} for number in range(runs))
    async with (
        AsyncWiro(**options) as wiro,
        wiro.batch(MODEL, inputs, concurrency=in_flight, journal=journal) as batch,
    ):
        return sum([item.error is not None async for item in batch])


async def by_hand(name: str, options: dict[str, Any], runs: int, in_flight: int) -> int:
    """How many runs failed with the floor, or with the recipe that everybody writes."""
    import runpy

    client = runpy.run_path(str(HERE / f"{name}.py"))["client"]
    semaphore = asyncio.Semaphore(in_flight)
    async with client(options) as run:

        async def one() -> None:
            async with semaphore:
                await run(MODEL, {"seconds": SECONDS, "events": EVENTS})

        ended = await asyncio.gather(*(one() for _ in range(runs)), return_exceptions=True)
    return sum(isinstance(end, BaseException) for end in ended)


async def timed(name: str, options: dict[str, Any], runs: int, in_flight: int) -> dict[str, float]:
    """Seconds and failures of one client."""
    import tempfile

    start = time.perf_counter()
    if name == "batch":
        failed = await by_batch(options, runs, in_flight)
    elif name == "journal":
        with tempfile.TemporaryDirectory() as folder:
            failed = await by_batch(options, runs, in_flight, f"{folder}/run.sqlite")
    else:
        failed = await by_hand({"floor": "floor", "recipe": "naive"}[name], options, runs, in_flight)
    return {"wall": time.perf_counter() - start, "failed": failed}


def alone(name: str, options: str, runs: int, in_flight: int) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--client", name, "--options", options]
    command += ["--runs", str(runs), "--in-flight", str(in_flight)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    taken: dict[str, float] = json.loads(done.stdout)
    return taken


def measure(runs: int = 2000, in_flight: int = 200, rounds: int = 3, names: Sequence[str] = tuple(NAMES)) -> Any:
    """Median wall times, failures, and the ratio that counts."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    command = [sys.executable, "-m", "wiro_async.testing", "--no-secret", "--balance", "1000000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        options = server.stdout.readline()
        for turn in range(rounds):
            for name in [*names[turn % len(names) :], *names[: turn % len(names)]]:
                taken[name].append(alone(name, options, runs, in_flight))
        server.stdin.close()
    walls = {name: median(one["wall"] for one in of) for name, of in taken.items()}
    ideal = math.ceil(runs / in_flight) * SECONDS
    best = max(ideal, walls.get("floor", 0.0))
    return {
        "ideal": ideal,
        "walls": walls,
        "failed": {name: sum(one["failed"] for one in of) for name, of in taken.items()},
        "ratio": walls["batch"] / best,
    }


def plot(figures: Any, path: Path) -> None:
    """A bar for each client, and a line for the ideal."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(figures["walls"])
    figure, axes = pyplot.subplots(figsize=(7.5, 2.6), dpi=160)
    colours = ["#3b6ef5" if name in ("batch", "journal") else "#c3cad6" for name in names]
    bars = axes.barh([NAMES[name] for name in names], [figures["walls"][name] for name in names], color=colours)
    failed = [f"{figures['failed'][name]:.0f}" for name in names]
    labels = [
        f"{wall:.1f} s" + (f", {lost} failed" if lost != "0" else "")
        for wall, lost in zip(figures["walls"].values(), failed, strict=True)
    ]
    axes.bar_label(bars, labels, padding=4)
    axes.axvline(figures["ideal"], color="#16191f", linewidth=1, linestyle=":")
    axes.set_xlim(0, max(figures["walls"].values()) * 1.3)
    axes.invert_yaxis()
    axes.set_xlabel("seconds; the dotted line is the ideal")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="where to draw them; needs matplotlib")
    parser.add_argument("--client", choices=tuple(NAMES), help=argparse.SUPPRESS)
    parser.add_argument("--options", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        told = asyncio.run(timed(given.client, json.loads(given.options), given.runs, given.in_flight))
        sys.stdout.write(json.dumps(told))
        return
    figures = measure(given.runs, given.in_flight, given.rounds)
    print(f"{given.runs} runs of {SECONDS} s, {given.in_flight} in flight; ideal {figures['ideal']:.1f} s")
    for name, wall in figures["walls"].items():
        print(f"  {NAMES[name]:28} {wall:7.2f} s   {figures['failed'][name]:.0f} failed")
    print(f"  wiro.batch takes {figures['ratio']:.2f} of the ideal or of the floor (at most {LIMIT})")
    if given.plot:
        plot(figures, given.plot)
    sys.exit(figures["ratio"] > LIMIT)


if __name__ == "__main__":
    main()
