"""The delay until a text reaches its reader, with many streams at once, next to a bare websockets loop.

    python benchmarks/latency.py [--streams 200] [--rounds 3]

Each message holds the time at which the server sent it. Both clients follow equally many runs over one WebSocket. The
figures are medians and 95th percentiles of the delay, for the first text of each run and for all texts, the CPU time
for each piece of text (with everything else that a run takes), and the longest time for which the loop did not run.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from math import nan
from statistics import median, quantiles
from typing import Any

import attrs
import httpx
from websockets.asyncio.client import connect

from harness import headers, parser, served, show
from wiro_async import AsyncWiro, TaskHandle, TextDelta
from wiro_async.testing import (
    Connection,
    Forward,
    ModelScript,
    Outgoing,
    RawOutput,
    RunInput,
    Script,
    Step,
    WiroEmulator,
    timeline,
)

MAX_MS = 2.0
MODEL = "bench/writer"
SECONDS, MESSAGES = 4.0, 40
STAMP = "STAMP"  # replaced with the time by the server
WORDS = "a sentence of some length that grows, "


def write(inputs: RunInput) -> Script:
    """A growing text. Each sentence ends with the time at which it is first sent."""
    texts = ["".join(f"{WORDS}{STAMP};" for _ in range(number)) for number in range(1, MESSAGES + 1)]
    steps = [Step("task_output", {"type": "answer", "raw": text, "thinking": [], "answer": [text]}) for text in texts]
    return Script(timeline(SECONDS, steps, overhead=2.0), (RawOutput({"raw": "done", "answer": ["done"]}),))


class Stamps:
    """Writes the time of sending into messages, and keeps the times of earlier sentences."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        sent: dict[int, list[bytes]] = {}

        def send(message: Outgoing) -> None:
            if message.type == "task_output":
                stamps = sent.setdefault(message.ordinal, [])
                first, *pieces = message.payload.split(STAMP.encode())
                half = len(pieces) // 2  # the text is in `raw` and in `answer`
                # A late server skips messages, so several sentences may be new at once.
                stamps += [b"%020d" % time.monotonic_ns()] * (half - len(stamps))
                payload = first + b"".join(
                    stamp + piece for stamp, piece in zip(stamps[:half] * 2, pieces, strict=True)
                )
                message = attrs.evolve(message, payload=payload)
            forward(message)

        return send


def ages(text: str, now: int) -> list[float]:
    """Return the milliseconds since the newest sentence of a text was sent."""
    stamps = [int(part.rpartition(" ")[2]) for part in text.split(";") if part]
    return [(now - max(stamps)) / 1e6] if stamps else []


async def follow(handle: TaskHandle) -> list[float]:
    waited: list[float] = []
    async with handle.text_deltas() as deltas:
        async for delta in deltas:
            if isinstance(delta, TextDelta) and delta.text.endswith(";"):
                waited += ages(delta.text, time.monotonic_ns())
    return waited


async def sdk(options: Any, streams: int) -> list[list[float]]:
    async with AsyncWiro(**options) as wiro:
        handles = await asyncio.gather(*(wiro.submit(MODEL) for _ in range(streams)))
        return await asyncio.gather(*map(follow, handles))


async def bare(options: Any, streams: int) -> list[list[float]]:
    async with (
        httpx.AsyncClient(headers=headers(options), timeout=None) as http,
        connect(options["socket_url"], max_size=None, compression=None) as socket,
    ):

        async def run() -> str:
            response = await http.post(f"{options['base_url']}/Run/{MODEL}", json={})
            token: str = response.json()["socketaccesstoken"]
            await socket.send(json.dumps({"type": "task_info", "tasktoken": token}))
            return token

        await asyncio.gather(*(run() for _ in range(streams)))
        waited: dict[str, list[float]] = {}
        texts: dict[str, str] = {}
        over = 0
        async for frame in socket:
            message = json.loads(frame)
            if message["type"] == "task_output":
                text, known = message["message"]["answer"][0], texts.get(message["id"], "")
                texts[message["id"]] = text
                waited.setdefault(message["id"], []).extend(ages(text[len(known) :], time.monotonic_ns()))
            over += message["type"] == "task_postprocess_end"
            if over == streams:
                break
        return list(waited.values())


def serve() -> None:
    with WiroEmulator(models=[ModelScript(MODEL, write)], api_secret=None) as emulator:
        emulator.faults.socket(Stamps())
        print(json.dumps(emulator.options()), flush=True)
        sys.stdin.read()


async def observed(client: Callable[[Any, int], Awaitable[list[list[float]]]], options: Any, streams: int) -> Any:
    """Run a client, and return its figures with its CPU time and the longest stall of its loop."""
    stalls = [0.0]

    async def tick() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            stalls.append(1000 * (time.monotonic() - began - 0.005))

    ticking, began = asyncio.create_task(tick()), time.process_time()
    waited = await client(options, streams)
    cpu = time.process_time() - began
    ticking.cancel()
    found = figures(waited)
    return found | {"CPU µs a piece": 1e6 * cpu / found["pieces"], "stall": max(stalls)}


def figures(waited: list[list[float]]) -> dict[str, float]:
    first, every = [one[0] for one in waited if one], [age for one in waited for age in one]
    return {
        "first": median(first or [nan]),
        "first, 95 %": percentile_95(first),
        "all": median(every or [nan]),
        "all, 95 %": percentile_95(every),
        "pieces": float(len(every)),
    }


def percentile_95(of: list[float]) -> float:
    return quantiles(of, n=20)[-1] if len(of) > 1 else max(of, default=nan)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--streams", type=int, default=200)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--serve", action="store_true", help="only serve the model")
    given = arguments.parse_args()
    if given.serve:
        serve()
        return
    taken: dict[str, list[dict[str, float]]] = {"bare": [], "sdk": []}
    with served(__file__, "--serve") as options:
        for _ in range(given.rounds):
            taken["bare"].append(asyncio.run(observed(bare, options, given.streams)))
            taken["sdk"].append(asyncio.run(observed(sdk, options, given.streams)))
    table = {name: {key: median(one[key] for one in of) for key in of[0]} for name, of in taken.items()}
    rows: list[tuple[str, ...]] = [("", *table["sdk"])]
    for name, label in (("bare", "bare websockets loop"), ("sdk", "wiro_async")):
        rows.append((label, *(f"{value:.2f}" for value in table[name].values())))
    ratios = (value / (table["bare"][key] or nan) for key, value in table["sdk"].items())
    rows.append(("ratio", *(f"{ratio:.2f}" for ratio in ratios)))
    show(f"ms with {given.streams} streams, median of {given.rounds}", rows)
    more = table["sdk"]["first"] - table["bare"]["first"]
    print(f"the first text arrives {more:.2f} ms after that of the bare loop (at most {MAX_MS})")
    sys.exit(more > MAX_MS)


if __name__ == "__main__":
    main()
