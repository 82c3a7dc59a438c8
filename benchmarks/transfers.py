"""Files up and down beside bare httpx, on one emulator, in one run: throughput as a ratio, and what memory they take.

    python benchmarks/transfers.py [--up 100] [--down 500] [--rounds 3]

The same bytes, each client in a process of its own, and so the emulator; clients take turns, medians count.
"save" is the file on disk, flushed (`fsync`) on both sides; "stream" only reads; "upload" is one multipart POST.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

MB = 1024 * 1024
WORK = ("upload", "stream", "save")
LIMIT_MB, LIMIT_RATIO = 24, 0.8
WARM_UP = 1


def rss() -> int:
    """What this process holds, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak() -> int:
    """The most it ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(sizes: list[int]) -> None:
    """An emulator whose model "bench/maker" makes one file of each size; until its input ends."""
    from wiro_async.testing import FileOutput, ModelScript, Script, WiroEmulator, timeline

    block = os.urandom(MB)
    outputs = tuple(FileOutput(f"{size}.bin", "application/octet-stream", block * size) for size in sizes)
    maker = ModelScript("bench/maker", lambda given: Script(timeline(0.1), outputs))
    with WiroEmulator(models=[maker], api_secret=None) as emulator:
        sys.stdout.write(json.dumps(emulator.options()) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


class Sdk:
    """This library."""

    def __init__(self, options: dict[str, Any]) -> None:
        from wiro_async import AsyncWiro

        self.wiro = AsyncWiro(**options)

    async def upload(self, file: Path, url: str) -> None:
        await self.wiro.files.upload(file)

    async def stream(self, file: Path, url: str) -> None:
        async with self.wiro._downloader.stream(url) as chunks:
            async for _ in chunks:
                pass

    async def save(self, file: Path, url: str) -> None:
        await self.wiro.download(url, file.with_name("down.bin"), overwrite=True)

    async def aclose(self) -> None:
        await self.wiro.aclose()


class Httpx:
    """Bare httpx, as one would write it by hand."""

    def __init__(self, options: dict[str, Any]) -> None:
        import httpx

        self.base_url = options["base_url"]
        headers = {"x-api-key": options["api_key"], "user-agent": "benchmark"}
        self.http = httpx.AsyncClient(headers=headers, timeout=60)

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


CLIENTS = ("httpx", "wiro_async")


async def measure(client: str, work: str, given: dict[str, Any]) -> dict[str, float]:
    """Seconds and bytes of memory for one transfer, after a small one of the same kind."""
    one = Sdk(given["options"]) if client == "wiro_async" else Httpx(given["options"])
    act = getattr(one, work)
    small, large = Path(given["small"]), Path(given["large"])
    await act(small, given["small_url"])
    before, start = rss(), time.perf_counter()
    await act(large, given["large_url"])
    wall = time.perf_counter() - start
    await one.aclose()
    return {"wall": wall, "growth": max(0, peak() - before)}


@contextmanager
def emulator(sizes: list[int]) -> Generator[dict[str, Any]]:
    """An emulator in another process."""
    command = [sys.executable, __file__, "--serve", *map(str, sizes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        yield json.loads(server.stdout.readline())
        server.stdin.close()
        server.wait()


async def urls_of(options: dict[str, Any]) -> list[str]:
    """Where the outputs lie."""
    from wiro_async import AsyncWiro

    async with AsyncWiro(**options) as wiro:
        return [str(output.url) for output in (await wiro.run("bench/maker")).outputs]


def transfers(up: int, down: int, rounds: int) -> tuple[dict[str, Any], list[tuple[str, ...]]]:
    """Figures and a table, as `benchmarks/run.py` shows them. Sizes in MB."""
    figures: dict[str, Any] = {}
    table: list[tuple[str, ...]] = [("", "wiro_async", "httpx", "ratio", "memory", "httpx's memory")]
    with tempfile.TemporaryDirectory() as folder, emulator([WARM_UP, down]) as options:
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
            size = up if work == "upload" else down
            figures[work] = compared(work, size, rounds, json.dumps(given))
            table.append(row(work, size, figures[work]))
    return figures, table


def compared(work: str, size: int, rounds: int, given: str) -> dict[str, float]:
    """Both clients at one kind of work, in turns."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in CLIENTS}
    for turn in range(rounds):
        for name in sorted(CLIENTS, reverse=bool(turn % 2)):
            command = [sys.executable, __file__, "--client", name, "--work", work]
            done = subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True, check=True)
            taken[name].append(json.loads(done.stdout))
    speed = {name: size / median(one["wall"] for one in of) for name, of in taken.items()}
    growth = {name: median(one["growth"] for one in of) / MB for name, of in taken.items()}
    return {
        "mb_per_s": speed["wiro_async"],
        "httpx_mb_per_s": speed["httpx"],
        "ratio": speed["wiro_async"] / speed["httpx"],
        "growth_mb": growth["wiro_async"],
        "httpx_growth_mb": growth["httpx"],
    }


def row(work: str, size: int, figures: dict[str, float]) -> tuple[str, ...]:
    """One line of the table."""
    speeds = [f"{figures[name]:.0f} MB/s" for name in ("mb_per_s", "httpx_mb_per_s")]
    memory = [f"{figures[name]:+.1f} MB" for name in ("growth_mb", "httpx_growth_mb")]
    return (f"{work} {size} MB", *speeds, f"{figures['ratio']:.2f}", *memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--up", type=int, default=100, help="MB to upload")
    parser.add_argument("--down", type=int, default=500, help="MB to download")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=int, nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
        return
    if given.client:
        taken = asyncio.run(measure(given.client, given.work, json.load(sys.stdin)))
        sys.stdout.write(json.dumps(taken) + "\n")
        return
    figures, table = transfers(given.up, given.down, given.rounds)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    missed = [name for name, of in figures.items() if of["ratio"] < LIMIT_RATIO or of["growth_mb"] > LIMIT_MB]
    verdict = f"missed by {', '.join(missed)}" if missed else "yes"
    print(f"at least {LIMIT_RATIO} of httpx's speed in at most {LIMIT_MB} MB: {verdict}")


if __name__ == "__main__":
    main()
