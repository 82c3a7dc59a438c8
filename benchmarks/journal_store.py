"""What a journal in PostgreSQL costs: an item's three writes, news for a waiter elsewhere, and a million rows.

python benchmarks/journal_store.py [--items 5000] [--rows 1000000]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from postgres_server import PostgresServer
from wiro_async import Tuning
from wiro_async._api.journal.journal_store import JournalStore
from wiro_async._api.journal.postgres_store import PostgresStore
from wiro_async._protocol.journal.record import Intention, KeyEnd
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef

RAW = {
    "id": "1",
    "socketaccesstoken": "t" * 40,
    "status": "task_postprocess_end",
    "totalcost": "0.04",
    "log": "x" * 500,
}
ROWS = """
INSERT INTO wiro_journal_items (key, model, digest, input, fingerprint, shape, state, attempts, position, intended_at,
    owner, fence, turn, task_id, token, ended_at, cost, task)
SELECT 'row-' || n, 'owner/model', md5(n::text), '{"prompt": "…"}', decode(md5(n::text), 'hex'), 'shape', 'succeeded',
    1, nextval('wiro_journal_positions'), 0, 'nobody', 1, '', n::text, md5(n::text), 0, '0.04', '{"id": "1"}'
FROM generate_series(1, $ROWS) AS n
"""


def intention(key: str) -> Intention:
    return Intention(key, "owner/model", "digest", b'{"prompt":"A futuristic city"}', key.encode(), b"shape")


async def item(store: JournalStore, key: str) -> None:
    """What a journal writes for an item: its intent, its task, its end."""
    record = await store.intend(intention(key), None)
    await store.check(record)
    await store.record_task(record, TaskRef(key, "t" * 40))
    store.end(record, KeyEnd("succeeded", parse_task(RAW), None, time.time()))


async def overhead(store: JournalStore, concurrency: int, items: int, name: str) -> float:
    """Return microseconds an item."""
    numbers = iter(range(items))

    async def worker() -> None:
        for number in numbers:
            await item(store, f"{name}-{concurrency}-{number}")

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    await store.counts()  # the ends are written before it
    return (time.perf_counter() - began) / items * 1e6


async def news(first: JournalStore, second: JournalStore, times: int = 200) -> float:
    """Return the median of milliseconds from a task to a waiter of another session."""
    found = []
    for number in range(times):
        record = await first.intend(intention(f"news-{number}"), None)
        waiting = asyncio.ensure_future(second.wait(record, 5))
        await asyncio.sleep(0.005)
        began = time.perf_counter()
        recording = asyncio.ensure_future(first.record_task(record, TaskRef(str(number), "t")))
        await waiting
        found.append(time.perf_counter() - began)
        await recording
    return statistics.median(found) * 1e3


async def measure(server: PostgresServer, items: int, rows: int) -> None:
    database = server.create_database()
    store, other = (PostgresStore(server.url(database), Tuning()) for _ in range(2))
    await store.open()
    await other.open()
    for concurrency in (1, 100, 500):
        took = await overhead(store, concurrency, items // (10 if concurrency == 1 else 1), "k")
        print(f"{took:7.0f} µs an item at concurrency {concurrency}")
    print(f"{await news(store, other):7.1f} ms from a task to a waiter of another session (median)")
    server.execute(ROWS.replace("$ROWS", str(rows)), database)
    for name in ("analyzed", "again"):
        server.execute("ANALYZE", database)
        late = PostgresStore(server.url(database), Tuning())
        began = time.perf_counter()
        await late.open()
        print(f"{(time.perf_counter() - began) * 1e3:7.1f} ms to open with {rows:,} rows ({name})")
        began = time.perf_counter()
        await late.largest_id()
        print(f"{(time.perf_counter() - began) * 1e3:7.1f} ms for the largest id")
        await late.aclose()
    print(f"{await overhead(store, 100, items, 'late'):7.0f} µs an item at concurrency 100 beside them")
    await store.aclose()
    await other.aclose()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--items", type=int, default=5000)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    given = arguments.parse_args()
    with PostgresServer(fsync=True) as server:
        asyncio.run(measure(server, given.items, given.rows))


if __name__ == "__main__":
    main()
