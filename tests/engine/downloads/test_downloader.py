"""Downloads return the right bytes or raise `DownloadError`, whatever the server does, and never leave half a file."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import httpx
import pytest
import pytest_asyncio

from wiro_async import AsyncWiro, DownloadError, Output, OutputRecord
from wiro_async._engine.downloads.downloader import Downloader
from wiro_async._transport.http import HttpTransport
from wiro_async._tuning import Tuning

SIZE = 200_000
DATA = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(SIZE // 32))
HASTY = Tuning(download_pause=0.001, download_max_pause=0.002)
TENTHS = [SIZE * tenth // 10 for tenth in range(11)]


@attrs.frozen
class Reply:
    """What a server does with one request. With `cut` it closes the connection after so many bytes of the body."""

    status: int
    headers: Mapping[str, object]
    body: bytes = b""
    cut: int | None = None
    reset: bool = False


Headers: TypeAlias = Mapping[str, str]
Trick: TypeAlias = Callable[["FileServer", Headers], Reply]


class FileServer:
    """One file at one URL. Each of `tricks` applies to one request, in order."""

    def __init__(self) -> None:
        self.data = DATA
        self.etag: str | None = '"v1"'
        self.ranges = True
        self.tricks: list[Trick] = []
        self.always: Trick | None = None
        self.requests: list[Headers] = []
        self.url = ""

    def normal(self, request: Headers) -> Reply:
        """The response of a correct server."""
        tag = {} if self.etag is None else {"ETag": self.etag}
        wanted = re.fullmatch(r"bytes=(\d+)-", request.get("range", "")) if self.ranges else None
        if wanted is None or request.get("if-range") not in (None, self.etag):
            return Reply(200, {"Content-Length": len(self.data), **tag}, self.data)
        first, total = int(wanted[1]), len(self.data)
        if first >= total:
            return Reply(416, {"Content-Range": f"bytes */{total}", "Content-Length": 0})
        span = f"bytes {first}-{total - 1}/{total}"
        return Reply(206, {"Content-Range": span, "Content-Length": total - first, **tag}, self.data[first:])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
            request = {name.lower(): value for name, _, value in lines}
            self.requests.append(request)
            trick = self.tricks.pop(0) if self.tricks else self.always
            await self._play(trick(self, request) if trick else self.normal(request), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _play(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        headers = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        writer.write(f"HTTP/1.1 {reply.status} X\r\n{headers}Connection: close\r\n\r\n".encode())
        writer.write(reply.body if reply.cut is None else reply.body[: reply.cut])
        await writer.drain()
        if reply.reset:
            while writer.transport.get_write_buffer_size():  # noqa: ASYNC110
                await asyncio.sleep(0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FileServer]:
    """A server that misbehaves on demand."""
    behind = FileServer()
    listener = await asyncio.start_server(behind.serve, "127.0.0.1", 0)
    behind.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/ACCESSKEY/fox.bin"
    async with listener:
        yield behind


@pytest_asyncio.fixture
async def wiro() -> AsyncIterator[AsyncWiro]:
    """A session that retries at once."""
    options: dict[str, Any] = {"base_url": "http://127.0.0.1:9", "tuning": HASTY}
    async with AsyncWiro("the-secret-key", "the-secret-secret", **options) as session:
        yield session


@pytest.fixture
def downloader(http: HttpTransport) -> Downloader:
    """A downloader that retries at once."""
    return Downloader(http, "agent", 60.0, HASTY)


def output(downloader: Downloader, url: str, size: int | None) -> Output:
    """An output at a URL."""
    return Output(OutputRecord(url, "fox.bin", "", size, {}, {}), downloader)


def cut(at: int, *, reset: bool = False) -> Trick:
    """Send the file, or the part that was asked for, up to this byte, then close the connection."""

    def trick(server: FileServer, request: Headers) -> Reply:
        reply = server.normal(request)
        start = len(server.data) - len(reply.body)
        return attrs.evolve(reply, cut=max(0, at - start), reset=reset)

    return trick


def short_body(at: int) -> Trick:
    """Send a complete response that is shorter than the file."""

    def trick(server: FileServer, request: Headers) -> Reply:
        return Reply(200, {"Content-Length": at}, server.data[:at])

    return trick


def without_length(at: int) -> Trick:
    """Send neither a length nor chunks: the client must take the end of the connection for the end of the file."""

    def trick(server: FileServer, request: Headers) -> Reply:
        return Reply(200, {"ETag": server.etag}, server.data[:at])

    return trick


def respond(status: int, **headers: object) -> Trick:
    """A response without a body."""
    return lambda server, request: Reply(status, {"Content-Length": 0, **headers})


def whole_again(server: FileServer, request: Headers) -> Reply:
    """Respond to a range with a 200 and the whole file."""
    tag = {"ETag": server.etag} if server.etag else {}
    return Reply(200, {"Content-Length": len(server.data), **tag}, server.data)


def changed_file(server: FileServer, request: Headers) -> Reply:
    """Serve another file from now on."""
    server.data, server.etag = bytes(reversed(DATA)), '"v2"'
    return server.normal(request)


def changed_unseen(server: FileServer, request: Headers) -> Reply:
    """Ignore If-Range: send the rest of another file, with its ETag."""
    server.data, server.etag = bytes(reversed(DATA)), '"v2"'
    return server.normal({**request, "if-range": '"v2"'})


def wrong_range(server: FileServer, request: Headers) -> Reply:
    """Send another part than the requested one."""
    body = server.data[7:]
    return Reply(206, {"Content-Range": f"bytes 7-{SIZE - 1}/{SIZE}", "Content-Length": len(body)}, body)


def nothing_left(server: FileServer, request: Headers) -> Reply:
    """Respond that the file has no such range."""
    return Reply(416, {"Content-Range": f"bytes */{SIZE}", "Content-Length": 0})


AFTER = {
    "normal": None,
    "200 to a range": whole_again,
    "changed etag, If-Range known": changed_file,
    "changed etag, If-Range unknown": changed_unseen,
    "wrong Content-Range": wrong_range,
    "416": nothing_left,
    "404": respond(404),
    "503": respond(503, **{"Retry-After": 0}),
}


def is_clean(folder: Path, *names: str) -> bool:
    """Whether a directory holds these files and nothing else."""
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("after", AFTER, ids=str)
@pytest.mark.parametrize("etag", ['"v1"', None], ids=["etag", "no-etag"])
async def test_cut_anywhere(
    server: FileServer, downloader: Downloader, tmp_path: Path, after: str, etag: str | None
) -> None:
    """A transfer is cut at every tenth, closed or reset, and anything follows: the file is complete or not there."""
    trick = AFTER[after]
    saved = []
    for number, at in enumerate(TENTHS):
        server.data, server.etag = DATA, etag
        server.tricks = [cut(at, reset=number % 2 == 0), *([trick] if trick else [])]
        try:
            path = await output(downloader, server.url, SIZE if number % 3 else None).save(tmp_path / f"{at}.bin")
        except DownloadError:
            assert "range" not in server.requests[-1]
            assert trick in (wrong_range, nothing_left)
        else:
            saved.append(path.name)
            assert path.read_bytes() == server.data
    assert is_clean(tmp_path, *saved)
    assert len(saved) == len(TENTHS) or trick in (wrong_range, nothing_left)


async def test_cut_at_every_tenth_of_one_download(server: FileServer, wiro: AsyncWiro, tmp_path: Path) -> None:
    """It is resumed nine times, near the byte of the cut: bytes in buffers may be lost and sent again."""
    server.data = DATA * 20
    server.tricks = [cut(20 * at) for at in TENTHS[1:10]]
    path = await wiro.download(server.url, tmp_path / "fox.bin")
    assert path.read_bytes() == server.data
    starts = [int(request["range"][6:-1]) for request in server.requests[1:]]
    assert all(0 <= 20 * at - start <= 300_000 for at, start in zip(TENTHS[1:10], starts, strict=True))
    assert {request.get("if-range") for request in server.requests[1:]} == {'"v1"'}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("trouble", ["no ranges", "no etag", "at the same byte"])
async def test_a_download_without_progress(
    server: FileServer, wiro: AsyncWiro, tmp_path: Path, trouble: str, reset: bool
) -> None:
    """It fails after some attempts, and leaves nothing behind."""
    server.ranges = trouble != "no ranges"
    server.etag = None if trouble == "no etag" else '"v1"'
    server.always = cut(TENTHS[3], reset=reset)
    with pytest.raises(DownloadError, match="could not be fetched whole"):
        await wiro.download(server.url, tmp_path / "fox.bin")
    assert is_clean(tmp_path)
    assert len(server.requests) <= HASTY.download_failures + 1


@pytest.mark.parametrize("at", TENTHS[:10])
@pytest.mark.parametrize("trick", [short_body, without_length], ids=["short", "no-length"])
async def test_a_wrong_size(
    server: FileServer, downloader: Downloader, tmp_path: Path, at: int, trick: Callable[[int], Trick]
) -> None:
    """A complete response that does not have the size of the record is not the file."""
    server.always = trick(at)
    with pytest.raises(DownloadError, match=f"should have {SIZE} bytes but has {at}"):
        await output(downloader, server.url, SIZE).save(tmp_path / "fox.bin")
    assert is_clean(tmp_path)
    server.always, server.tricks = None, [trick(at)]
    path = await output(downloader, server.url, SIZE).save(tmp_path / "fox.bin")
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("etag", ['"v1"', 'W/"v1"', None])
@pytest.mark.parametrize("ranges", [True, False])
async def test_streaming_over_a_cut(server: FileServer, downloader: Downloader, etag: str | None, ranges: bool) -> None:
    """A reader gets the rest of the same file or an error, never a byte twice or bytes of another file."""
    for at in TENTHS:
        server.etag, server.ranges, server.tricks = etag, ranges, [cut(at)]
        received = bytearray()
        try:
            async with output(downloader, server.url, SIZE).stream() as chunks:
                async for chunk in chunks:
                    received += chunk
        except DownloadError:
            assert etag != '"v1"'
            assert DATA.startswith(received)
        else:
            assert received == DATA
            assert etag == '"v1"' or at == 0 or at == SIZE


async def test_reading_starts_over(server: FileServer, downloader: Downloader) -> None:
    """`read` can discard what came before."""
    server.etag = None
    server.tricks = [cut(TENTHS[5])]
    assert await output(downloader, server.url, SIZE).read() == DATA


async def test_a_stream_fails_on_entering(server: FileServer, downloader: Downloader) -> None:
    """A web app can still respond with an error."""
    server.always = respond(403)
    with pytest.raises(DownloadError, match="HTTP 403"):
        async with output(downloader, server.url, None).stream():
            pytest.fail("nothing to stream")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [404, 408, 425, 429, 500, 502, 503, 504, 520])
async def test_a_file_that_is_late(server: FileServer, downloader: Downloader, status: int) -> None:
    """The same URL is requested again."""
    server.tricks = [respond(status)] * 12
    assert await output(downloader, server.url, SIZE).read() == DATA
    assert len(server.requests) == 13


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 410, 416])
async def test_a_file_that_is_refused(server: FileServer, downloader: Downloader, status: int) -> None:
    """It fails at the first attempt."""
    server.always = respond(status)
    with pytest.raises(DownloadError, match=f"fox.bin answered HTTP {status}"):
        await output(downloader, server.url, SIZE).read()
    assert len(server.requests) == 1


async def test_a_file_that_never_comes(server: FileServer, http: HttpTransport) -> None:
    """It fails after the time in which a file may be late."""
    downloader = Downloader(http, "agent", 60.0, attrs.evolve(HASTY, download_lag=0.05))
    server.always = respond(404)
    with pytest.raises(DownloadError, match="could not be fetched whole: HTTP 404"):
        await output(downloader, server.url, SIZE).read()


async def test_no_credentials_are_sent(server: FileServer, wiro: AsyncWiro, tmp_path: Path) -> None:
    """Not after a redirect, and not with another attempt."""
    place = server.url.removesuffix("fox.bin")
    server.tricks = [respond(302, Location="/elsewhere/fox.bin"), cut(10), respond(307, Location=f"{place}moved.bin")]
    await wiro.with_options(headers={"x-team": "blue"}).download(server.url, tmp_path / "fox.bin")
    allowed = {"host", "user-agent", "accept", "accept-encoding", "range", "if-range", "connection"}
    assert {name for request in server.requests for name in request} <= allowed
    assert len(server.requests) == 4
    assert all(request["accept-encoding"] == "identity" for request in server.requests)


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://", "http://[::1", "//[", ""])
async def test_redirects_to_nowhere(server: FileServer, wiro: AsyncWiro, tmp_path: Path, location: str) -> None:
    """Each is a `DownloadError`, and no file of this machine is read."""
    server.always = respond(302, Location=location)
    with pytest.raises(DownloadError):
        await wiro.download(server.url, tmp_path / "fox.bin")
    assert is_clean(tmp_path)


async def test_redirects_in_a_circle(server: FileServer, downloader: Downloader) -> None:
    """Five redirects are followed."""
    server.always = respond(301, Location=server.url)
    with pytest.raises(DownloadError, match="redirects more than 5 times"):
        await output(downloader, server.url, None).read()
    assert len(server.requests) == 6


async def test_a_compressed_body(server: FileServer, downloader: Downloader) -> None:
    """It is decompressed although it was not requested, and the recorded size applies to the result."""
    packed = gzip.compress(DATA)
    headers = {"Content-Encoding": "gzip", "Content-Length": len(packed), "ETag": '"v1"'}
    server.tricks = [lambda _, request: Reply(200, headers, packed, cut=len(packed) // 2)]
    server.tricks.append(lambda _, request: Reply(200, headers, packed))
    assert await output(downloader, server.url, SIZE).read() == DATA
    assert "range" not in server.requests[1]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "bare deflate"])
async def test_a_compressed_body_that_is_cut(server: FileServer, downloader: Downloader, coding: str) -> None:
    """The size is unknown and the length matches, but the compressed data is incomplete."""
    packer = zlib.compressobj(wbits={"gzip": 31, "deflate": 15, "bare deflate": -15}[coding])
    packed = packer.compress(DATA) + packer.flush()

    def answer(length: int) -> Trick:
        headers = {"Content-Encoding": coding.split()[-1], "Content-Length": length}
        return lambda _, request: Reply(200, headers, packed[:length])

    server.tricks = [answer(len(packed) // 2), answer(len(packed) - 1), answer(len(packed))]
    assert await output(downloader, server.url, None).read() == DATA
    assert len(server.requests) == 3
    server.always = answer(len(packed) // 2)
    with pytest.raises(DownloadError, match="broke off within its content coding"):
        await output(downloader, server.url, None).read()


async def test_a_compressed_body_of_several_parts(server: FileServer, downloader: Downloader) -> None:
    """gzip allows them. A small body with a large content is decompressed piece by piece, and counted on the way."""
    packed = gzip.compress(DATA) + gzip.compress(bytes(40_000_000))
    headers = {"Content-Encoding": "gzip", "Content-Length": len(packed)}
    server.always = lambda _, request: Reply(200, headers, packed)
    async with output(downloader, server.url, None).stream() as chunks:
        pieces = [(len(chunk), hash(chunk)) async for chunk in chunks]
    assert sum(size for size, _ in pieces) == len(DATA) + 40_000_000
    assert max(size for size, _ in pieces) <= 2**20
    with pytest.raises(DownloadError, match="more than the 1000000 allowed"):
        await output(downloader, server.url, None).read(max_bytes=1_000_000)


async def test_an_unknown_content_encoding(server: FileServer, downloader: Downloader) -> None:
    """It fails at the first attempt."""
    server.always = lambda _, request: Reply(200, {"Content-Encoding": "br", "Content-Length": 3}, b"abc")
    with pytest.raises(DownloadError, match="the content coding 'br', which was not asked for"):
        await output(downloader, server.url, None).read()
    assert len(server.requests) == 1


async def test_waiting_for_a_turn_does_not_count(server: FileServer, http: HttpTransport) -> None:
    """The time in which a file may be late begins with the first request."""
    downloader = Downloader(http, "agent", 60.0, attrs.evolve(HASTY, download_lag=2.0))
    for _ in range(HASTY.http_downloads):
        http.downloads.acquire_nowait()
    server.tricks = [respond(404)]
    reading = asyncio.create_task(output(downloader, server.url, SIZE).read())
    await asyncio.sleep(2.1)
    assert not server.requests
    for _ in range(HASTY.http_downloads):
        http.downloads.release()
    assert await reading == DATA


async def test_many_open_streams(server: FileServer, http: HttpTransport, downloader: Downloader) -> None:
    """Streams that are read slowly hold up no other download."""
    async with AsyncExitStack() as stack:
        for _ in range(HASTY.http_downloads + 5):
            await stack.enter_async_context(output(downloader, server.url, SIZE).stream())
        assert http.in_flight == HASTY.http_downloads + 5
        assert await output(downloader, server.url, SIZE).read() == DATA
    assert http.in_flight == 0


async def test_a_transport_that_ignores_lengths(tmp_path: Path) -> None:
    """The downloader notices a body that is too short, and fetches the rest."""

    def handler(request: httpx.Request) -> httpx.Response:
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        headers = {"ETag": '"v1"', "Content-Length": str(SIZE - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{SIZE - 1}/{SIZE}"
        stream = httpx.ByteStream(DATA[start : start + SIZE // 3])
        return httpx.Response(206 if start else 200, headers=headers, stream=stream)

    async with AsyncWiro("key", transport=httpx.MockTransport(handler)) as wiro:
        path = await wiro.download("http://files.test/fox.bin", tmp_path / "fox.bin")
    assert path.read_bytes() == DATA


async def test_the_size_cap(server: FileServer, downloader: Downloader, tmp_path: Path) -> None:
    """It applies before a request if the record has a size, then to the head of the response, then to the bytes."""
    known, unknown = output(downloader, server.url, SIZE), output(downloader, server.url, None)
    with pytest.raises(DownloadError, match=f"has {SIZE} bytes, more than the {SIZE - 1} allowed; raise max_bytes"):
        await known.save(tmp_path / "fox.bin", max_bytes=SIZE - 1)
    assert not server.requests
    with pytest.raises(DownloadError, match=f"at least {SIZE} bytes"):
        await unknown.read(max_bytes=SIZE - 1)
    server.tricks = [without_length(SIZE)]
    with pytest.raises(DownloadError, match="raise max_bytes"):
        async with unknown.stream(max_bytes=1000) as chunks:
            _ = [chunk async for chunk in chunks]
    assert is_clean(tmp_path)
    assert await unknown.read(max_bytes=SIZE) == DATA


async def test_the_size_cap_of_a_session(server: FileServer, downloader: Downloader, tmp_path: Path) -> None:
    """It applies even if a call allows more, in views too, and before a request if the size is known."""
    capped = attrs.evolve(downloader, max_bytes=1000)
    with pytest.raises(DownloadError, match="more than the 1000 allowed"):
        await output(capped, server.url, SIZE).read(max_bytes=SIZE)
    with pytest.raises(DownloadError, match="more than the 10 allowed"):
        await output(capped, server.url, SIZE).read(max_bytes=10)
    assert not server.requests
    async with AsyncWiro("key", max_download_bytes=1000) as wiro:
        with pytest.raises(DownloadError, match="more than the 1000 allowed"):
            await wiro.download(server.url, tmp_path / "x", max_bytes=SIZE)
        with pytest.raises(DownloadError, match="more than the 10 allowed"):
            await wiro.with_options().download(server.url, tmp_path / "x", max_bytes=10)


async def test_a_server_that_is_down(downloader: Downloader, unused_tcp_port: int) -> None:
    """After some attempts the error names the cause, without the key in the path."""
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1/…/fox\.bin could not be fetched whole") as caught:
        await output(downloader, f"http://127.0.0.1:{unused_tcp_port}/ACCESSKEY/fox.bin", None).read()
    assert "ACCESSKEY" not in f"{caught.value!r}"


async def test_leaving_a_stream_frees_the_connection(
    server: FileServer, http: HttpTransport, downloader: Downloader
) -> None:
    """After a `break` no request is in flight."""
    for _ in range(3):
        async with output(downloader, server.url, SIZE).stream() as chunks:
            async for _ in chunks:
                break
    assert http.in_flight == 0


async def test_cancelling_a_save_leaves_nothing(server: FileServer, wiro: AsyncWiro, tmp_path: Path) -> None:
    """No temporary file, no connection."""
    reached = asyncio.Event()

    def stall(server: FileServer, request: Headers) -> Reply:
        reached.set()
        return Reply(200, {"Content-Length": SIZE + 1}, server.data)

    server.tricks = [stall]
    saving = asyncio.create_task(wiro.download(server.url, tmp_path / "fox.bin"))
    await reached.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert is_clean(tmp_path)
    assert wiro.statistics().requests == 0


async def test_the_name_of_a_url(server: FileServer, wiro: AsyncWiro, downloader: Downloader, tmp_path: Path) -> None:
    """A file is named after the last part of the path, made safe, with a number if the name exists."""
    place = server.url.removesuffix("fox.bin")
    assert (await wiro.download(server.url, tmp_path)).name == "fox.bin"
    assert (await wiro.download(server.url, tmp_path)).name == "fox-2.bin"
    assert (await wiro.download(server.url, tmp_path, overwrite=True)).name == "fox.bin"
    assert (await wiro.download(f"{place}..%2F..%2Fb%C3%A4r.png?x=1", tmp_path)).name == "_.._bär.png"
    assert (await wiro.download(place, tmp_path)).name == "output"
    assert (await wiro.download(output(downloader, server.url, SIZE), tmp_path / "new" / "x")).read_bytes() == DATA


@pytest.mark.parametrize(
    "url", ["", "fox.bin", "ftp://x/y", "http://", "http://x:99999/", "http://[", "http://x:0/", "http://[::1]x/y"]
)
async def test_invalid_urls(wiro: AsyncWiro, tmp_path: Path, url: str) -> None:
    """They raise an error that names the URL."""
    with pytest.raises(DownloadError, match="cannot be fetched"):
        await wiro.download(url, tmp_path / "x")


async def test_settings_that_cannot_work(
    server: FileServer, wiro: AsyncWiro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt fails, and the error names the remedy."""
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(
        DownloadError, match=r"fox\.bin cannot be fetched: http_proxy asks for a proxy of the kind socks5"
    ):
        await wiro.download(server.url, tmp_path / "x")
    assert is_clean(tmp_path)
