"""Four processes share a journal in PostgreSQL, are killed and stopped, and the database crashes: one key, one bill.

Every 2 s one process is killed with -9 and another one started in its place. Again and again one process is stopped for
longer than its lease and continued. The database is ended without a shutdown and started again.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from postgres_server import PostgresServer
from wiro_async import AsyncWiro, JournalError, SubmissionUnknownError, TransportError, Tuning
from wiro_async.testing import DelayAnswer, WiroEmulator

WORKERS = 4
CONCURRENCY = 5  # runs of each worker
RUN_SECONDS = 3.0
SPEED = 10.0
LEASE = 2.0
KILL_EVERY = 2.0
MODEL = "emulator/sleeper"
WITNESS = "witness"
# How often the fence of a record has moved: by its intent, and by each take-over and each further intent.
STATES = "SELECT state, count(*) FROM wiro_journal_items WHERE key NOT LIKE 'witness%' GROUP BY 1"
FENCES = "SELECT least(fence, 3), count(*) FROM wiro_journal_items WHERE key NOT LIKE 'witness%' GROUP BY 1"


def given(number: object) -> dict[str, Any]:
    """Return the input of a key."""
    return {"seconds": RUN_SECONDS, "events": 9, "number": number}


async def child(options: dict[str, Any], url: str, items: int, seed: int) -> None:
    """Run all keys in an order of its own. Print what happens to each one."""
    tuning = Tuning(
        journal_lease=LEASE,
        journal_pulse=LEASE / 8,
        journal_away=1.0,
        journal_max_pause=0.2,
        journal_grace=0.5,
        search_pause=0.1,
    )
    numbers = iter(random.Random(seed).sample(range(items), items))
    async with AsyncWiro(**options, tuning=tuning, journal=url) as wiro:

        async def worker() -> None:
            for number in numbers:
                await run_key(wiro, number)

        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))


async def run_key(wiro: AsyncWiro, number: int) -> None:
    """Bring one key to its end, whatever others do with it meanwhile."""
    while True:
        try:
            result = await wiro.run(MODEL, given(number), key=f"item-{number}", on_cancel="leave")
        except SubmissionUnknownError:
            print("parked", flush=True)
            # The last keys of all have no later ones that could show how the service lists tasks.
            with suppress(JournalError, SubmissionUnknownError, TransportError):
                await wiro.submit(MODEL, given(WITNESS), key=f"{WITNESS}-{uuid4()}")
        except (JournalError, TransportError):  # the database is away, or the lease was lost
            await asyncio.sleep(0.2)
        else:
            print("followed" if result.replayed else "sent", flush=True)
            print(f"result {number}", flush=True)
            return


class Worker:
    """One process, and the lines that it has printed."""

    def __init__(self, emulator: WiroEmulator, url: str, items: int, seed: int) -> None:
        command = [sys.executable, __file__, json.dumps(emulator.options()), url, str(items), str(seed)]
        # With PYTHONSAFEPATH, Python does not look beside the script.
        path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def is_done(self) -> bool:
        """Whether it has ended by itself. Raises `RuntimeError` if it failed."""
        if self.process.poll():
            raise RuntimeError(f"a worker ended with {self.process.returncode}")
        return self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            self.lines += map(str.strip, self.process.stdout)


def round_of(items: int, dice: random.Random, kill_every: float = KILL_EVERY) -> dict[str, Any]:
    """Run all keys with all disturbances, and return the figures."""
    with PostgresServer() as server, WiroEmulator(speed=SPEED, api_secret=None) as emulator:
        emulator.faults.http("Run/*", DelayAnswer(0.02), times=None)  # a kill leaves more runs undecided
        database = server.create_database()

        def start() -> Worker:
            return Worker(emulator, server.url(database), items, dice.randrange(1 << 30))

        def made() -> int:
            return len(emulator.ledger.submissions)

        workers = [start() for _ in range(WORKERS)]
        ended: list[Worker] = []
        kills, crash_at, stop_at, stopped = 0, items // 3, items // 2, (0.0, workers[0])
        next_kill = time.monotonic() + kill_every
        try:
            while not all(worker.is_done for worker in workers):
                time.sleep(0.01)
                now = time.monotonic()
                if made() >= crash_at:
                    crash_at = sys.maxsize
                    server.crash()
                    time.sleep(0.3)
                    server.start()
                if made() >= stop_at and not stopped[0]:
                    stop_at += max(items // 10, 1)
                    stopped = (now + LEASE * 1.5, dice.choice(workers))
                    stopped[1].process.send_signal(signal.SIGSTOP)
                if stopped[0] and now > stopped[0]:
                    stopped[1].process.send_signal(signal.SIGCONT)
                    stopped = (0.0, stopped[1])
                if now > next_kill:
                    next_kill = now + kill_every
                    number = dice.choice([i for i in range(WORKERS) if not stopped[0] or workers[i] is not stopped[1]])
                    if not workers[number].is_done:
                        kills += 1
                        workers[number].kill()
                        ended.append(workers[number])
                        workers[number] = start()
        finally:
            for worker in workers:
                worker.kill()
        lines = [line for worker in (*ended, *workers) for line in worker.lines]
        states = counts(server.execute(STATES, database))
        fences = counts(server.execute(FENCES, database))
        asked = emulator.ledger.count("Task/List")
        wanted = Counter(str(given(number)["number"]) for number in range(items))
        sent = Counter(str(submission.parameters["number"]) for submission in emulator.ledger.submissions)
        del sent[WITNESS]
    lost = items - len({line for line in lines if line.startswith("result")})
    return {
        "right": sent == wanted and not lost and states == {"succeeded": items},
        "kills": kills,
        "results of others": lines.count("followed"),
        "found": fences.get("2", 0),
        "proven absent": fences.get("3", 0),
        "parked for a while": lines.count("parked"),
        "lists read": asked,
        "submissions": sent.total(),
        "billed twice": (sent - wanted).total(),
        "lost": lost,
        "states": states,
    }


def counts(shown: str) -> dict[str, int]:
    """Read what the database shows of a name and a number in each line."""
    return {name: int(count) for name, _, count in (row.partition("|") for row in shown.splitlines())}


def measure(rounds: int, items: int, seed: int) -> dict[str, Any]:
    """Return the figures of all rounds."""
    dice = random.Random(seed)
    done = []
    for number in range(rounds):
        done.append(round_of(items, dice))
        print(f"{number + 1:3}", done[-1], flush=True)
    return {"rounds": rounds, "right": sum(one["right"] for one in done), "of": done}


if __name__ == "__main__":
    asyncio.run(child(json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
