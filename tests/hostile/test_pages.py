"""A page of a proxy, a firewall or a login is not the service: what it proves of a run, and what is said of it."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from wiro_async import (
    AsyncWiro,
    ConnectionFailedError,
    DecodingError,
    DownloadError,
    RetryPolicy,
    SubmissionUnknownError,
    Timeouts,
    Tuning,
    WiroError,
)

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

Route = Callable[["Peer"], Awaitable[None]]
HTML = "Content-Type: text/html; charset=utf-8"
QUICK = Tuning(search_grace=0.3, search_pause=0.05)
ONCE = RetryPolicy(attempts=1)


def page(status: str, title: str = "Access &amp; Denied", *headers: str) -> Route:
    """A route that answers with a page."""

    async def respond(peer: Peer) -> None:
        body = f"<!DOCTYPE html><html><head><title>{title}\n</title><script>x</script></head><body>No.</body></html>"
        await peer.respond(body.encode(), HTML, *headers, status=status)

    return respond


def everywhere(raw: RawWiro, route: Route) -> None:
    """Something stands before the whole service."""
    names = ("Run", "Task/List", "Task/Detail", "Task/Kill", "Task/Cancel", "File/Upload", "socket", "Tool/Detail")
    raw.routes |= dict.fromkeys(names, route)


def options(raw: RawWiro, **changes: Any) -> dict[str, Any]:
    """A session that searches for a moment only."""
    return {**raw.options(), "tuning": QUICK, "retry": ONCE, "updates": "polling", **changes}


REFUSALS = [
    ("403 Forbidden", (), "A proxy or firewall refused it"),
    ("407 Proxy Authentication Required", (), "wants a login: put name:password@ before its host"),
    ("411 Length Required", (), "takes no body of unknown length"),
    ("413 Content Too Large", (), "takes no body of this size"),
    ("414 URI Too Long", (), "Check base_url"),
    ("401 Unauthorized", (), "Check base_url"),
    ("404 Not Found", (), "Check base_url"),
    ("405 Not Allowed", (), "Check base_url"),
    ("451 Unavailable For Legal Reasons", (), "Check base_url"),
    ("511 Network Authentication Required", (), "wants a login first"),
    ("302 Found", ("Location: https://login.example/?back=s3cretvalue",), "It leads to login.example"),
    ("303 See Other", ("Location: //login.example/x",), "It leads to login.example"),
    ("307 Temporary Redirect", ("Location: /login",), "It leads elsewhere"),
    ("301 Moved Permanently", ("Location: https://127.0.0.1/v1/Run",), "It leads to 127.0.0.1"),
    ("308 Permanent Redirect", ("Location: http://[",), "wants a login first"),
]


@pytest.mark.parametrize("status, headers, remedy", REFUSALS)
@pytest.mark.parametrize("updates", ["polling", "sse"])
async def test_a_refusal_before_the_service(
    raw: RawWiro, status: str, headers: tuple[str, ...], remedy: str, updates: str
) -> None:
    """It is reported at once, with its remedy, and no task is searched for."""
    everywhere(raw, page(status, "Access &amp; Denied", *headers))
    async with AsyncWiro(**options(raw, updates=updates, tuning=Tuning())) as wiro, asyncio.timeout(2):
        with pytest.raises(DecodingError) as caught:
            await wiro.run("owner/model", {"prompt": "x"})
    error, text = caught.value, str(caught.value)
    assert error.refused
    assert text.startswith(f"HTTP {status[:3]} came with an HTML page ('Access & Denied')")
    assert "nothing was run" in text
    assert remedy in text
    assert "s3cretvalue" not in text
    assert error.model == "owner/model"
    assert raw.requests == ["Run"]
    copied = pickle.loads(pickle.dumps(error))
    assert (str(copied), copied.refused, copied.http_status) == (text, True, int(status[:3]))


async def test_a_refusal_of_an_upload(raw: RawWiro, tmp_path: Path) -> None:
    """A file with a run, and a file alone. The proxy answers before it has read the whole body."""
    everywhere(raw, page("413 Content Too Large"))
    (tmp_path / "a.png").write_bytes(bytes(3_000_000))
    async with AsyncWiro(**options(raw)) as wiro, asyncio.timeout(4):
        with pytest.raises(DecodingError, match=r"HTTP 413 .* nothing was run.*smaller files"):
            await wiro.run("owner/model", {"image": tmp_path / "a.png"})
        with pytest.raises(DecodingError, match=r"HTTP 413 .*smaller files"):
            await wiro.files.upload(tmp_path / "a.png")
    assert "Task/List" not in raw.requests


@pytest.mark.parametrize(
    "status, headers, title",
    [
        ("200 OK", (), "Log in"),
        ("502 Bad Gateway", (), "502 Bad Gateway"),
        ("503 Service Unavailable", ("cf-mitigated: challenge",), "Just a moment..."),
        ("504 Gateway Time-out", (), "504 Gateway Time-out"),
        ("302 Found", ("Location: /tasks/1",), "Found"),
        ("303 See Other", ("Location: /tasks/1",), "See Other"),
        ("304 Not Modified", (), ""),
    ],
)
@pytest.mark.parametrize("reads", ["the list too", "not the list"])
async def test_pages_that_prove_nothing(
    raw: RawWiro, status: str, headers: tuple[str, ...], title: str, reads: str
) -> None:
    """The task is searched for. Where the list could not be read either, the error says so, and why."""
    everywhere(raw, page(status, title, *headers))
    if reads == "not the list":
        del raw.routes["Task/List"]
    async with AsyncWiro(**options(raw)) as wiro, asyncio.timeout(5):
        with pytest.raises(SubmissionUnknownError) as caught:
            await wiro.run("owner/model", {"prompt": "x"})
    text = str(caught.value)
    assert "Task/List" in raw.requests
    assert raw.requests.count("Run") == 1
    assert f"HTTP {status[:3]} came with" in text
    assert ("no task of it was found" in text) == (reads == "not the list")
    assert (f"the list of tasks could not be read either (HTTP {status[:3]} came with" in text) == (
        reads == "the list too"
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == text


async def test_a_task_behind_a_page_is_found(raw: RawWiro) -> None:
    """The gateway lost the response, not the run."""

    async def lose(peer: Peer) -> None:
        raw.take_run("owner/model", peer.sent)
        raw.rows["1000"]["createtime"] = str(int(time.time()))
        raw.rows["1000"]["starttime"] = raw.rows["1000"]["endtime"] = str(int(time.time()))
        await page("504 Gateway Time-out")(peer)

    raw.routes["Run"] = lose
    async with AsyncWiro(**options(raw)) as wiro, asyncio.timeout(5):
        assert (await wiro.run("owner/model", {"prompt": "x"})).succeeded
    assert len(raw.runs) == 1


async def test_the_list_is_behind_a_firewall(raw: RawWiro) -> None:
    """The response to the run was lost, and only the list is refused: the error names both."""

    async def hang_up(peer: Peer) -> None:
        peer.reset()

    raw.routes |= {"Run": hang_up, "Task/List": page("403 Forbidden", "Blocked by policy")}
    async with AsyncWiro(**options(raw), timeout=Timeouts(request=0.2)) as wiro, asyncio.timeout(5):
        with pytest.raises(SubmissionUnknownError, match=r"could not be read either \(HTTP 403 .*Blocked by policy"):
            await wiro.run("owner/model", {"prompt": "x"})


async def test_a_page_between_two_polls_loses_nothing(raw: RawWiro) -> None:
    """A proxy that is away for some reads."""
    reads = 0

    async def sometimes(peer: Peer) -> None:
        nonlocal reads
        reads += 1
        await (page("403 Forbidden") if reads < 3 else raw.answer)(peer)

    raw.routes["Task/Detail"] = sometimes
    tuning = Tuning(poll_first=0.05, poll_silence=0.05, poll_min=0.05)
    async with AsyncWiro(**options(raw, tuning=tuning)) as wiro, asyncio.timeout(5):
        assert (await wiro.run("owner/model", {"prompt": "x"})).succeeded


@pytest.mark.parametrize("status", ["403 Forbidden", "302 Found", "200 OK"])
async def test_the_handshake_of_a_socket(raw: RawWiro, status: str) -> None:
    """A realtime session says what answered. Nothing was run."""
    raw.routes["socket"] = page(status, "Blocked by policy", "Location: https://login.example/")
    tuning = Tuning(realtime_connect_pause=0.01)
    async with AsyncWiro(**options(raw, tuning=tuning, updates="auto")) as wiro, asyncio.timeout(3):
        with pytest.raises(
            ConnectionFailedError, match=rf"HTTP {status[:3]} with an HTML page \('Blocked by policy'\)"
        ):
            async with wiro.realtime("owner/model", {}):
                pass
    assert not raw.runs


@pytest.mark.parametrize(
    "status, headers, words",
    [
        ("200 OK", (), r"an HTML page \('Log in'\) instead of the file; log in to this network"),
        (
            "302 Found",
            ("Location: http://localhost:{port}/login",),
            r"was redirected to localhost, which answered with an",
        ),
        ("407 Proxy Authentication Required", (), r"answered HTTP 407; the proxy wants a login"),
        ("511 Network Authentication Required", (), r"answered HTTP 511; this network wants a login"),
    ],
)
async def test_a_page_instead_of_a_file(
    raw: RawWiro, status: str, headers: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    """It is not saved as a picture, and the error comes at once."""
    raw.routes["login"] = page("200 OK", "Log in")
    raw.routes["files/1000.png"] = page(status, "Log in", *(header.format(port=raw.port) for header in headers))
    raw.make_task("owner/model", {})["outputs"][0]["size"] = ""
    async with AsyncWiro(**options(raw)) as wiro, asyncio.timeout(3):
        result = await wiro.task(task_id="1000").result()
        with pytest.raises(DownloadError, match=words):
            await result.output.save(tmp_path)
        with pytest.raises(DownloadError, match=words):
            await result.output.read()
    assert not await anyio.Path(tmp_path / "1000.png").exists()


@pytest.mark.parametrize("name", ["page.html", "page", "0.png"])
async def test_files_that_are_pages(raw: RawWiro, name: str, tmp_path: Path) -> None:
    """A page that was asked for, and a picture with an odd header, are downloaded."""

    async def respond(peer: Peer) -> None:
        await peer.respond(b"\x89PNG" if name == "0.png" else b"<html>a page</html>", HTML)

    raw.routes[f"files/{name}"] = respond
    async with AsyncWiro(**options(raw)) as wiro, asyncio.timeout(3):
        assert (await wiro.download(f"http://127.0.0.1:{raw.port}/files/{name}", tmp_path)).read_bytes()


async def test_a_page_that_repeats_secrets(raw: RawWiro) -> None:
    """Neither the key nor a line end gets into the error."""
    everywhere(raw, page("403 Forbidden", "Blocked: key-of-the-tests\r\n\x1b[31m from http://x.test/s3cretpath"))
    async with AsyncWiro(**options(raw)) as wiro:
        with pytest.raises(WiroError) as caught:
            await wiro.run("owner/model", {"prompt": "x"})
    text = str(caught.value)
    assert "Blocked: " in text
    assert not {"\n", "\x1b"} & set(text)
    assert "key-of-the-tests" not in text
    assert "s3cretpath" not in text
