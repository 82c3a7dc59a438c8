"""The cost of the batch runner for an item, in time and memory: runs that end at once, without a network.

python benchmarks/runner.py [--items 20000] [--million 1000000]
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, cast
from unittest.mock import patch

from harness import alone, parser
from wiro_async import AsyncWiro
from wiro_async._api.batch.batch import Batch
from wiro_async._api.batch.item_runs import Runs
from wiro_async._api.results.batch_items import RunRequest
from wiro_async._api.results.task_result import TaskResult
from wiro_async._engine.submission.submission import RunLog
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef

psutil: Any = import_module("psutil")  # has no types
CONCURRENCY = 100
MEGABYTE = 2**20
LIMITS = {"plain_us": 40.0, "journal_us": 250.0, "million_mb": 30.0}
DETAIL: dict[str, Any] = {
    "id": "2221",
    "socketaccesstoken": "eDcC",
    "status": "task_postprocess_end",
    "pexit": "0",
    "elapsedseconds": "6.0000",
    "totalcost": "0.003510000000",
    "modelslugowner": "owner",
    "modelslugproject": "model",
    "parameters": {"prompt": "x"},
    "outputs": [{"name": "0.png", "contenttype": "image/png", "size": "202472", "url": "https://cdn1.wiro.ai/x/0.png"}],
}

TASK = parse_task(DETAIL)
INTENT = Intent("owner/model", "a fingerprint", None, frozenset())
REF = TaskRef("2221", "eDcC")


async def submit(runs: Runs, request: RunRequest, log: RunLog) -> TrackedTask:
    """Make a task at once. The journal records it like a real one; the cost of a run, such as its hash, is left out."""
    await log.intend(INTENT)
    await log.note(REF)
    await log.settle("task", None)
    return cast("TrackedTask", REF)


async def ended(runs: Runs, request: RunRequest, task: TrackedTask, start: float) -> TaskResult:
    """End after one turn of the event loop, as a request takes one."""
    await asyncio.sleep(0)
    return runs.restored(TASK)


def inputs(items: int) -> Iterator[dict[str, Any]]:
    for number in range(items):
        yield {"prompt": "A lighthouse at dusk", "seed": number}


async def run_batch(
    items: int, journal: Path | None = None, on_progress: Callable[[int], None] = lambda done: None
) -> float:
    """Return the microseconds an item takes."""
    with patch.object(Runs, "submit", submit), patch.object(Runs, "ended", ended):
        async with AsyncWiro("key") as wiro:
            batch = wiro.batch("owner/model", inputs(items), concurrency=CONCURRENCY, journal=journal)
            return await timed(batch, items, on_progress)


async def timed(batch: Batch, items: int, on_progress: Callable[[int], None]) -> float:
    done = 0
    start = time.perf_counter()
    async with batch:
        async for item in batch:
            assert item.error is None, item.error
            done += 1
            on_progress(done)
    assert done == items == batch.stats.succeeded
    return 1e6 * (time.perf_counter() - start) / items


def plain(items: int, rounds: int = 5) -> float:
    return median(asyncio.run(run_batch(items)) for _ in range(rounds))


def journaled(items: int, rounds: int = 3) -> float:
    def once() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return asyncio.run(run_batch(items, Path(folder) / "run.sqlite"))

    return median(once() for _ in range(rounds))


def grown(items: int) -> float:
    """Return by how many megabytes the process grew at most, after a warm-up."""
    process = psutil.Process()
    asyncio.run(run_batch(max(1000, items // 100)))
    start = peak = process.memory_info().rss

    def on_progress(done: int) -> None:
        nonlocal peak
        if done % 500 == 0:
            peak = max(peak, process.memory_info().rss)

    asyncio.run(run_batch(items, None, on_progress))
    return float(max(peak, process.memory_info().rss) - start) / MEGABYTE


def measure(items: int = 20_000, million: int = 1_000_000) -> dict[str, float]:
    """Return the figures of `LIMITS`. Each part has its own process."""
    return {
        "plain_us": alone("runner.py", "--part", "plain", "--items", str(items)),
        "journal_us": alone("runner.py", "--part", "journaled", "--items", str(items)),
        "million_mb": alone("runner.py", "--part", "grown", "--items", str(million)),
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--items", type=int, default=20_000)
    arguments.add_argument("--million", type=int, default=1_000_000, help="items for the memory figure")
    arguments.add_argument("--part", choices=("plain", "journaled", "grown"), help="only measure this part")
    given = arguments.parse_args()
    if given.part:
        sys.stdout.write(json.dumps(globals()[given.part](given.items)))
        return
    figures = measure(given.items, given.million)
    plain_us, journal_us, million_mb = figures.values()
    print(f"runner, an item:     {plain_us:7.1f} µs  (at most {LIMITS['plain_us']:.0f})")
    print(f"  with a journal:    {journal_us:7.1f} µs  (at most {LIMITS['journal_us']:.0f}, {CONCURRENCY} in flight)")
    print(f"{given.million:,} inputs:  {million_mb:7.1f} MB  (at most {LIMITS['million_mb']:.0f})")
    sys.exit(any(figures[name] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    main()
