"""Failures on real sockets, and whether the request can have been sent."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import sys
from typing import TYPE_CHECKING

import httpx
import httpx_aiohttp
import pytest

from wiro_async._errors import ConnectionFailedError, RequestTimeoutError, TransportError
from wiro_async._transport.http import HttpTransport
from wiro_async._transport.network.reasons import reason
from wiro_async._transport.network.tls import Tls
from wiro_async._tuning import Tuning

if TYPE_CHECKING:
    from tests.transport.conftest import Conversation, Handler, Serve


async def refused(http: HttpTransport, url: str, timeout: float | None = 5.0) -> TransportError:
    """Return the error of a call."""
    with pytest.raises(TransportError) as caught:
        await http.post(url, {}, b"{}", timeout)
    return caught.value


async def test_a_refused_connection(http: HttpTransport, unused_port: int) -> None:
    """Nothing was sent."""
    error = await refused(http, f"http://127.0.0.1:{unused_port}/")
    assert (type(error), error.sent) == (ConnectionFailedError, False)


async def test_an_unknown_name(http: HttpTransport) -> None:
    """Nothing was sent."""
    error = await refused(http, "http://no-such-host.invalid/")
    assert (type(error), error.sent) == (ConnectionFailedError, False)


async def test_a_host_that_is_silent(http: HttpTransport, deaf_port: int) -> None:
    """The attempt to connect ends well before the timeout, so nothing was sent."""
    error = await refused(http, f"http://127.0.0.1:{deaf_port}/", 0.6)
    assert (type(error), error.sent) == (ConnectionFailedError, False)


async def test_a_server_without_tls(http: HttpTransport, serve: Serve) -> None:
    """A handshake that fails carries no request."""

    async def plain(peer: Conversation) -> None:
        await peer.reader.read(1)
        await peer.answer()

    server = await serve(plain)
    error = await refused(http, server.url.replace("http://", "https://"))
    assert (type(error), error.sent) == (ConnectionFailedError, False)


async def close_at_once(peer: Conversation) -> None:
    """Accept and close."""


async def close_after_the_request(peer: Conversation) -> None:
    """Read the request and close."""
    await peer.request()


async def reset_after_the_request(peer: Conversation) -> None:
    """Read the request and reset the connection."""
    await peer.request()
    linger = struct.pack("ii", 1, 0)
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    peer.writer.transport.abort()


async def half_a_head(peer: Conversation) -> None:
    """Close within the headers."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")


async def half_a_body(peer: Conversation) -> None:
    """Close within a body of known length."""
    await peer.request()
    await peer.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"result"')


async def half_a_chunk(peer: Conversation) -> None:
    """Close within a body of unknown length."""
    await peer.request()
    await peer.send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"result"')


async def rubbish(peer: Conversation) -> None:
    """Answer in another protocol."""
    await peer.request()
    await peer.send(b"220 mail.example ready\r\n\r\n")


BREAKS = [
    close_at_once,
    close_after_the_request,
    reset_after_the_request,
    half_a_head,
    half_a_body,
    half_a_chunk,
    rubbish,
]


@pytest.mark.parametrize("handler", BREAKS, ids=lambda handler: handler.__name__)
async def test_broken_answers(http: HttpTransport, serve: Serve, handler: Handler) -> None:
    """The server may have handled the request, so the error has `sent=True`, and the request is not repeated."""
    server = await serve(handler)
    error = await refused(http, server.url + "/")
    assert (type(error), error.sent) == (ConnectionFailedError, True)
    assert len(server.conversations) == 1


@pytest.mark.parametrize("handler", BREAKS, ids=lambda handler: handler.__name__)
async def test_broken_answers_by_another_transport(tls: Tls, serve: Serve, handler: Handler) -> None:
    """aiohttp reports a connect timeout when the server hangs up. The error still has `sent=True`."""
    server = await serve(handler)
    http = HttpTransport(tls, Tuning(), httpx_aiohttp.AiohttpTransport(verify=tls.context))
    error = await refused(http, server.url + "/")
    assert (type(error), error.sent) == (ConnectionFailedError, True)
    assert len(server.conversations) == 1
    await http.aclose()


async def test_a_refused_connection_by_another_transport(tls: Tls, unused_port: int) -> None:
    """The cause of the error proves that nothing was sent."""
    http = HttpTransport(tls, Tuning(), httpx_aiohttp.AiohttpTransport(verify=tls.context))
    error = await refused(http, f"http://127.0.0.1:{unused_port}/")
    assert (type(error), error.sent) == (ConnectionFailedError, False)
    await http.aclose()


