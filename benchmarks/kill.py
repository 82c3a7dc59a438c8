"""A batch with a journal, killed with -9 at random moments and started again: every item is billed once.

python benchmarks/kill.py [--rounds 50] [--items 400] [--seed 1]
python benchmarks/kill.py --postgres [--rounds 20] [--items 1000]: four processes share a journal in PostgreSQL
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wiro_async import AsyncWiro, Journal
from wiro_async.testing import DelayAnswer, WiroEmulator

CONCURRENCY = 40
RUN_SECONDS = 0.5
SPEED = 10.0
GRACE = 1.0


def inputs(items: int) -> Iterator[dict[str, Any]]:
    """Yield inputs, of which every third equals another one. Keys and searches must distinguish equal runs."""
    for number in range(items):
        yield {"seconds": RUN_SECONDS, "events": 9, "number": number - (number % 3 == 1)}


async def child(options: dict[str, Any], journal: str, items: int) -> None:
    """Run the batch in this process. Print when it is ready and, at the end, its results."""
    ended: Counter[str] = Counter()
    async with AsyncWiro(**options) as wiro:
        batch = wiro.batch(
            "emulator/sleeper", inputs(items), concurrency=CONCURRENCY, journal=journal, journal_grace=GRACE
        )
        async with batch:
            print("ready", flush=True)
            async for item in batch:
                ended["result" if item.error is None else repr(item.error)] += 1
                ended[f"key {item.key}"] += 1
    keys = [name for name in ended if name.startswith("key ")]
    others = {name: count for name, count in ended.items() if name not in keys}
    print(json.dumps({"keys": len(keys), **others}), flush=True)


def attempt(
    emulator: WiroEmulator, journal: Path, items: int, kill_at: int | None, pause: float
) -> dict[str, int] | None:
    """Start the batch. Kill it shortly after `kill_at` submissions, or return its results."""
    command = [sys.executable, __file__, "--child", json.dumps(emulator.options()), str(journal)]
    with subprocess.Popen([*command, "--items", str(items)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        if kill_at is not None and process.stdout.readline():
            while len(emulator.ledger.submissions) < kill_at and process.poll() is None:
                time.sleep(0.0005)
            time.sleep(pause)
            process.kill()
            return None
        lines = process.stdout.read().splitlines()
    if process.returncode or not lines:
        raise RuntimeError(f"the batch ended with {process.returncode}")
    results: dict[str, int] = json.loads(lines[-1])
    return results


def round_of(items: int, dice: random.Random, kills: int = 1) -> dict[str, Any]:
    """Run one batch, kill it some times, and return the figures."""
    with tempfile.TemporaryDirectory() as folder, WiroEmulator(speed=SPEED, api_secret=None) as emulator:
        emulator.faults.http("Run/*", DelayAnswer(0.02), times=None)  # a kill leaves more runs undecided
        journal = Path(folder) / "run.sqlite"
        moments = sorted(dice.sample(range(1, items + 1), kills))
        undecided = 0
        for moment in moments:
            attempt(emulator, journal, items, moment, dice.random() * 0.03)
            with Journal.open(journal) as seen:
                undecided += seen.counts.get("undecided", 0)
        got = attempt(emulator, journal, items, None, 0.0)
        with Journal.open(journal) as seen:
            done = seen.counts
        submissions = len(emulator.ledger.submissions)
    assert got is not None
    right = submissions == items and got == {"keys": items, "result": items} and done == {"succeeded": items}
    return {
        "right": right,
        "killed_at": moments,
        "undecided": undecided,
        "submissions": submissions,
        "results": got.get("result", 0),
        "got": got,
    }


def measure(rounds: int = 50, items: int = 400, seed: int = 1) -> dict[str, Any]:
    """Return the figures of all rounds. `right` counts those in which each item has one submission and one result."""
    dice = random.Random(seed)
    done = []
    for number in range(rounds):
        done.append(round_of(items, dice))
        print(f"{number + 1:3}", done[-1], flush=True)
    return {"rounds": rounds, "right": sum(one["right"] for one in done), "of": done}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--postgres", action="store_true")
    arguments.add_argument("--rounds", type=int)
    arguments.add_argument("--items", type=int)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--child", nargs=2, metavar=("OPTIONS", "JOURNAL"), help="only run the batch")
    given = arguments.parse_args()
    if given.child:
        asyncio.run(child(json.loads(given.child[0]), given.child[1], given.items or 400))
        return
    if given.postgres:
        import kill_postgres

        figures = kill_postgres.measure(given.rounds or 20, given.items or 1000, given.seed)
    else:
        figures = measure(given.rounds or 50, given.items or 400, given.seed)
    print(f"{figures['right']} of {figures['rounds']} rounds: each item has one submission and one result")
    sys.exit(figures["right"] != figures["rounds"])


if __name__ == "__main__":
    main()
