"""How soon a text reaches its reader, with many streams at once, beside a bare websockets loop on the same server.

    python benchmarks/latency.py [--streams 200] [--rounds 3]

Every message carries the moment in which the server sent it. Both clients follow as many runs over one socket; for the
first text of each run, and for all of them, the medians and 95th percentiles of the time until a reader has it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from math import nan
from statistics import median, quantiles
from typing import Any

import aiohttp
import attrs
from websockets.asyncio.client import connect

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

LIMIT_MS = 2.0
MODEL = "bench/writer"
SECONDS, MESSAGES = 4.0, 40
STAMP = ""
WORDS = "a sentence of some length that grows, "


def write(given: RunInput) -> Script:
    """A growing text; every sentence ends in the moment in which it is sent for the first time."""
    texts = ["".join(f"{WORDS}{STAMP};" for _ in range(number)) for number in range(1, MESSAGES + 1)]
    steps = [Step("task_output", {"type": "answer", "raw": text, "thinking": [], "answer": [text]}) for text in texts]
    return Script(timeline(SECONDS, steps, overhead=2.0), (RawOutput({"raw": "done", "answer": ["done"]}),))


class Stamps:
    """Puts the moment of sending into messages, and keeps those of earlier sentences."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        told: dict[int, list[bytes]] = {}

        def send(message: Outgoing) -> None:
            if message.type == "task_output":
                stamps = told.setdefault(message.ordinal, [])
                first, *pieces = message.payload.split(STAMP.encode())
                half = len(pieces) // 2  # the text stands in `raw` and in `answer`
                # A server that is late skips messages: then several sentences are new at once.
                stamps += [b"%020d" % time.monotonic_ns()] * (half - len(stamps))
                payload = first + b"".join(
                    stamp + piece for stamp, piece in zip(stamps[:half] * 2, pieces, strict=True)
                )
                message = attrs.evolve(message, payload=payload)
            forward(message)

        return send


def ages(text: str, now: int) -> list[float]:
    """Milliseconds since the sentences in a piece of text were sent, the newest only."""
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
        aiohttp.ClientSession() as http,
        connect(options["socket_url"], max_size=None, compression=None) as socket,
    ):

        async def run() -> str:
            headers = {"x-api-key": options["api_key"], "user-agent": "benchmark"}
            async with http.post(f"{options['base_url']}/Run/{MODEL}", json={}, headers=headers) as response:
                token: str = (await response.json())["socketaccesstoken"]
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


def figures(waited: list[list[float]]) -> dict[str, float]:
    first, every = [one[0] for one in waited if one], [age for one in waited for age in one]
    return {
        "first": median(first or [nan]),
        "first, 95 %": nearly_most(first),
        "all": median(every or [nan]),
        "all, 95 %": nearly_most(every),
        "pieces": float(len(every)),
    }


def nearly_most(of: list[float]) -> float:
    return quantiles(of, n=20)[-1] if len(of) > 1 else max(of, default=nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
        return
    command = [sys.executable, __file__, "--serve"]
    taken: dict[str, list[dict[str, float]]] = {"bare": [], "sdk": []}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        options = json.loads(server.stdout.readline())
        for _ in range(given.rounds):
            taken["bare"].append(figures(asyncio.run(bare(options, given.streams))))
            taken["sdk"].append(figures(asyncio.run(sdk(options, given.streams))))
        assert server.stdin is not None
        server.stdin.close()
    table = {name: {key: median(one[key] for one in of) for key in of[0]} for name, of in taken.items()}
    print(f"{'ms, ' + str(given.streams) + ' streams':24}" + "".join(f"{key:>14}" for key in table["sdk"]))
    for name, label in (("bare", "bare websockets loop"), ("sdk", "wiro_async")):
        print(f"{label:24}" + "".join(f"{value:14.2f}" for value in table[name].values()))
    ratios = (value / (table["bare"][key] or nan) for key, value in table["sdk"].items())
    print(f"{'ratio':24}" + "".join(f"{ratio:14.2f}" for ratio in ratios))
    more = table["sdk"]["first"] - table["bare"]["first"]
    print(f"first text later than in the bare loop: {more:.2f} ms (at most {LIMIT_MS})")
    sys.exit(more > LIMIT_MS)


if __name__ == "__main__":
    main()
