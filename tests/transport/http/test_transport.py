"""Calls: what is sent, what is returned, and that nothing is sent twice."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import respx

from wiro_async._errors import ConfigurationError, ConnectionFailedError, SessionClosedError
from wiro_async._transport.http import HttpTransport
from wiro_async._transport.network.tls import Tls
from wiro_async._tuning import Tuning

if TYPE_CHECKING:
    from tests.conftest import Until
    from tests.transport.conftest import Conversation, Serve


async def echo(peer: Conversation) -> None:
    """Answer every request."""
    while True:
        await peer.request()
        await peer.answer(b'{"result":true}', "X-Echo: yes\r\nSet-Cookie: a=b\r\n")


async def test_a_call(http: HttpTransport, serve: Serve) -> None:
    """Path, headers and body are sent unchanged. The names of response headers match in any case."""
    server = await serve(echo)
    answer = await http.post(
        f"{server.url}/v1/Run/Own%20er/a%2Fb%3F", {"User-Agent": "us", "x-api-key": "k"}, b'{"a":1}', 5.0
    )
    assert (answer.status, answer.body) == (200, b'{"result":true}')
    assert answer.headers.get("x-echo") == answer.headers.get("X-Echo") == "yes"
    (peer,) = server.conversations
    assert peer.bodies == [b'{"a":1}']
    head = peer.heads[0].lower()
    assert head.startswith("post /v1/run/own%20er/a%2fb%3f http/1.1\r\n")
    assert head.count("user-agent: us\r\n") == head.count("user-agent:") == 1
    assert head.count("content-length: 7\r\n") == 1
    assert "x-api-key: k\r\n" in head


async def test_calls_share_connections_and_keep_no_cookies(http: HttpTransport, serve: Serve) -> None:
    """Two calls in a row use one connection, and the second sends no cookies of the first."""
    server = await serve(echo)
    for _ in range(3):
        await http.post(server.url + "/", {}, b"{}", 5.0)
    (peer,) = server.conversations
    assert len(peer.heads) == 3
    assert not any("cookie" in head.lower() for head in peer.heads)


async def test_first_calls_at_the_same_time(built_in: HttpTransport, serve: Serve) -> None:
    """They share one pool, which is opened once."""
    server = await serve(echo)
    await asyncio.gather(*(built_in.post(server.url + "/", {}, b"{}", 5.0) for _ in range(5)))
    await asyncio.gather(*(built_in.post(server.url + "/", {}, b"{}", 5.0) for _ in range(5)))
    assert len(server.conversations) == 5


async def test_passwords_of_netrc_are_not_sent(
    http: HttpTransport, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A .netrc file is for other programs, and output files are on unknown hosts."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    server = await serve(echo)
    await http.post(server.url + "/", {}, b"{}", 5.0)
    async with http.get(server.url + "/", {}, 5.0):
        pass
    assert not any("authorization" in head.lower() for peer in server.conversations for head in peer.heads)


async def test_redirects_are_responses(http: HttpTransport, serve: Serve) -> None:
    """A key must not follow a redirect to another host."""

    async def redirect(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"", "Location: /elsewhere\r\n", "307 Temporary Redirect")
        await peer.gone()

    server = await serve(redirect)
    answer = await http.post(server.url + "/", {}, b"{}", 5.0)
    assert (answer.status, answer.headers["location"]) == (307, "/elsewhere")
    assert [len(peer.heads) for peer in server.conversations] == [1]


async def test_long_bodies(http: HttpTransport, serve: Serve) -> None:
    """They are sent complete, with their length, and without a warning."""
    server = await serve(echo)
    body = bytes(range(256)) * 8192
    await http.post(server.url + "/", {"Content-Type": "application/json"}, body, 5.0)
    (peer,) = server.conversations
    assert peer.bodies == [body]
    assert f"content-length: {len(body)}\r\n" in peer.heads[0].lower()
    assert peer.heads[0].lower().count("content-type: application/json\r\n") == 1


@pytest.mark.parametrize("length", [None, 6])
async def test_streamed_bodies(http: HttpTransport, serve: Serve, length: int | None) -> None:
    """They are sent piece by piece, with their length if it is known, or chunked."""

    async def pieces() -> object:
        for piece in (b"ab", b"cd", b"ef"):
            yield piece

    server = await serve(echo)
    headers = {} if length is None else {"Content-Length": str(length)}
    await http.post(server.url + "/", headers, pieces(), 5.0)  # type: ignore[arg-type]
    (peer,) = server.conversations
    assert peer.bodies == [b"abcdef"]
    head = peer.heads[0].lower()
    assert ("content-length: 6" in head, "transfer-encoding: chunked" in head) == (length == 6, length is None)


async def test_content_coding_is_decoded(http: HttpTransport, serve: Serve) -> None:
    """Of responses and of downloads."""

    async def zipped(peer: Conversation) -> None:
        while True:
            await peer.request()
            await peer.answer(gzip.compress(b'{"result":true}'), "Content-Encoding: gzip\r\n")

    server = await serve(zipped)
    assert (await http.post(server.url + "/", {}, b"{}", 5.0)).body == b'{"result":true}'
    async with http.get(server.url + "/", {}, 5.0) as download:
        assert b"".join([chunk async for chunk in download.chunks]) == b'{"result":true}'


async def test_an_invalid_content_coding(http: HttpTransport, serve: Serve) -> None:
    """The response was lost, and the call may have had its effect."""

    async def broken(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"not gzip at all", "Content-Encoding: gzip\r\n")
        await peer.gone()

    server = await serve(broken)
    with pytest.raises(ConnectionFailedError) as caught:
        await http.post(server.url + "/", {}, b"{}", 5.0)
    assert caught.value.sent


@pytest.mark.parametrize(
    "url", ["nonsense", "http://", "ftp://127.0.0.1/a", "http://[::1/a", "http://127.0.0.1:x/SECRETKEY"]
)
async def test_invalid_urls(http: HttpTransport, url: str) -> None:
    """A mistake in the settings or in a response of the service, not a failure of the network."""
    with pytest.raises(ConfigurationError) as caught:
        await http.post(url, {}, b"{}", 5.0)
    assert "SECRETKEY" not in str(caught.value)
    with pytest.raises(ConfigurationError):
        async with http.get(url, {}, 5.0):
            pass


async def test_invalid_headers(built_in: HttpTransport, serve: Serve) -> None:
    """It is refused before anything is sent."""
    server = await serve(echo)
    with pytest.raises(ConfigurationError):
        await built_in.post(server.url + "/", {"X-Odd": "a\r\nX-Evil: b"}, b"{}", 5.0)
    assert not any(peer.heads for peer in server.conversations)


async def test_only_so_many_at_a_time(tls: Tls, serve: Serve, until: Until) -> None:
    """The other calls wait, and their timeouts do not run meanwhile."""
    http, now, most = HttpTransport(tls, Tuning(http_calls=2)), 0, 0

    async def slow(peer: Conversation) -> None:
        nonlocal now, most
        while True:
            await peer.request()
            now, most = now + 1, max(most, now + 1)
            await asyncio.sleep(0.06)
            now -= 1
            await peer.answer()

    server = await serve(slow)
    calls = [asyncio.create_task(http.post(server.url + "/", {}, b"{}", 0.15)) for _ in range(8)]
    await until(lambda: most == 2)
    assert http.in_flight == 2
    await asyncio.gather(*calls)
    assert (most, http.in_flight, len(server.conversations)) == (2, 0, 2)
    await http.aclose()


async def test_closing(tls: Tls) -> None:
    """Permanently and once, whether it was used or not. A user's transport is closed too."""
    closed: list[bool] = []

    class Own(httpx.MockTransport):
        async def aclose(self) -> None:
            closed.append(True)

    for http in (HttpTransport(tls, Tuning()), HttpTransport(tls, Tuning(), Own(lambda request: httpx.Response(200)))):
        await http.aclose()
        await http.aclose()
        with pytest.raises(SessionClosedError):
            await http.post("http://127.0.0.1:1/", {}, b"{}", 5.0)
        assert http.in_flight == 0
    assert closed == [True]


async def test_mocked_transports(tls: Tls) -> None:
    """Users test with them. They see the request that would be sent."""
    with respx.mock(assert_all_called=True, using=None) as router:
        route = router.post("https://api.test/v1/Run/a/b").respond(json={"result": True})
        router.get("https://cdn.test/x").mock(return_value=httpx.Response(200, content=b"x"))
        http = HttpTransport(tls, Tuning(), httpx.MockTransport(router.async_handler))
        answer = await http.post("https://api.test/v1/Run/a/b", {"x-api-key": "k"}, b'{"a":1}', 5.0)
        assert answer.body == b'{"result":true}'
        assert route.calls.last.request.content == b'{"a":1}'
        assert route.calls.last.request.headers["x-api-key"] == "k"
        async with http.get("https://cdn.test/x", {}, 5.0) as download:
            assert [chunk async for chunk in download.chunks] == [b"x"]
        assert router.calls.last.request.headers["accept-encoding"] == "identity"
        await http.aclose()