@pytest.mark.parametrize(
    "kind", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ReadTimeout, OSError]
)
async def test_transports_that_prove_nothing(tls: Tls, kind: type[Exception]) -> None:
    """An error without a known cause does not prove that nothing was sent."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise kind("somehow")

    error = await refused(HttpTransport(tls, Tuning(), httpx.MockTransport(fail)), "http://api.test/")
    assert error.sent
    assert isinstance(error, RequestTimeoutError) == issubclass(kind, httpx.TimeoutException)


async def test_without_the_libraries_that_prove_it(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors of an unknown transport prove nothing."""
    for name in ("httpcore", "aiohttp"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("somehow") from OSError("somehow")

    error = await refused(HttpTransport(tls, Tuning(), httpx.MockTransport(fail)), "http://api.test/")
    assert (type(error), error.sent) == (ConnectionFailedError, True)


async def test_a_pool_that_is_full(tls: Tls, serve: Serve) -> None:
    """Calls wait for a free connection of a transport with few of them."""

    async def slow(peer: Conversation) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(0.02)
            await peer.answer()

    server = await serve(slow)
    http = HttpTransport(tls, Tuning(), httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1)))
    answers = await asyncio.gather(*(http.post(server.url + "/", {}, b"{}", 5.0) for _ in range(5)))
    assert [answer.status for answer in answers] == [200] * 5
    await http.aclose()


async def test_a_connection_that_was_closed_while_idle(http: HttpTransport, serve: Serve) -> None:
    """The next call notices, and opens a new connection."""

    async def once(peer: Conversation) -> None:
        await peer.request()
        await peer.answer()

    server = await serve(once)
    for _ in range(3):
        assert (await http.post(server.url + "/", {}, b"{}", 5.0)).status == 200
        await asyncio.sleep(0.01)
    assert [len(peer.heads) for peer in server.conversations] == [1, 1, 1]


async def test_a_connection_that_is_closed_by_the_second_call(http: HttpTransport, serve: Serve) -> None:
    """The server may have handled it, so the library must not repeat it."""

    async def second(peer: Conversation) -> None:
        await peer.request()
        await peer.answer()
        await peer.request()

    server = await serve(second)
    await http.post(server.url + "/", {}, b"{}", 5.0)
    error = await refused(http, server.url + "/")
    assert (type(error), error.sent) == (ConnectionFailedError, True)
    assert [len(peer.heads) for peer in server.conversations] == [2]


async def test_no_answer(http: HttpTransport, serve: Serve) -> None:
    """The call times out, and its connection is closed."""

    async def mute(peer: Conversation) -> None:
        await peer.request()
        await peer.gone()

    server = await serve(mute)
    error = await refused(http, server.url + "/", 0.4)
    assert (type(error), error.sent) == (RequestTimeoutError, True)
    await asyncio.wait_for(server.conversations[0].ended.wait(), 5)


async def test_an_answer_that_trickles(http: HttpTransport, serve: Serve) -> None:
    """The timeout covers the whole response."""

    async def trickle(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await peer.send(b" ")
            await asyncio.sleep(0.02)

    error = await refused(http, (await serve(trickle)).url + "/", 0.15)
    assert isinstance(error, RequestTimeoutError)


async def test_a_cancelled_call(http: HttpTransport, serve: Serve) -> None:
    """The connection is closed, and its place in the pool is free."""

    asked = asyncio.Event()

    async def mute(peer: Conversation) -> None:
        await peer.request()
        asked.set()
        await peer.gone()

    server = await serve(mute)
    call = asyncio.create_task(http.post(server.url + "/", {}, b"{}", None))
    await asyncio.wait_for(asked.wait(), 5)
    assert http.in_flight == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert http.in_flight == 0
    await asyncio.wait_for(server.conversations[0].ended.wait(), 5)


@pytest.mark.parametrize(
    "text, shown",
    [
        ("no URL", "no URL"),
        ("to https://cdn1.wiro.ai/KEY/0.png.", "to https://cdn1.wiro.ai/…"),
        ("proxy http://me:s3cret@proxy:3128", "proxy http://proxy:3128/…"),
        ("proxy http://me:s3/cret@proxy:3128", "proxy http://…/…"),
        ("url='https://a.test/KEY?b#c'", "url='https://a.test/…'"),
        ("URL('wss://a.test/KEY')", "URL('wss://a.test/…')"),
    ],
)
def test_reasons_hide_secrets_of_urls(text: str, shown: str) -> None:
    """Paths contain access keys, proxies passwords. Such an error must not be a visible cause either."""
    error = OSError(text)
    assert reason(error) == (f"OSError: {shown}", error if text == shown else None)


async def test_a_silent_host_of_files(built_in: HttpTransport, deaf_port: int) -> None:
    """The httpx error contains the whole URL. The SDK's error and its cause do not."""
    with pytest.raises(ConnectionFailedError) as caught:
        async with built_in.get(f"http://127.0.0.1:{deaf_port}/SECRETKEY/0.png", {}, 0.6):
            pass
    assert not re.search("SECRETKEY", f"{caught.value} {caught.value.__cause__}")
    assert caught.value.__suppress_context__
