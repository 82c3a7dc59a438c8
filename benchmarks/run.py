"""This library beside a hand-written client and beside the usual recipe, on one emulator, in ratios.

    python benchmarks/run.py [--in-flight 50 200 500] [--rounds 3] [--only cpu burst imports] [--profile]

Each client has a process of its own, and so has the emulator; clients take turns, medians count. Times of one
machine say little, ratios measured side by side say much.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
CLIENTS = ("floor", "sdk", "sdk_aiohttp", "naive")
NAMES = {
    "floor": "hand-written aiohttp",
    "sdk": "wiro_async",
    "sdk_aiohttp": "wiro_async over httpx-aiohttp",
    "naive": "httpx, a socket per task",
}
IMPORTS = ("httpx", "wiro_async")
TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
Table = list[Sequence[str]]


@contextmanager
def emulator(ledger: dict[str, Any] | None = None) -> Generator[str]:
    """An emulator's connection options as JSON; its ledger, if asked for, once it has ended."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.json"
        command = [sys.executable, "-m", "wiro_async.testing", "--no-secret", "--ledger", str(file)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            yield server.stdout.readline()
            server.stdin.close()
            server.wait()
        if ledger is not None:
            ledger.update(json.loads(file.read_text(encoding="utf-8")))


def client(name: str, options: str, **arguments: Any) -> dict[str, Any]:
    """What one client took for a load."""
    command = [sys.executable, str(HERE / "client.py"), name, "--options", options]
    for key, value in arguments.items():
        command += [f"--{key.replace('_', '-')}"] + ([] if value is True else [str(value)])
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    taken: dict[str, Any] = json.loads(done.stdout)
    return taken


def cpu(runs: int, in_flight: int, rounds: int, names: Sequence[str]) -> tuple[dict[str, Any], Table]:
    """CPU time and wall time for a load of half-second runs with twelve messages each."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with emulator() as options:
        for turn in range(rounds):
            for name in [*names[turn % len(names) :], *names[: turn % len(names)]]:
                taken[name].append(client(name, options, runs=runs, in_flight=in_flight))
    ideal = math.ceil(runs / in_flight) * 0.5
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
        ratio = of["cpu_ms"] / figures["floor"]["cpu_ms"]
        cells = (f"{of['cpu_ms']:.2f} ms", f"{ratio:.2f}", f"{of['efficiency']:.0%}", str(of["errors"]))
        table.append((NAMES[name], *cells))
    return {"figures": figures, "rounds": taken}, table


def burst(runs: int, names: Sequence[str]) -> tuple[dict[str, Any], Table]:
    """All runs at once, from one gather."""
    figures: dict[str, Any] = {}
    table: Table = [("", "errors", "sockets", "HTTP calls a run", "wall")]
    for name in names:
        ledger: dict[str, Any] = {}
        with emulator(ledger) as options:
            taken = client(name, options, runs=runs, in_flight=runs, warm_up=0)
        calls, sockets = sum(ledger["calls"].values()) / runs, len(ledger["sockets"])
        errors = ", ".join(f"{count} {kind}" for kind, count in taken["errors"].items()) or "0"
        figures[name] = {**taken, "calls": calls, "sockets": sockets}
        table.append((NAMES[name], errors, str(sockets), f"{calls:.2f}", f"{taken['wall']:.2f} s"))
    return figures, table


def imports(rounds: int) -> tuple[dict[str, Any], Table]:
    """What an import costs in a fresh process."""
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        for _ in range(3 * rounds + 1):
            for name, of in taken.items():
                command = [sys.executable, "-c", TIMED.format(name)]
                done = subprocess.run(command, env=environment, capture_output=True, check=True)
                of.append(float(done.stdout))
    figures = {name: 1000 * median(of[1:]) for name, of in taken.items()}  # the first one compiles
    table: Table = [("", "import", "× httpx")]
    table += [(name, f"{ms:.0f} ms", f"{ms / figures['httpx']:.2f}") for name, ms in figures.items()]
    return figures, table


def show(title: str, table: Table) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    print(f"\n{title}")
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print("  " + "   ".join([row[0].ljust(widths[0]), *cells[1:]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("cpu", "burst", "imports"), default=("cpu", "burst", "imports"))
    parser.add_argument("--runs", type=int, default=600)
    parser.add_argument("--in-flight", type=int, nargs="+", default=(200,))
    parser.add_argument("--burst", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=CLIENTS, help="the floor must be among them")
    parser.add_argument("--profile", action="store_true", help="only this: where this library spends its time")
    given = parser.parse_args()
    if given.profile:
        with emulator() as options:
            client("sdk", options, runs=given.runs, in_flight=given.in_flight[0], profile=True)
        return
    results: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    for in_flight in given.in_flight if "cpu" in given.only else ():
        results[f"cpu-{in_flight}"], table = cpu(given.runs, in_flight, given.rounds, given.clients)
        show(f"{given.runs} runs of 0.5 s with 12 messages, {in_flight} in flight, median of {given.rounds}", table)
    if "burst" in given.only:
        results["burst"], table = burst(given.burst, given.clients)
        show(f"{given.burst} runs of 0.5 s at once", table)
    if "imports" in given.only:
        results["imports"], table = imports(given.rounds)
        show("import in a fresh process", table)
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    file = folder / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    file.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(f"\n{file}")


if __name__ == "__main__":
    main()
