"""An LLM's stream from frames to deltas, next to decoding the same frames with `json.loads`.

    python benchmarks/text.py [--frames 5000] [--size 100000] [--rounds 3]
    python benchmarks/text.py --decoders

Each frame holds the whole text so far. Frames go through the socket feed to a reader:

- `read at once`: the reader takes every delta at once.
- `lagging`: the reader takes the deltas when all frames have arrived.
- `public`: the reader is `TextDeltas`, and reads its whole text after every delta.
- `unheard`: the run has no listener.

Texts with other than ASCII characters have a fifth of the frames. `--decoders` compares JSON libraries instead.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median
from typing import Any, Literal

import httpx

from harness import parser, show
from wiro_async import AsyncWiro, TaskResult, TextDelta, Tuning

MAX_RATIO = 1.3
TUNING = Tuning(poll_first=3600, poll_silence=3600, poll_max_silence=3600, poll_min=3600, poll_max=3600)
PROSE = ["brevity", "is", "a", "courtesy", "–", "naïve", "café", "the", "and", "light", "reader’s"]
TEXTS = {
    "English": ["alpha", "beta", "of", "the", "gamma."],
    "accents": PROSE,
    "emoji": [*PROSE, "🌿"],
    "日本語": ["光", "の", "中", "。"],
}
FORMATS = ("segments", "lists", "raw", "text in text", "50 segments", "500 segments")


def frames(count: int, size: int, words: list[str], form: str) -> list[bytes]:
    """Return messages with a text that grows to `size` bytes."""
    dice = random.Random(7)
    text = ""
    while len(text.encode()) < size:
        text += " ".join(dice.choice(words) for _ in range(1000)) + " "
    text = text.encode()[:size].decode(errors="ignore")
    many = int(form.split()[0]) if form[0].isdigit() else 1
    length = -(-len(text) // many)
    return [_frame(text[: len(text) * number // count], form, length) for number in range(1, count + 1)]


def _frame(text: str, form: str, length: int) -> bytes:
    message: dict[str, Any] = {"type": "answer", "speed": "60.0", "speedType": "token/s", "elapsedTime": "1.2s"}
    if form.endswith("segments"):
        parts = [text[start : start + length] for start in range(0, len(text), length)]
        kinds = ("answer", "thinking")
        message["segments"] = [{"type": kinds[place % 2], "text": part} for place, part in enumerate(parts)]
    elif form == "raw":
        message["raw"] = text
    else:
        message |= {"raw": text, "thinking": [], "answer": [text], "isThinking": False}
    nested = _compact(message) if form == "text in text" else message
    frame = {"type": "task_output", "id": "1", "tasktoken": "token", "message": nested, "result": True}
    return _compact(frame).encode()


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


Use = Literal["events", "deltas", "wait"]


def still_running(request: httpx.Request) -> httpx.Response:
    """Respond to reads of the task, which never ends."""
    task = {"id": "1", "socketaccesstoken": "token", "status": "task_output"}
    return httpx.Response(200, json={"result": True, "errors": [], "total": "1", "tasklist": [task]})


class Rig:
    """A session that follows one task. The benchmark delivers the frames instead of a WebSocket.

    Args:
        use: what follows the task: its "events", its text "deltas", or only a "wait" for its result.
    """

    def __init__(self, use: Use) -> None:
        transport = httpx.MockTransport(still_running)
        self.wiro = AsyncWiro("key", transport=transport, tuning=TUNING).with_options(updates="polling")
        self.handle = self.wiro.task("token")
        self.deltas = self.handle.text_deltas() if use == "deltas" else None
        self.events = self.deltas._events if self.deltas else self.handle.events() if use == "events" else None
        self.feed = self.wiro._engine.tracker.socket
        self.text: list[str] = []
        self.using: asyncio.Future[TaskResult | None]

    async def start(self, frame: bytes) -> None:
        """Follow the task, and deliver a first frame."""
        self.using = asyncio.ensure_future(self.read() if self.events else self.handle.result())
        while self.feed.deliver(frame) is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        if self.events:
            await self.using

    async def read(self) -> None:
        """Read one event, or one piece of text and all text so far."""
        if self.deltas:
            self.text.append((await anext(self.deltas)).text)
            _ = self.deltas.text_so_far
        elif self.events and isinstance(event := await anext(self.events), TextDelta):
            self.text.append(event.text)

    async def read_all(self) -> None:
        """Read everything that the delivered frames have brought."""
        assert self.events is not None
        assert self.events._task is not None
        while True:
            self.events._task.catch_up()
            if not self.events._buffer:
                return
            await self.read()

    async def aclose(self) -> None:
        self.using.cancel()
        await asyncio.wait([self.using])
        await self.wiro.aclose()


async def at_once(rig: Rig, of: list[bytes]) -> None:
    for frame in of:
        rig.feed.deliver(frame)
        await rig.read_all()


async def lagging(rig: Rig, of: list[bytes]) -> None:
    for frame in of:
        rig.feed.deliver(frame)
    await rig.read_all()


async def unheard(rig: Rig, of: list[bytes]) -> None:
    for frame in of:
        rig.feed.deliver(frame)


async def plain(rig: Rig, of: list[bytes]) -> None:
    for frame in of:
        message = json.loads(frame)["message"]
        if isinstance(message, str):
            json.loads(message)


Way = Callable[[Rig, list[bytes]], Awaitable[None]]
WAYS: dict[str, tuple[Way, Use]] = {
    "json.loads": (plain, "wait"),
    "read at once": (at_once, "events"),
    "public": (at_once, "deltas"),
    "lagging": (lagging, "events"),
    "unheard": (unheard, "wait"),
}


async def compare(of: list[bytes], rounds: int) -> dict[str, float]:
    """Return the microseconds of `json.loads` for a frame, and the CPU time of each way as a multiple of that.

    The ways take turns of a hundred frames, so that other load on the machine affects all of them alike.
    """
    best: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        taken: dict[str, list[float]] = {name: [] for name in WAYS}
        rigs = {name: Rig(use) for name, (_, use) in WAYS.items()}
        for rig in rigs.values():
            await rig.start(of[0])
        for start in range(1, len(of), 100):
            for name, (way, _) in WAYS.items():
                before = time.process_time()
                await way(rigs[name], of[start : start + 100])
                taken[name].append(time.process_time() - before)
        best = {name: [min(pair) for pair in zip(taken[name], best[name] or taken[name], strict=True)] for name in WAYS}
        for rig in rigs.values():
            await rig.aclose()
        assert "".join(rigs["read at once"].text) == "".join(rigs["lagging"].text) == "".join(rigs["public"].text)
    base = sum(best.pop("json.loads"))
    return {"json.loads": 1e6 * base / len(of)} | {name: sum(of) / base for name, of in best.items()}


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def decoders(count: int, size: int, rounds: int) -> None:
    """Compare JSON libraries on frames as bytes, in multiples of `json.loads`."""
    import msgspec.json

    ways: dict[str, Callable[[bytes], object]] = {
        "json": json.loads,
        "msgspec": msgspec.json.decode,
        "UTF-8 alone": bytes.decode,
    }
    table: list[tuple[str, ...]] = [("", *ways)]
    for name, words in TEXTS.items():
        of = frames(count // 10, size, words, "segments")
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, decode in ways.items():
                taken[way].append(cpu(partial(each, decode, of)))
        base = median(taken["json"])
        table.append((name, *(f"{median(of) / base:.2f}" for of in taken.values())))
    show(f"CPU time of decoding, median of {rounds}", table)


def each(decode: Callable[[bytes], object], of: list[bytes]) -> None:
    for frame in of:
        decode(frame)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--frames", type=int, default=5000)
    arguments.add_argument("--size", type=int, default=100_000, help="final size of the text in bytes")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--decoders", action="store_true", help="compare JSON libraries instead")
    given = arguments.parse_args()
    if given.decoders:
        decoders(given.frames, given.size, given.rounds)
        return
    table: list[tuple[str, ...]] = [("", *WAYS)]
    worst = 0.0
    for form in FORMATS:
        for name, words in TEXTS.items():
            of = frames(given.frames if name == "English" else given.frames // 5, given.size, words, form)
            figures = asyncio.run(compare(of, given.rounds))
            base = figures.pop("json.loads")
            table.append((f"{form}, {name}", f"{base:.0f} µs", *(f"{ratio:.2f}" for ratio in figures.values())))
            worst = max(worst, *figures.values())
    show("CPU time of a frame by json.loads, and of each way in multiples of that", table)
    print(f"worst: {worst:.2f} (at most {MAX_RATIO})")
    sys.exit(worst > MAX_RATIO)


if __name__ == "__main__":
    main()
