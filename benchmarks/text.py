"""An LLM's stream, from frames to deltas, beside decoding the same frames: each holds the whole text so far.

    python benchmarks/text.py [--frames 5000] [--size 100000] [--rounds 3] [--decoders]

Frames go through the hub, as the socket gives them, to a reader; alternately, by `json.loads`. He takes every delta
at once, or lags and reads when all have come; `public` is `TextDeltas`, as users have it, with `text_so_far` after
every delta; `unheard` is a run that nobody listens to. Thoughts and answers alternate in the many segments. Texts that
are not plain ASCII take a fifth of the frames. `--decoders` compares JSON libraries on such frames instead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from wiro_async._api.tasks.task_context import EventStream, TaskContext
from wiro_async._api.tasks.text_deltas import TextDeltas
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.task_calls import TaskRef
from wiro_async._engine.tracking.socket_feed import SocketFeed
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._protocol.tasks.events import TextDelta
from wiro_async._transport.network.tls import Tls
from wiro_async._transport.websocket import connected
from wiro_async._tuning import Tuning
from wiro_async._types import Timeouts

LIMIT = 1.3
FOREVER = Timeouts()
PROSE = ["brevity", "is", "a", "courtesy", "–", "naïve", "café", "the", "and", "light", "reader’s"]
TEXTS = {
    "English": ["alpha", "beta", "of", "the", "gamma."],
    "accents": PROSE,
    "emoji": [*PROSE, "🌿"],
    "日本語": ["光", "の", "中", "。"],
}
MANNERS = ("segments", "lists", "raw", "text in text", "50 segments", "500 segments")


def frames(count: int, size: int, words: list[str], manner: str) -> list[bytes]:
    """Messages with a growing text of so many bytes in the end."""
    dice = random.Random(7)
    text = ""
    while len(text.encode()) < size:
        text += " ".join(dice.choice(words) for _ in range(1000)) + " "
    text = text.encode()[:size].decode(errors="ignore")
    many = int(manner.split()[0]) if manner[0].isdigit() else 1
    length = -(-len(text) // many)
    return [_frame(text[: len(text) * number // count], manner, length) for number in range(1, count + 1)]


def _frame(text: str, manner: str, length: int) -> bytes:
    told: dict[str, Any] = {"type": "answer", "speed": "60.0", "speedType": "token/s", "elapsedTime": "1.2s"}
    if manner.endswith("segments"):
        parts = [text[start : start + length] for start in range(0, len(text), length)]
        kinds = ("answer", "thinking")
        told["segments"] = [{"type": kinds[place % 2], "text": part} for place, part in enumerate(parts)]
    elif manner == "raw":
        told["raw"] = text
    else:
        told |= {"raw": text, "thinking": [], "answer": [text], "isThinking": False}
    message = _compact(told) if manner == "text in text" else told
    return _compact(
        {"type": "task_output", "id": "1", "tasktoken": "token", "message": message, "result": True}
    ).encode()


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Apart(TaskContext):
    """How tasks are followed, without anything to follow them by."""

    def __init__(self) -> None:
        nothing: Any = None
        super().__init__(nothing, nothing, nothing, "auto", FOREVER)

    def leave(self, ref: TaskRef) -> None: ...


class Rig:
    """A hub that carries one task, without a connection."""

    def __init__(self) -> None:
        async def nothing() -> None: ...

        self.tracked = TrackedTask("1", "token", "owner/model", nothing, None)
        self.socket_feed = SocketFeed(
            BackgroundTasks(nothing, nothing),
            lambda: connected("", "", Tls(), False, Tuning()),
            1,
            lambda tracked: None,
        )
        self.socket_feed._by_token["token"] = self.tracked
        self.stream = EventStream(TaskRef("1", "token"), "owner/model", Apart(), None, 0.0, lambda task: None)
        self.deltas = TextDeltas(self.stream, Apart())
        self.buffer = self.stream._buffer
        self.stream._tracked = self.tracked
        self.text: list[str] = []
        self.tracked.listen(self.buffer)

    async def take(self) -> None:
        """Read an event, and all others that are there."""
        while True:
            event = await self.buffer.next(self.tracked, 0.0, FOREVER)
            if isinstance(event, TextDelta):
                self.text.append(event.text)
            if not self.buffer._unread:
                return


async def at_once(rig: Rig, of: list[bytes]) -> None:
    for frame in of:
        rig.socket_feed.deliver(frame)
        await rig.take()


async def public(rig: Rig, of: list[bytes]) -> None:
    for frame in of:
        rig.socket_feed.deliver(frame)
        rig.text.append((await anext(rig.deltas)).text)
        while rig.buffer._unread:  # a message may bring the end of one segment and the beginning of another
            rig.text.append((await anext(rig.deltas)).text)
        _ = rig.deltas.text_so_far


async def lagging(rig: Rig, of: list[bytes]) -> None:
    for frame in of:
        rig.socket_feed.deliver(frame)
    await rig.take()


async def unheard(rig: Rig, of: list[bytes]) -> None:
    rig.tracked.unlisten(rig.buffer)
    for frame in of:
        rig.socket_feed.deliver(frame)
    rig.tracked.listen(rig.buffer)


async def plain(rig: Rig, of: list[bytes]) -> None:
    for frame in of:
        message = json.loads(frame)["message"]
        if isinstance(message, str):
            json.loads(message)


WAYS = {"json.loads": plain, "read at once": at_once, "public": public, "lagging": lagging, "unheard": unheard}


async def compare(of: list[bytes], rounds: int) -> dict[str, float]:
    """Microseconds a frame by `json.loads`, and each way's CPU time as a multiple of that.

    The ways take turns, a hundred frames each: what else runs on the machine troubles all of them alike.
    """
    best: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        taken: dict[str, list[float]] = {name: [] for name in WAYS}
        rigs = {name: Rig() for name in WAYS}
        for start in range(0, len(of), 100):
            for name, way in WAYS.items():
                before = time.process_time()
                await way(rigs[name], of[start : start + 100])
                taken[name].append(time.process_time() - before)
        best = {name: [min(pair) for pair in zip(taken[name], best[name] or taken[name], strict=True)] for name in WAYS}
        assert "".join(rigs["read at once"].text) == "".join(rigs["lagging"].text) == "".join(rigs["public"].text)
    base = sum(best.pop("json.loads"))
    return {"json.loads": 1e6 * base / len(of)} | {name: sum(of) / base for name, of in best.items()}


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def decoders(count: int, size: int, rounds: int) -> None:
    """What JSON libraries take for frames as bytes, in multiples of `json.loads`."""
    import msgspec.json

    ways: dict[str, Callable[[bytes], object]] = {
        "json": json.loads,
        "msgspec": msgspec.json.decode,
        "UTF-8 alone": bytes.decode,
    }
    table = [("", *ways)]
    for name, words in TEXTS.items():
        of = frames(count // 10, size, words, "segments")
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, decode in ways.items():
                taken[way].append(cpu(partial(each, decode, of)))
        base = median(taken["json"])
        table.append((name, *(f"{median(of) / base:.2f}" for of in taken.values())))
    show(table)


def each(decode: Callable[[bytes], object], of: list[bytes]) -> None:
    for frame in of:
        decode(frame)


def show(table: list[tuple[str, ...]]) -> None:
    for first, *cells in table:
        print(f"{first:24}" + "".join(f"{cell:>14}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--size", type=int, default=100_000, help="bytes of text in the end")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--decoders", action="store_true", help="compare JSON libraries instead")
    given = parser.parse_args()
    if given.decoders:
        decoders(given.frames, given.size, given.rounds)
        return
    table, worst = [("", *WAYS)], 0.0
    for manner in MANNERS:
        for name, words in TEXTS.items():
            of = frames(given.frames if name == "English" else given.frames // 5, given.size, words, manner)
            figures = asyncio.run(compare(of, given.rounds))
            base = figures.pop("json.loads")
            table.append((f"{manner}, {name}", f"{base:.0f} µs", *(f"{ratio:.2f}" for ratio in figures.values())))
            worst = max(worst, *figures.values())
    show(table)
    print(f"worst: {worst:.2f} (at most {LIMIT})")
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
