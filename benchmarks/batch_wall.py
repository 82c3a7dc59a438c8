"""The wall time of a batch next to the ideal, the floor and the usual recipe: 2,000 runs of 0.5 s, 200 in flight.

    python benchmarks/batch_wall.py [--runs 2000] [--in-flight 200] [--rounds 3] [--plot docs/batch-wall.png]

Each client has its own process, and so has the emulator. Clients take turns, and medians count.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from harness import EVENTS, MODEL, SECONDS, Client, alone, emulator, parser, turns

MAX_RATIO = 1.15
NAMES = {
    "floor": "hand-written aiohttp",
    "batch": "wiro.batch",
    "journal": "wiro.batch with a journal",
    "recipe": "Semaphore + gather, httpx",
}


async def by_batch(options: dict[str, Any], runs: int, in_flight: int, journal: str | None = None) -> int:
    """Make the runs with the SDK's batch, and return how many failed."""
    from wiro_async import AsyncWiro

    inputs = ({"seconds": SECONDS, "events": EVENTS, "number": number} for number in range(runs))
    async with (
        AsyncWiro(**options) as wiro,
        wiro.batch(MODEL, inputs, concurrency=in_flight, journal=journal) as batch,
    ):
        return sum([item.error is not None async for item in batch])


async def by_hand(name: str, options: dict[str, Any], runs: int, in_flight: int) -> int:
    """Make the runs with a semaphore and a gather, and return how many failed."""
    client: Client = import_module(f"clients.{name}").client
    semaphore = asyncio.Semaphore(in_flight)
    async with client(options) as run:

        async def one() -> None:
            async with semaphore:
                await run(MODEL, {"seconds": SECONDS, "events": EVENTS})

        ended = await asyncio.gather(*(one() for _ in range(runs)), return_exceptions=True)
    return sum(isinstance(end, BaseException) for end in ended)


async def timed(name: str, options: dict[str, Any], runs: int, in_flight: int) -> dict[str, float]:
    """Return the seconds and failures of one client."""
    start = time.perf_counter()
    if name == "batch":
        failed = await by_batch(options, runs, in_flight)
    elif name == "journal":
        with tempfile.TemporaryDirectory() as folder:
            failed = await by_batch(options, runs, in_flight, f"{folder}/run.sqlite")
    else:
        failed = await by_hand(name, options, runs, in_flight)
    return {"wall": time.perf_counter() - start, "failed": failed}


def measure(runs: int = 2000, in_flight: int = 200, rounds: int = 3, names: Sequence[str] = tuple(NAMES)) -> Any:
    """Return median wall times, failures, and the ratio of the batch to the best."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    load = ["--runs", str(runs), "--in-flight", str(in_flight)]
    with emulator("--balance", "1000000") as options:
        for name in turns(names, rounds):
            taken[name].append(alone("batch_wall.py", "--client", name, *load, given=options))
    walls = {name: median(one["wall"] for one in of) for name, of in taken.items()}
    ideal = math.ceil(runs / in_flight) * SECONDS
    return {
        "ideal": ideal,
        "walls": walls,
        "failed": {name: sum(one["failed"] for one in of) for name, of in taken.items()},
        "ratio": walls["batch"] / max(ideal, walls.get("floor", 0.0)),
    }


def plot(figures: Any, path: Path) -> None:
    """Draw a bar for each client, and a line for the ideal."""
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
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=2000)
    arguments.add_argument("--in-flight", type=int, default=200)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--plot", type=Path, help="write a chart to this file; needs matplotlib")
    arguments.add_argument("--client", choices=tuple(NAMES), help="only measure this client; options on standard input")
    given = arguments.parse_args()
    if given.client:
        figures = asyncio.run(timed(given.client, json.load(sys.stdin), given.runs, given.in_flight))
        sys.stdout.write(json.dumps(figures))
        return
    figures = measure(given.runs, given.in_flight, given.rounds)
    print(f"{given.runs} runs of {SECONDS} s, {given.in_flight} in flight; ideal {figures['ideal']:.1f} s")
    for name, wall in figures["walls"].items():
        print(f"  {NAMES[name]:28} {wall:7.2f} s   {figures['failed'][name]:.0f} failed")
    print(f"  wiro.batch takes {figures['ratio']:.2f} × the ideal or the floor (at most {MAX_RATIO})")
    if given.plot:
        plot(figures, given.plot)
    sys.exit(figures["ratio"] > MAX_RATIO)


if __name__ == "__main__":
    main()
