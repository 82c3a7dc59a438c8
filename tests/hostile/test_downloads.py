"""A download is the whole file, or an error: whatever a server says about parts."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import attrs
import pytest
import pytest_asyncio

from wiro_async import AsyncWiro, DownloadError, Tuning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.hostile.conftest import Peer, RawWiro

SIZE, CUT = 200_000, 100_000
FILE = random.Random(7).randbytes(SIZE)
NEWER = random.Random(8).randbytes(SIZE)
OLD, NOW = "Mon, 01 Jun 2026 10:00:00 GMT", "Mon, 01 Jun 2026 12:00:00 GMT"
ETAG = 'ETag: "v1"'
REST = f"Content-Range: bytes {CUT}-{SIZE - 1}/{SIZE}"
QUICK = Tuning(
    download_pause=0.001, download_max_pause=0.002, download_lag=0.2, socket_close=0.02, poll_first=0.02, poll_min=0.02
)

Fetch: TypeAlias = Callable[[AsyncWiro, str, Path], Awaitable[bytes]]


@attrs.frozen
class Answer:
    """One response.

    Attributes:
        body: what is sent. Less than `length` ends the connection.
        length: the Content-Length; None for a chunked body.
    """

    status: int
    body: bytes
    headers: tuple[str, ...] = ()
    length: int | None = -1

    async def send(self, peer: Peer) -> None:
        length = len(self.body) if self.length == -1 else self.length
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        lines = [f"HTTP/1.1 {self.status} Reason", framing, *self.headers, "", ""]
        await peer.send("\r\n".join(lines).encode("latin-1"))
        if length is None:
            await peer.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(self.body), self.body))
        else:
            await peer.send(self.body)
        if length is not None and length > len(self.body):
            raise ConnectionResetError


FIRST = Answer(200, FILE[:CUT], (ETAG, f"Last-Modified: {OLD}", f"Date: {NOW}"), SIZE)
WHOLE = Answer(200, FILE, (ETAG,))


async def read(wiro: AsyncWiro, url: str, folder: Path) -> bytes:
    """Read it whole."""
    return await (await wiro.run("owner/model", {"prompt": "x"})).output.read()


async def stream(wiro: AsyncWiro, url: str, folder: Path) -> bytes:
    """Read it as it comes."""
    async with (await wiro.run("owner/model", {"prompt": "x"})).output.stream() as chunks:
        return b"".join([chunk async for chunk in chunks])


async def save(wiro: AsyncWiro, url: str, folder: Path) -> bytes:
    """Save it."""
    return (await (await wiro.run("owner/model", {"prompt": "x"})).output.save(folder)).read_bytes()


async def download(wiro: AsyncWiro, url: str, folder: Path) -> bytes:
    """Save a URL."""
    return (await wiro.download(url, folder / "x")).read_bytes()


async def save_to(wiro: AsyncWiro, url: str, folder: Path) -> bytes:
    """Save it with a batch."""
    async with wiro.batch("owner/model", [{"prompt": "x"}], save_to=folder) as batch:
        async for item in batch:
            if item.save_error is not None:
                raise item.save_error
            return item.saved[0].read_bytes()
    raise AssertionError


FETCHES: list[Fetch] = [read, stream, save, download, save_to]


@pytest_asyncio.fixture
async def wiro(raw: RawWiro) -> AsyncIterator[AsyncWiro]:
    """A session that retries quickly."""
    async with AsyncWiro(**raw.options(), updates="polling", tuning=QUICK) as wiro:
        yield wiro


def serve(raw: RawWiro, *answers: Answer, size: str = "") -> str:
    """Give these answers to the requests for a file; the last one again and again. Return its URL."""
    rest = list(answers)

    async def route(peer: Peer) -> None:
        await (rest.pop(0) if len(rest) > 1 else rest[0]).send(peer)

    url = f"http://127.0.0.1:{raw.port}/files/x.bin"
    raw.routes["files/x.bin"] = route

    async def run(peer: Peer) -> None:
        task = raw.make_task("owner/model", {}, outputs=[{"name": "x.bin", "url": url, "size": size}])
        ids = {"taskid": task["id"], "socketaccesstoken": task["socketaccesstoken"]}
        await peer.respond_json({"result": True, **ids})

    raw.routes["Run"] = run
    return url


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return [path.name for path in folder.glob("*")]


REST_ANSWERS = {
    "200, same ETag, the rest's length and range": Answer(200, FILE[CUT:], (ETAG, REST)),
    "200, same ETag, the rest's length": Answer(200, FILE[CUT:], (ETAG,)),
    "200, no ETag, the rest's length": Answer(200, FILE[CUT:]),
    "200, weak ETag, the rest's length": Answer(200, FILE[CUT:], ('ETag: W/"v1"',)),
    "200, same ETag, the rest, chunked": Answer(200, FILE[CUT:], (ETAG, REST), None),
    "200, chunked, the rest without a word": Answer(200, FILE[CUT:], (), None),
    "206 without Content-Range": Answer(206, FILE[CUT:], (ETAG,)),
    "206 of another file": Answer(206, NEWER[CUT:], ('ETag: "v2"', REST)),
    "206 without a validator": Answer(206, NEWER[CUT:], (REST,)),
    "206 with a weak validator": Answer(206, NEWER[CUT:], ('ETag: W/"v1"', REST)),
    "206, shifted": Answer(206, FILE[CUT + 1 :], (ETAG, f"Content-Range: bytes {CUT + 1}-{SIZE - 1}/{SIZE}")),
    "206, from the start": Answer(206, FILE, (ETAG, f"Content-Range: bytes 0-{SIZE - 1}/{SIZE}")),
    "206, other total": Answer(206, FILE[CUT:] + b"xx", (ETAG, f"Content-Range: bytes {CUT}-{SIZE + 1}/{SIZE + 2}")),
    "206, smaller total": Answer(206, FILE[CUT : CUT + 9], (ETAG, f"Content-Range: bytes {CUT}-{CUT + 8}/{CUT + 9}")),
    "206, another length than its range": Answer(206, FILE[CUT:-1], (ETAG, REST)),
    "206, chunked, less than its range": Answer(206, FILE[CUT:-1], (ETAG, REST), None),
    "206, chunked, more than its range": Answer(
        206, FILE[CUT : CUT + 9] + b"x" * 50, (ETAG, f"Content-Range: bytes {CUT}-{CUT + 8}/{SIZE}"), None
    ),
    "206, several parts": Answer(206, FILE[CUT:], (ETAG, REST, "Content-Type: multipart/byteranges; boundary=x")),
    "206, encoded": Answer(206, FILE[CUT:], (ETAG, REST, "Content-Encoding: br")),
    "206, two ranges": Answer(206, FILE[CUT:], (ETAG, REST, "Content-Range: bytes 0-9/10")),
    "206, no unit": Answer(206, FILE[CUT:], (ETAG, f"Content-Range: {CUT}-{SIZE - 1}/{SIZE}")),
    "206, newer": Answer(206, NEWER[CUT:], (ETAG, REST, f"Last-Modified: {NOW}")),
    "416": Answer(416, b"", (f"Content-Range: bytes */{SIZE}",)),
    "304": Answer(304, b"", (ETAG,)),
    "503, then the whole": Answer(503, b"busy"),
    "hangs up": Answer(200, b"", (ETAG,), SIZE),
}


@pytest.mark.parametrize("fetch", FETCHES)
@pytest.mark.parametrize("answer", REST_ANSWERS.values(), ids=REST_ANSWERS)
async def test_an_answer_to_range(raw: RawWiro, wiro: AsyncWiro, tmp_path: Path, answer: Answer, fetch: Fetch) -> None:
    """Whatever it is, the file is whole, as the server has it in the end."""
    url = serve(raw, FIRST, answer, WHOLE)
    if fetch is stream and answer is REST_ANSWERS["206, chunked, more than its range"]:
        with pytest.raises(DownloadError):  # a stream cannot take back what it gave
            await fetch(wiro, url, tmp_path)
    else:
        assert await fetch(wiro, url, tmp_path) == FILE


@pytest.mark.parametrize("fetch", [stream, save])
@pytest.mark.parametrize("size", ["", "0", str(SIZE)], ids=["no size", "size 0", "size"])
@pytest.mark.parametrize("answer", REST_ANSWERS.values(), ids=REST_ANSWERS)
async def test_nothing_else_comes(
    raw: RawWiro, wiro: AsyncWiro, tmp_path: Path, answer: Answer, size: str, fetch: Fetch
) -> None:
    """The file is whole, or there is an error and no file."""
    url = serve(raw, FIRST, answer, size=size)
    folder = tmp_path / "outputs"
    try:
        data = await fetch(wiro, url, folder)
    except DownloadError:
        assert names(folder) == []
    else:
        assert data == FILE


@pytest.mark.parametrize("fetch", [read, stream, save, save_to])
@pytest.mark.parametrize("body", [FILE[:CUT], FILE + b"x", b""], ids=["half", "more", "nothing"])
@pytest.mark.parametrize("length", [-1, None], ids=["length", "chunked"])
async def test_the_size_of_the_record(
    raw: RawWiro, wiro: AsyncWiro, tmp_path: Path, body: bytes, length: int | None, fetch: Fetch
) -> None:
    """A body that is complete by its server, but not by the service, is an error."""
    url = serve(raw, Answer(200, body, (), length), size=str(SIZE))
    with pytest.raises(DownloadError, match=r"200000 bytes|broke off"):
        await fetch(wiro, url, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("fetch", FETCHES)
async def test_a_resumed_download(raw: RawWiro, wiro: AsyncWiro, tmp_path: Path, fetch: Fetch) -> None:
    """The server sends the rest in two parts; nothing is sent twice."""
    middle = CUT + 50_000
    url = serve(
        raw,
        FIRST,
        Answer(206, FILE[CUT:middle], (ETAG, f"Content-Range: bytes {CUT}-{middle - 1}/{SIZE}")),
        Answer(206, FILE[middle:], (ETAG, f"Content-Range: bytes {middle}-{SIZE - 1}/{SIZE}"), None),
    )
    assert await fetch(wiro, url, tmp_path) == FILE
    assert raw.requests.count("files/x.bin") == 3
