"""Everything has a cap: no answer, event, message or upload grows without a limit, and none stops the event loop."""

from __future__ import annotations

import asyncio
import gzip
import os
import resource
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wiro_async import (
    AsyncWiro,
    ConnectionFailedError,
    DecodingError,
    DownloadError,
    File,
    InvalidInputError,
    RequestTimeoutError,
    RetryPolicy,
    Timeouts,
    Tuning,
    WiroError,
)
from wiro_async._protocol.messages.event_stream import EventParser
from wiro_async._protocol.values.json import decode

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

MIB = 1024 * 1024
QUICK = Tuning(socket_close=0.02, search_grace=0.05, search_pause=0.01, download_pause=0.001, download_max_pause=0.002)
STALL = 1.0  # seconds; alone it is a tenth of that, but the machine of the tests is busy
GROWTH = 300 * MIB  # of a process that takes an answer of 64 MiB, and decodes it


class Load:
    """What a block did to the process: `grown` bytes, and the longest time in which the event loop did not run."""

    def __init__(self) -> None:
        self.grown = 0
        self.stall = 0.0


@asynccontextmanager
async def load() -> AsyncGenerator[Load, None]:
    """Measure a block."""
    result, before = Load(), rss()

    async def watch() -> None:
        while True:
            then = time.perf_counter()
            await asyncio.sleep(0.005)
            result.stall = max(result.stall, time.perf_counter() - then - 0.005)
            result.grown = max(result.grown, rss() - before)

    watching = asyncio.create_task(watch())
    try:
        yield result
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def rss() -> int:
    """The memory of the process."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * resource.getpagesize()


@asynccontextmanager
async def session(raw: RawWiro, seconds: float = 20.0) -> AsyncGenerator[AsyncWiro, None]:
    """A session that tries once."""
    async with AsyncWiro(
        **raw.options(), retry=RetryPolicy(attempts=1), timeout=Timeouts(request=seconds), tuning=QUICK
    ) as wiro:
        yield wiro


async def chunked(peer: Peer, chunk: bytes, *headers: str, most: int = 100_000) -> None:
    """Send a body of equal chunks."""
    lines = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *headers, "", ""]
    await peer.send("\r\n".join(lines).encode())
    for _ in range(most):
        await peer.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    await peer.send(b"0\r\n\r\n")


async def endless(peer: Peer) -> None:
    """A body that does not end."""
    await chunked(peer, b" " * 256 * 1024)


@cache
def packed(wbits: int) -> bytes:
    """400 kB that become 400 MB."""
    packer = zlib.compressobj(9, wbits=wbits)
    return b"".join([*(packer.compress(b" " * MIB) for _ in range(400)), packer.flush()])


@cache
def many() -> bytes:
    """60 MB that would become 1.2 GB of objects."""
    return gzip.compress(b"[" + b"[]," * 20_000_000 + b"1]", 1)


async def gzip_bomb(peer: Peer) -> None:
    """400 kB that become 400 MB."""
    await peer.respond(packed(31), "Content-Encoding: gzip")


async def deflate_bomb(peer: Peer) -> None:
    """The same, without a header."""
    await peer.respond(packed(-15), "Content-Encoding: deflate")


async def announced(peer: Peer) -> None:
    """200 MB by its head."""
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
    with suppress(OSError):
        while True:
            await peer.send(b" " * MIB)


async def many_values(peer: Peer) -> None:
    """60 MB that would become 1.2 GB of objects."""
    await peer.respond(many(), "Content-Encoding: gzip")


async def nested(peer: Peer) -> None:
    """Deeper than any parser goes."""
    await peer.respond(b'{"a":' * 2_000_000)


async def error_page(peer: Peer) -> None:
    """50 MB of HTML."""
    await peer.respond(b"<p> x </p>" * 5_000_000, status="502 Bad Gateway")


BOMBS = (endless, gzip_bomb, deflate_bomb, announced, many_values, nested, error_page)


@pytest.mark.parametrize("bomb", BOMBS)
async def test_an_answer_that_is_too_large(raw: RawWiro, bomb: Callable[[Peer], Awaitable[None]]) -> None:
    """It is an error, in bounded memory, and the event loop goes on."""
    raw.routes["Task/Detail"] = bomb
    _ = packed(31), packed(-15), many()  # made before anything is measured
    async with session(raw) as wiro, load() as seen:
        with pytest.raises((ConnectionFailedError, DecodingError, WiroError)):
            await wiro.tasks.get("1")
    assert seen.grown < GROWTH
    assert seen.stall < STALL


@pytest.mark.parametrize("bomb", [endless, gzip_bomb, announced])
async def test_a_run_whose_answer_is_too_large(raw: RawWiro, bomb: Callable[[Peer], Awaitable[None]]) -> None:
    """The task that it made is found, as after every lost answer."""

    packed(31)

    async def answer(peer: Peer) -> None:
        ids = raw.take_run("owner/model", peer.sent)
        raw.rows[str(ids["taskid"])]["createtime"] = str(int(time.time()))
        await bomb(peer)

    raw.routes["Run"] = answer
    async with session(raw) as wiro:
        task = await wiro.submit("owner/model", {"prompt": "x"})
    assert (task.id, len(raw.runs)) == ("1000", 1)


async def test_a_large_answer_is_taken(raw: RawWiro) -> None:
    """Up to 64 MiB, decoded off the event loop."""

    async def answer(peer: Peer) -> None:
        row = raw.make_task("owner/model", {}, debugoutput="x" * 30_000_000)
        await peer.respond_json({"result": True, "tasklist": [row]})

    raw.routes["Task/Detail"] = answer
    async with session(raw) as wiro:
        task = await wiro.tasks.get("1")
    assert task is not None
    assert len(task.log) == 30_000_000


async def test_tiny_chunks(raw: RawWiro) -> None:
    """A body of 300,000 chunks does not hold up the event loop."""

    async def answer(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(60):
            await peer.send(b"1\r\n \r\n" * 1000)
        await peer.send(b"2\r\n{}\r\n0\r\n\r\n")

    raw.routes["Task/Detail"] = answer
    async with session(raw) as wiro, load() as seen:
        assert await wiro.tasks.get("1") is None
    assert seen.stall < STALL


async def test_an_event_without_an_end(raw: RawWiro) -> None:
    """The event stream is given up, and the task is found by polling."""

    async def answer(peer: Peer) -> None:
        ids = raw.take_run("owner/model", peer.sent)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        head = b'event: start\ndata: {"taskid":"%s"}\n\ndata: ' % str(ids["taskid"]).encode()
        await peer.send(b"%x\r\n%b\r\n" % (len(head), head))
        while True:
            await peer.send(b"40000\r\n%b\r\n" % (b"x" * 0x40000))

    raw.routes["Run"] = answer
    async with session(raw) as wiro, load() as seen:
        result = await wiro.with_options(updates="sse").run("owner/model", {"prompt": "x"})
    assert result.info.id == "1000"
    assert seen.grown < GROWTH


def test_the_cap_of_an_event() -> None:
    """It counts what is not complete, in one line or in many."""
    for line in (b"data: x", b"data: x\n", b": x\n" * 2, b"event: x\n"):
        parser, chunk = EventParser(1000), line * (100 // len(line))
        for _ in range(1000 // len(chunk)):
            parser.feed(chunk)
        with pytest.raises(DecodingError, match="larger than 1000 bytes"):
            parser.feed(chunk)
    parser = EventParser(1000)
    for _ in range(100):
        assert parser.feed(b"data: x\n\n" * 20)


async def test_interim_responses_without_end(raw: RawWiro) -> None:
    """The request's timeout ends them."""

    async def answer(peer: Peer) -> None:
        while True:
            await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100)

    raw.routes["Task/Detail"] = answer
    async with session(raw, 0.5) as wiro, load() as seen:
        with pytest.raises(RequestTimeoutError):
            await wiro.tasks.get("1")
    assert seen.grown < 50 * MIB


