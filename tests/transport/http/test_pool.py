"""The default transport: connections are reused, dropped, and bounded."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest

from wiro_async._errors import ConnectionFailedError, SessionClosedError
from wiro_async._transport.http import HttpTransport
from wiro_async._transport.network.tls import Tls
from wiro_async._tuning import Tuning

if TYPE_CHECKING:
    from tests.transport.conftest import Conversation, Serve


async def echo(peer: Conversation) -> None:
    """Answers everything."""
    while True:
        await peer.request()
        await asyncio.sleep(0.02)
        await peer.answer()


async def test_idle_connections_are_closed(tls: Tls, serve: Serve) -> None:
    """Without another request."""
    server = await serve(echo)
    http = HttpTransport(tls, Tuning(http_keep_alive=0.1))
    await asyncio.gather(*(http.post(server.url + "/", {}, b"{}", 5.0) for _ in range(3)))
    assert len(server.conversations) == 3
    for peer in server.conversations:
        await asyncio.wait_for(peer.ended.wait(), 5)
    await http.post(server.url + "/", {}, b"{}", 5.0)
    assert len(server.conversations) == 4
    await http.aclose()


async def test_the_last_used_connection_is_taken(tls: Tls, serve: Serve) -> None:
    """So that the others become idle."""
    server = await serve(echo)
    http = HttpTransport(tls, Tuning(http_keep_alive=0.3))
    await asyncio.gather(*(http.post(server.url + "/", {}, b"{}", 5.0) for _ in range(2)))
    for _ in range(20):
        await http.post(server.url + "/", {}, b"{}", 5.0)
    assert sorted(len(peer.heads) for peer in server.conversations) == [1, 21]
    assert sorted(peer.ended.is_set() for peer in server.conversations) == [False, True]
    await http.aclose()


async def test_never_too_many_connections(tls: Tls, serve: Serve) -> None:
    """An idle connection to another host is closed to make room."""
    one, two = await serve(echo), await serve(echo)
    http = HttpTransport(tls, Tuning(http_calls=2, http_downloads=1))
    for _ in range(2):
        for server in (one, two):
            await asyncio.gather(*(http.post(server.url + "/", {}, b"{}", 5.0) for _ in range(2)))
            await asyncio.sleep(0.02)
            open_ones = [peer for peer in one.conversations + two.conversations if not peer.ended.is_set()]
            assert len(open_ones) <= 3
    await http.aclose()


async def test_a_connection_that_the_server_will_close(tls: Tls, serve: Serve) -> None:
    """It is not used again."""

    async def close(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"{}", "Connection: close\r\n")
        await peer.gone()

    server = await serve(close)
    http = HttpTransport(tls, Tuning())
    for _ in range(2):
        await http.post(server.url + "/", {}, b"{}", 5.0)
    assert [len(peer.heads) for peer in server.conversations] == [1, 1]
    await http.aclose()


@pytest.mark.parametrize("end", ["cancel", "close"])
async def test_a_handshake_that_is_given_up(built_in: HttpTransport, serve: Serve, end: str) -> None:
    """Its connection is closed, and nothing is sent."""
    begun = asyncio.Event()

    async def mute(peer: Conversation) -> None:
        await peer.reader.read(1)
        begun.set()
        await peer.gone()

    server = await serve(mute)
    url = server.url.replace("http:", "https:")
    call = asyncio.create_task(built_in.post(url + "/", {}, b"{}", 5.0))
    await asyncio.wait_for(begun.wait(), 5)
    if end == "cancel":
        call.cancel()
    else:
        await built_in.aclose()
    await asyncio.wait([call], timeout=5)
    assert call.cancelled() if end == "cancel" else isinstance(call.exception(), SessionClosedError)
    await asyncio.wait_for(server.conversations[0].ended.wait(), 5)


async def test_which_codings_are_accepted(built_in: HttpTransport, serve: Serve) -> None:
    """Only those that the SDK decodes, whatever else is installed. Files are not decoded."""
    server = await serve(echo)
    await built_in.post(server.url + "/", {}, b"{}", 5.0)
    async with built_in.get(server.url + "/", {}, 5.0):
        pass
    call, file = (head.lower() for head in server.conversations[0].heads)
    assert "accept-encoding: gzip, deflate\r\n" in call
    assert "accept-encoding: identity\r\n" in file


async def test_the_message_of_a_refused_connection(built_in: HttpTransport) -> None:
    """It names the host, the reason, and that nothing was sent."""
    with pytest.raises(
        ConnectionFailedError, match=r"^Could not connect to 127\.0\.0\.1: connection refused\. No request was sent\.$"
    ):
        await built_in.post("http://127.0.0.1:1/", {}, b"{}", 5.0)


async def test_the_context_is_not_built_again(built_in: HttpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither httpx nor httpcore builds one."""
    made: list[object] = []
    monkeypatch.setattr(ssl, "create_default_context", lambda *given, **options: made.append(given))
    for url in ("http://127.0.0.1:1/", "https://127.0.0.1:1/"):
        with pytest.raises(ConnectionFailedError):
            await built_in.post(url, {}, b"{}", 5.0)
    assert not made


@pytest.mark.parametrize("by_proxy", [False, True])
async def test_bytes_after_a_response_answer_no_other_request(
    built_in: HttpTransport, serve: Serve, monkeypatch: pytest.MonkeyPatch, by_proxy: bool
) -> None:
    """A server that sends more than its response has lost count, so its connection is not used again."""

    async def twice(peer: Conversation) -> None:
        while True:
            await peer.request()
            await peer.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold"
            )

    server = await serve(twice)
    url = server.url + "/"
    if by_proxy:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        url = "http://api.test/"
    for _ in range(3):
        assert (await built_in.post(url, {}, b"{}", 5.0)).body == b"{}"
    assert [len(peer.heads) for peer in server.conversations] == [1, 1, 1]
