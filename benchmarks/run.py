"""The SDK next to a hand-written client and to the usual recipe, on one emulator, as ratios.

    python benchmarks/run.py --in-flight 50 200 500
    python benchmarks/run.py --only cpu --rounds 5 --clients floor sdk
    python benchmarks/run.py --profile

Each client has its own process, and so has the emulator. Clients take turns, and medians count. Times of one machine
say little; ratios that were measured side by side say much.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from client import CLIENTS
from harness import EVENTS, HERE, SECONDS, alone, emulator, parser, show, turns

NAMES = {
    "floor": "floor: hand-written aiohttp",
    "sdk": "wiro_async",
    "sdk_aiohttp": "wiro_async over httpx-aiohttp",
    "recipe": "recipe: httpx, one socket a task",
}
IMPORTS = ("httpx", "wiro_async")
TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
MAX_RATIO = {200: 2.5, 500: 2.7}  # CPU time of a run over that of the floor, by runs in flight
MIN_EFFICIENCY = 0.90  # speed over that of the floor
MAX_IMPORT = 1.25  # time over that of `import httpx`
Table = list[Sequence[str]]


def client(name: str, options: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """Return the figures of one client under load."""
    flags: list[str] = []
    for key, value in arguments.items():
        flags += [f"--{key.replace('_', '-')}"] + ([] if value is True else [str(value)])
    figures: dict[str, Any] = alone("client.py", name, "--options", json.dumps(options), *flags)
    return figures


def cpu(runs: int, in_flight: int, rounds: int, names: Sequence[str]) -> tuple[dict[str, Any], Table]:
    """Measure CPU time and wall time."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with emulator() as options:
        for name in turns(names, rounds):
            taken[name].append(client(name, options, runs=runs, in_flight=in_flight))
    ideal = math.ceil(runs / in_flight) * SECONDS
    figures = {
        name: {
            "cpu_ms": 1000 * median(one["cpu"] for one in of) / runs,
            "efficiency": ideal / median(one["wall"] for one in of),
            "errors": sum(sum(one["errors"].values()) for one in of),
        }
        for name, of in taken.items()
    }
    table: Table = [("", "CPU a run", "× floor", "of ideal speed", "errors")]
    for name, of in figures.items():
        of["ratio"] = of["cpu_ms"] / figures["floor"]["cpu_ms"]
        cells = (f"{of['cpu_ms']:.2f} ms", f"{of['ratio']:.2f}", f"{of['efficiency']:.0%}", str(of["errors"]))
        table.append((NAMES[name], *cells))
    return {"figures": figures, "rounds": taken}, table


def misses(figures: dict[str, Any], in_flight: int) -> list[str]:
    """Return the targets that the SDK misses."""
    sdk, floor = figures["sdk"], figures["floor"]
    found: list[str] = []
    if sdk["ratio"] > MAX_RATIO.get(in_flight, math.inf):
        found.append(f"{sdk['ratio']:.2f} × floor at {in_flight} in flight (at most {MAX_RATIO[in_flight]})")
    if sdk["efficiency"] < MIN_EFFICIENCY * floor["efficiency"]:
        share = sdk["efficiency"] / floor["efficiency"]
        found.append(f"{share:.2f} of the floor's speed at {in_flight} in flight (at least {MIN_EFFICIENCY})")
    return found


def burst(runs: int, names: Sequence[str]) -> tuple[dict[str, Any], Table]:
    """Make all runs at once, from one gather."""
    figures: dict[str, Any] = {}
    table: Table = [("", "errors", "sockets", "HTTP calls a run", "wall")]
    for name in names:
        ledger: dict[str, Any] = {}
        with emulator(ledger=ledger) as options:
            taken = client(name, options, runs=runs, in_flight=runs, warm_up=0)
        calls, sockets = sum(ledger["calls"].values()) / runs, len(ledger["sockets"])
        errors = ", ".join(f"{count} {kind}" for kind, count in taken["errors"].items()) or "0"
        figures[name] = {**taken, "calls": calls, "sockets": sockets}
        table.append((NAMES[name], errors, str(sockets), f"{calls:.2f}", f"{taken['wall']:.2f} s"))
    return figures, table


def imports(rounds: int) -> tuple[dict[str, float], Table]:
    """Measure imports in new processes."""
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        for _ in range(3 * rounds + 1):
            for name, of in taken.items():
                command = [sys.executable, "-c", TIMED.format(name)]
                done = subprocess.run(command, env=environment, capture_output=True, check=True)
                of.append(float(done.stdout))
    figures = {name: 1000 * median(of[1:]) for name, of in taken.items()}  # the first import compiles
    table: Table = [("", "import", "× httpx")]
    table += [(name, f"{ms:.0f} ms", f"{ms / figures['httpx']:.2f}") for name, ms in figures.items()]
    return figures, table


def main() -> None:
    parts = ("cpu", "burst", "imports")
    arguments = parser(__doc__)
    arguments.add_argument("--only", nargs="+", choices=parts, default=parts)
    arguments.add_argument("--runs", type=int, default=600)
    arguments.add_argument("--in-flight", type=int, nargs="+", default=(200,))
    arguments.add_argument("--burst", type=int, default=500)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--clients", nargs="+", choices=CLIENTS, default=CLIENTS, help="must include the floor")
    arguments.add_argument("--profile", action="store_true", help="only show where the SDK spends its time")
    given = arguments.parse_args()
    if given.profile:
        with emulator() as options:
            client("sdk", options, runs=given.runs, in_flight=given.in_flight[0], profile=True)
        return
    results: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    missed: list[str] = []
    for in_flight in given.in_flight if "cpu" in given.only else ():
        results[f"cpu-{in_flight}"], table = cpu(given.runs, in_flight, given.rounds, given.clients)
        runs = f"{given.runs} runs of {SECONDS} s with {EVENTS} messages"
        show(f"{runs}, {in_flight} in flight, median of {given.rounds}", table)
        if "sdk" in given.clients:
            missed += misses(results[f"cpu-{in_flight}"]["figures"], in_flight)
    if "burst" in given.only:
        results["burst"], table = burst(given.burst, given.clients)
        show(f"{given.burst} runs of {SECONDS} s at once", table)
    if "imports" in given.only:
        results["imports"], table = imports(given.rounds)
        show("import in a new process", table)
        ratio = results["imports"]["wiro_async"] / results["imports"]["httpx"]
        missed += [f"import takes {ratio:.2f} × httpx (at most {MAX_IMPORT})"] if ratio > MAX_IMPORT else []
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    file = folder / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    file.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(f"\n{file}")
    for target in missed:
        print(f"missed: {target}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