@pytest.mark.parametrize("size", [30_000, 60_000])
async def test_large_headers_are_taken(raw: RawWiro, size: int) -> None:
    """Up to 64 KiB."""

    async def answer(peer: Peer) -> None:
        await peer.respond_json({"result": True, "tasklist": []}, f"X-Large: {'x' * size}")

    raw.routes["Task/Detail"] = answer
    async with session(raw) as wiro:
        assert await wiro.tasks.get("1") is None


@pytest.mark.parametrize("header", ["X-Large: " + "x" * 200_000, "\r\n".join(f"X-{n}: x" for n in range(30_000))])
async def test_a_flood_of_headers(raw: RawWiro, header: str) -> None:
    """The error says what it is."""

    async def answer(peer: Peer) -> None:
        await peer.respond(b"{}", header)

    raw.routes["Task/Detail"] = answer
    async with session(raw) as wiro:
        with pytest.raises(ConnectionFailedError, match="headers are larger than 100 KiB"):
            await wiro.tasks.get("1")


@pytest.mark.parametrize("part", ["head", "body", "chunks"])
async def test_a_slow_drip(raw: RawWiro, part: str) -> None:
    """The timeout is for the answer as a whole."""
    before = {
        "head": b"HTTP/1.1 200 OK\r\nX-Slow: ",
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    }

    async def answer(peer: Peer) -> None:
        await peer.send(before[part])
        for _ in range(1000):
            await peer.send(b"1\r\n \r\n" if part == "chunks" else b" ")
            await asyncio.sleep(0.05)

    raw.routes["Task/Detail"] = answer
    async with session(raw, 0.4) as wiro:
        started = time.perf_counter()
        with pytest.raises(RequestTimeoutError):
            await wiro.tasks.get("1")
    assert time.perf_counter() - started < 1.5


