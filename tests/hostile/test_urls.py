"""URLs are left alone: every byte that HTTP can carry goes out as it was given."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wiro_async import AsyncWiro, DownloadError, RetryPolicy, Tuning
from wiro_async._protocol.http.wire_urls import location_of, target_of, wire_url, with_query
from wiro_async._protocol.submission.intent import intent_of, with_intent
from wiro_async._transport.network.addresses import is_public

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hostile.conftest import Peer, RawWiro

QUICK = Tuning(download_pause=0.001, download_max_pause=0.002, socket_close=0.02, socket_open=0.3, realtime_connects=1)
TARGETS = {
    "/v1/ü-a%40b%20c.png?sig=a%2Fb%3D": "/v1/%C3%BC-a%40b%20c.png?sig=a%2Fb%3D",
    "/v1/a b.png": "/v1/a%20b.png",
    "/v1/%c3%bc%2f%2F.png?x=%3d&y=%3D": "/v1/%c3%bc%2f%2F.png?x=%3d&y=%3D",
    "/v1/100%.png?x=%zz&y=%": "/v1/100%.png?x=%zz&y=%",
    "/v1//a/./b/../c.png": "/v1//a/./b/../c.png",
    "/v1/a.png?x=1&&y=&z&x=2": "/v1/a.png?x=1&&y=&z&x=2",
    "/v1/a.png?": "/v1/a.png?",
    "/v1/a+b;c=1,(d)!$&'*:@~.png?q=a+b/?:@!$'()*,;[]": "/v1/a+b;c=1,(d)!$&'*:@~.png?q=a+b/?:@!$'()*,;[]",
    '/v1/{a}|b^`\\"<c>.png?q={a}|b^`\\"<c>': '/v1/{a}|b^`\\"<c>.png?q={a}|b^`\\"<c>',
    "/v1/a.png?sig=\u00e9%2B#part": "/v1/a.png?sig=%C3%A9%2B",
    "/v1/\U0001f98a.png": "/v1/%F0%9F%A6%8A.png",
}


@pytest.fixture
def paths(raw: RawWiro) -> list[str]:
    """What every request asks for; all of them get a file."""
    seen: list[str] = []

    async def answer(peer: Peer) -> None:
        seen.append(peer.path)
        await peer.respond(b"data")

    raw.routes = _Everything(answer)
    return seen


class _Everything(dict[str, Any]):
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def get(self, key: str, default: Any = None) -> Any:
        return self.answer


@pytest.mark.parametrize("given, sent", TARGETS.items(), ids=str)
async def test_a_download(raw: RawWiro, paths: list[str], tmp_path: Path, given: str, sent: str) -> None:
    """Its request line."""
    async with AsyncWiro(**raw.options(), tuning=QUICK) as wiro:
        await wiro.download(f"http://127.0.0.1:{raw.port}{given}", tmp_path / "x")
    assert paths == [sent]


@pytest.mark.parametrize("given, sent", TARGETS.items(), ids=str)
@pytest.mark.parametrize("is_complete", [True, False])
async def test_a_redirect(raw: RawWiro, tmp_path: Path, given: str, sent: str, is_complete: bool) -> None:
    """To a complete URL, or to a path; its bytes may be outside of ASCII."""
    paths: list[str] = []

    async def answer(peer: Peer) -> None:
        paths.append(peer.path)
        if len(paths) == 1:
            location = f"http://127.0.0.1:{raw.port}{given}" if is_complete else given
            head = f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nX-Other: \xff\r\nLocation: {location}\r\n\r\n"
            await peer.send(head.replace("\xff", "").encode())
        else:
            await peer.respond(b"data")

    raw.routes = _Everything(answer)
    if given.startswith("/v1//") and not is_complete:
        sent = given
    async with AsyncWiro(**raw.options(), tuning=QUICK) as wiro:
        await wiro.download(f"http://127.0.0.1:{raw.port}/first", tmp_path / "x")
    assert paths == ["/first", sent]


async def test_a_redirect_in_latin_1(raw: RawWiro, tmp_path: Path) -> None:
    """Its bytes are quoted one by one."""
    paths: list[str] = []

    async def answer(peer: Peer) -> None:
        paths.append(peer.path)
        if len(paths) == 1:
            await peer.send(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /\xfc%40.png\r\n\r\n")
        else:
            await peer.respond(b"data")

    raw.routes = _Everything(answer)
    async with AsyncWiro(**raw.options(), tuning=QUICK) as wiro:
        await wiro.download(f"http://127.0.0.1:{raw.port}/first", tmp_path / "x")
    assert paths == ["/first", "/%FC%40.png"]


@pytest.mark.parametrize("base", ["/t\u00e9am%2Fa/v1", "/a%40b/v1", "/a/../v1", "/a//v1"])
async def test_a_base_url(raw: RawWiro, paths: list[str], base: str) -> None:
    """The path of a proxy, for HTTP and for the socket."""
    host = f"127.0.0.1:{raw.port}"
    async with AsyncWiro(
        "key-of-the-tests",
        base_url=f"http://{host}{base}",
        socket_url=f"ws://{host}{base}",
        retry=RetryPolicy(attempts=1),
        tuning=QUICK,
    ) as wiro:
        with pytest.raises(Exception, match=r"."):
            await wiro.tasks.get("1")
        with pytest.raises(Exception, match=r"."):
            async with wiro.realtime("owner/model", {}):
                pass
    quoted = base.replace("\u00e9", "%C3%A9")
    assert f"{quoted}/Task/Detail" in paths
    assert quoted in paths


@pytest.mark.parametrize(
    "query",
    ["sig=a%2Fb%3D", "a=1&&b", "a=%20+%2B&a=2", "", "?", "x=%zz", "sig=\u00fc", "a=1;b=2", "a=b=c", "a&", "/?:@"],
)
def test_a_callback_url(query: str) -> None:
    """The id is added behind its query, which stays as it is."""
    for url in (f"https://back.test/p%40th/{query and '?'}{query}", f"https://back.test?{query}"):
        full = with_intent(url, "abc")
        assert full.startswith(url)
        assert intent_of(full) == "abc"
    assert with_query("https://a.test/x#part", "y=1") == "https://a.test/x?y=1#part"


def test_urls_of_runs_are_sent_as_they_are() -> None:
    """A URL among the inputs is text."""
    from wiro_async._protocol.http.requests import RunInput

    url = "https://a.test/\u00fc%40 b.png?sig=%2F"
    assert RunInput.parse({"inputImage": url}).values == {"inputImage": url}


@pytest.mark.parametrize("url", TARGETS)
def test_quoting_is_idempotent(url: str) -> None:
    """What was quoted once is not quoted again."""
    once = wire_url(f"https://a.test{url}")
    assert wire_url(once) == once
    assert target_of(once) == target_of(f"https://a.test{url}")


@pytest.mark.parametrize(
    "location, target",
    [
        ("https://b.test/%40", "https://b.test/%40"),
        ("//b.test/%40", "https://b.test/%40"),
        ("/%40?x=%2F", "https://a.test:8/%40?x=%2F"),
        ("c%40.png", "https://a.test:8/x/c%40.png"),
        ("?y=%2F", "https://a.test:8/x/y?y=%2F"),
        ("../c", "https://a.test:8/c"),
    ],
)
def test_where_a_redirect_leads(location: str, target: str) -> None:
    """Complete, or relative."""
    assert location_of("https://a.test:8/x/y?q", location) == target


PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "017700000001",
    "0.0.0.0",
    "localhost",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.0.1",
    "255.255.255.255",
    "224.0.0.1",
    "[fe80::1]",
    "[fc00::1]",
    "[fec0::1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[::127.0.0.1]",
]


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
async def test_private_hosts_are_refused(raw: RawWiro, paths: list[str], tmp_path: Path, host: str) -> None:
    """Where the session, or the call, does not allow them; at once, and for good."""
    url = f"http://{host}:{raw.port}/x.png"
    async with AsyncWiro(**raw.options(), allow_private=False, tuning=QUICK) as wiro:
        with pytest.raises(DownloadError, match=r"private|cannot be fetched"):
            await wiro.download(url, tmp_path / "x")
        with pytest.raises(DownloadError, match=r"private|cannot be fetched"):
            await wiro.with_options(allow_private=True).download(url, tmp_path / "x", allow_private=False)
    async with AsyncWiro(**raw.options(), transport=httpx.AsyncHTTPTransport(), allow_private=False) as wiro:
        with pytest.raises(DownloadError, match=r"private|cannot be fetched"):
            await wiro.download(url, tmp_path / "x")
    assert paths == []


async def test_private_hosts_are_allowed(raw: RawWiro, paths: list[str], tmp_path: Path) -> None:
    """By default: the emulator and mirrors of companies are private."""
    url = f"http://127.0.0.1:{raw.port}/x.png"
    async with AsyncWiro(**raw.options(), tuning=QUICK) as wiro:
        await wiro.download(url, tmp_path / "x")
        await wiro.with_options(allow_private=False).download(url, tmp_path / "x", allow_private=True)
        with pytest.raises(DownloadError):
            await wiro.download(url, tmp_path / "x", allow_private=False)
    assert len(paths) == 2


async def test_outputs_on_private_hosts(raw: RawWiro, tmp_path: Path) -> None:
    """Every way to fetch an output of a run; the calls to the API are not affected."""
    async with AsyncWiro(**raw.options(), allow_private=False, updates="polling", tuning=QUICK) as wiro:
        output = (await wiro.run("owner/model", {"prompt": "x"})).output
        for act in (output.read(), output.save(tmp_path / "x"), wiro.download(output, tmp_path / "x")):
            with pytest.raises(DownloadError, match="private"):
                await act
        with pytest.raises(DownloadError, match="private"):
            async with output.stream():
                pass
        await wiro.download(output, tmp_path / "x", allow_private=True)


async def test_a_redirect_to_a_private_host(raw: RawWiro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up anew: here it is public first, and private after the redirect."""
    from wiro_async._transport.network import happy_eyeballs

    async def answer(peer: Peer) -> None:
        await peer.respond(b"", f"Location: http://169.254.169.254:{raw.port}/x", status="302 Found")

    raw.routes = _Everything(answer)
    monkeypatch.setattr(happy_eyeballs, "public_only_of", _first_is_public())
    async with AsyncWiro(**raw.options(), allow_private=False, tuning=QUICK) as wiro:
        with pytest.raises(DownloadError, match="private"):
            await wiro.download(f"http://127.0.0.1:{raw.port}/x", tmp_path / "x")


def _first_is_public() -> Any:
    from wiro_async._transport.network.addresses import public_only_of

    asked: list[object] = []

    def choose(found: Any) -> Any:
        asked.append(found)
        return found if len(asked) == 1 else public_only_of(found)

    return choose


async def test_a_name_that_changes_its_address(
    raw: RawWiro, paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that is connected to is the one that was checked."""
    loop, found = asyncio.get_running_loop(), iter(["93.184.216.34", "127.0.0.1"])

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(found), port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    connected: list[Any] = []

    async def sock_connect(sock: socket.socket, address: Any) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    async with AsyncWiro(**raw.options(), allow_private=False, tuning=QUICK) as wiro:
        with pytest.raises(DownloadError, match="private"):
            await wiro.download(f"http://rebinding.test:{raw.port}/x", tmp_path / "x")
    assert connected == ["93.184.216.34"]


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_public_addresses(address: str) -> None:
    """They are not refused."""
    assert is_public(address)
