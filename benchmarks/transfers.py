"""Uploads and downloads next to bare httpx, on one emulator: throughput as a ratio, memory and loop lag.

    python benchmarks/transfers.py [--up 100] [--down 500] [--rounds 3]

Each client has its own process, and so has the emulator. Both transfer the same bytes. Clients take turns, and medians
count. "upload" is one multipart POST (httpx: `files=`), "stream" only reads (httpx: `aiter_raw()`), and "save" writes a
file and flushes it to the disk on both sides. Loop lag is the longest delay of a 1 ms sleep.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import Any

from harness import alone, headers, parser, served, show, turns

MB = 1024 * 1024
WORK = ("upload", "stream", "save")
CLIENTS = ("httpx", "wiro_async")
MIN_RATIO = {"upload": 1.0, "stream": 0.8, "save": 0.8}  # throughput over that of httpx
MAX_GROWTH_MB, MAX_LAG_MS = 8, 10  # memory beyond that of httpx; only for uploads
WARM_UP = 1


def rss() -> int:
    """Return the memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak() -> int:
    """Return the largest memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(sizes: list[int]) -> None:
    """Serve an emulator whose model "bench/maker" makes one file of each size, until the standard input ends."""
    from wiro_async.testing import FileOutput, ModelScript, Script, WiroEmulator, timeline

    block = os.urandom(MB)
    outputs = tuple(FileOutput(f"{size}.bin", "application/octet-stream", block * size) for size in sizes)
    maker = ModelScript("bench/maker", lambda inputs: Script(timeline(0.1), outputs))
    with WiroEmulator(models=[maker], api_secret=None) as emulator:
        sys.stdout.write(json.dumps(emulator.options()) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


class Sdk:
    """This SDK."""

    def __init__(self, options: dict[str, Any]) -> None:
        from wiro_async import AsyncWiro

        self.wiro = AsyncWiro(**options)
        self.outputs: dict[str, Any] = {}

    async def upload(self, file: Path, url: str) -> None:
        await self.wiro.files.upload(file)

    async def stream(self, file: Path, url: str) -> None:
        if not self.outputs:  # a stream starts at an output, not at a URL
            result = await self.wiro.run("bench/maker")
            self.outputs = {output.name: output for output in result.outputs}
        async with self.outputs[url.rpartition("/")[2]].stream() as chunks:
            async for _ in chunks:
                pass

    async def save(self, file: Path, url: str) -> None:
        await self.wiro.download(url, file.with_name("down.bin"), overwrite=True)

    async def aclose(self) -> None:
        await self.wiro.aclose()


class Httpx:
    """Bare httpx."""

    def __init__(self, options: dict[str, Any]) -> None:
        import httpx

        self.base_url = options["base_url"]
        self.http = httpx.AsyncClient(headers=headers(options), timeout=None)

    async def upload(self, file: Path, url: str) -> None:
        with file.open("rb") as opened:
            files = {"file": (f"{time.time_ns()}.bin", opened, "application/octet-stream")}
            response = await self.http.post(f"{self.base_url}/File/Upload", files=files)
        assert response.json()["result"] is True

    async def stream(self, file: Path, url: str) -> None:
        async for _ in self._chunks(url):
            pass

    async def save(self, file: Path, url: str) -> None:
        with file.with_name("down.bin").open("wb") as opened:
            async for chunk in self._chunks(url):
                opened.write(chunk)
            opened.flush()
            os.fsync(opened.fileno())

    async def _chunks(self, url: str) -> AsyncIterator[bytes]:
        async with self.http.stream("GET", url) as response:
            async for chunk in response.aiter_raw():
                yield chunk

    async def aclose(self) -> None:
        await self.http.aclose()


async def lag(longest: list[float]) -> None:
    """Record the longest delay of a short sleep, until cancelled."""
    while True:
        start = time.perf_counter()
        await asyncio.sleep(0.001)
        longest[0] = max(longest[0], time.perf_counter() - start - 0.001)


async def measure(client: str, work: str, given: dict[str, Any]) -> dict[str, float]:
    """Return seconds, memory growth and loop lag of one transfer, after a small one of the same kind."""
    one = Sdk(given["options"]) if client == "wiro_async" else Httpx(given["options"])
    act = getattr(one, work)
    small, large = Path(given["small"]), Path(given["large"])
    await act(small, given["small_url"])
    longest = [0.0]
    watching = asyncio.create_task(lag(longest))
    await asyncio.sleep(0)
    before, start = rss(), time.perf_counter()
    await act(large, given["large_url"])
    wall = time.perf_counter() - start
    watching.cancel()
    await one.aclose()
    return {"wall": wall, "growth": max(0, peak() - before), "lag": longest[0]}


async def urls_of(options: dict[str, Any]) -> list[str]:
    """Return the URLs of the outputs."""
    from wiro_async import AsyncWiro

    async with AsyncWiro(**options) as wiro:
        return [str(output.url) for output in (await wiro.run("bench/maker")).outputs]


def transfers(up: int, down: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return the figures of each kind of work. Sizes are in MB."""
    figures: dict[str, dict[str, float]] = {}
    sizes = map(str, (WARM_UP, down))
    with tempfile.TemporaryDirectory() as folder, served(__file__, "--serve", *sizes) as options:
        small, large = Path(folder, "small.bin"), Path(folder, "large.bin")
        small.write_bytes(os.urandom(WARM_UP * MB))
        block = os.urandom(MB)
        with large.open("wb") as file:
            for _ in range(up):
                file.write(block)
        small_url, large_url = asyncio.run(urls_of(options))
        given = {"options": options, "small": str(small), "large": str(large)}
        given |= {"small_url": small_url, "large_url": large_url}
        for work in WORK:
            taken: dict[str, list[dict[str, float]]] = {name: [] for name in CLIENTS}
            for name in turns(CLIENTS, rounds):
                taken[name].append(alone("transfers.py", "--client", name, "--work", work, given=given))
            size = up if work == "upload" else down
            theirs, ours = ({key: median(one[key] for one in of) for key in of[0]} for of in taken.values())
            figures[work] = {
                "mb_per_s": size / ours["wall"],
                "httpx_mb_per_s": size / theirs["wall"],
                "ratio": theirs["wall"] / ours["wall"],
                "growth_mb": ours["growth"] / MB,
                "httpx_growth_mb": theirs["growth"] / MB,
                "lag_ms": 1000 * ours["lag"],
                "httpx_lag_ms": 1000 * theirs["lag"],
            }
    return figures


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--up", type=int, default=100, help="MB to upload")
    arguments.add_argument("--down", type=int, default=500, help="MB to download")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--serve", type=int, nargs="+", help="only serve outputs of these sizes in MB")
    arguments.add_argument("--client", choices=CLIENTS, help="only measure this client; data on standard input")
    arguments.add_argument("--work", choices=WORK)
    given = arguments.parse_args()
    if given.serve:
        serve(given.serve)
        return
    if given.client:
        taken = asyncio.run(measure(given.client, given.work, json.load(sys.stdin)))
        sys.stdout.write(json.dumps(taken) + "\n")
        return
    figures = transfers(given.up, given.down, given.rounds)
    table: list[tuple[str, ...]] = [("", "wiro_async", "httpx", "ratio", "memory", "httpx's", "loop lag", "httpx's")]
    missed: list[str] = []
    for work, of in figures.items():
        speeds = [f"{of[name]:.0f} MB/s" for name in ("mb_per_s", "httpx_mb_per_s")]
        memory = [f"{of[name]:+.1f} MB" for name in ("growth_mb", "httpx_growth_mb")]
        lags = [f"{of[name]:.1f} ms" for name in ("lag_ms", "httpx_lag_ms")]
        table.append((work, *speeds, f"{of['ratio']:.2f}", *memory, *lags))
        if of["ratio"] < MIN_RATIO[work]:
            missed.append(f"{work}: {of['ratio']:.2f} × httpx's speed (at least {MIN_RATIO[work]})")
        if of["growth_mb"] - of["httpx_growth_mb"] > MAX_GROWTH_MB:
            missed.append(f"{work}: {of['growth_mb']:.1f} MB of memory (at most {MAX_GROWTH_MB} more than httpx)")
        if work == "upload" and of["lag_ms"] > MAX_LAG_MS:
            missed.append(f"{work}: {of['lag_ms']:.1f} ms of loop lag (at most {MAX_LAG_MS})")
    show(f"{given.up} MB up, {given.down} MB down, median of {given.rounds}", table)
    for target in missed:
        print(f"missed: {target}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