async def test_a_download_that_drips(raw: RawWiro, tmp_path: Path) -> None:
    """It gets nowhere, though it is never silent."""

    async def answer(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            await peer.send(b" ")
            await asyncio.sleep(0.02)

    raw.routes["files/x"] = answer
    tuning = Tuning(download_lag=0.3, download_pause=0.01)
    async with AsyncWiro(**raw.options(), tuning=tuning) as wiro:
        started = time.perf_counter()
        with pytest.raises(DownloadError, match="too slowly"):
            await wiro.download(f"http://127.0.0.1:{raw.port}/files/x", tmp_path / "x")
    assert time.perf_counter() - started < 2
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_the_default_cap_of_a_download(raw: RawWiro, tmp_path: Path) -> None:
    """10 GiB, by the head of the response."""

    async def answer(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (10 * 1024**3 + 1))
        await peer.gone()

    raw.routes["files/x"] = answer
    async with AsyncWiro(**raw.options(), tuning=QUICK) as wiro:
        with pytest.raises(DownloadError, match="more than the 10737418240 allowed"):
            await wiro.download(f"http://127.0.0.1:{raw.port}/files/x", tmp_path / "x")


async def iterate() -> AsyncIterator[bytes]:
    """Bytes without an end."""
    while True:
        yield bytes(64 * 1024)


def zeros(folder: Path) -> object:
    """A device."""
    return Path("/dev/zero")


def open_zeros(folder: Path) -> object:
    """An open device."""
    return File(open("/dev/zero", "rb"), "zero.bin")  # noqa: PTH123


def iterator(folder: Path) -> object:
    """An iterator."""
    return File(iterate(), "endless.bin")


def large(folder: Path) -> object:
    """A file of a known size."""
    path = folder / "large.bin"
    path.touch()
    os.truncate(path, 5 * MIB)
    return path


async def send(wiro: AsyncWiro, given: object, how: str) -> None:
    """Upload it in one of three ways."""
    if how == "upload":
        await wiro.files.upload(given)  # type: ignore[arg-type]
    else:
        await wiro.with_options(updates="sse" if how == "sse" else "polling").run("owner/model", {"video": given})


@pytest.mark.parametrize("source", [zeros, open_zeros, iterator, large])
@pytest.mark.parametrize("how", ["run", "sse", "upload"])
async def test_an_upload_without_an_end(
    raw: RawWiro, tmp_path: Path, source: Callable[[Path], object], how: str
) -> None:
    """It ends at the limit; the service gets no complete request, so nothing was run, and nothing is searched for."""
    async with AsyncWiro(**raw.options(), updates="polling", tuning=Tuning(max_upload=4 * MIB)) as wiro:
        given = source(tmp_path)
        with pytest.raises(InvalidInputError, match="accepts at most 4194304") as failed:
            await send(wiro, given, how)
    if isinstance(given, File) and not hasattr(given.data, "__aiter__"):
        given.data.close()  # type: ignore[union-attr]
    assert "max_upload" in str(failed.value)
    assert (raw.runs, "Task/List" in raw.requests, "Run" in raw.requests) == ([], False, False)


async def test_a_message_without_an_end(raw: RawWiro) -> None:
    """A socket that sends fragments for ever costs time, and no result."""

    async def socket(peer: Peer) -> None:
        await peer.accept_websocket()
        await peer.send(b"\x01\x7f" + (0x40000).to_bytes(8, "big") + b"x" * 0x40000)
        while True:
            await peer.send(b"\x00\x7f" + (0x40000).to_bytes(8, "big") + b"x" * 0x40000)

    raw.routes["socket"] = socket
    async with session(raw) as wiro, load() as seen:
        result = await wiro.run("owner/model", {"prompt": "x"})
        await asyncio.sleep(0.5)
    assert result.info.id == "1000"
    assert seen.grown < GROWTH


def test_json_of_too_many_values() -> None:
    """Three bytes become sixty."""
    with pytest.raises(ValueError, match="more than 2000000 values"):
        decode(b"[" + b"[]," * 3_000_000 + b"1]")
    assert isinstance(decode(b'["' + b"x" * 5_000_000 + b'"]'), list)
