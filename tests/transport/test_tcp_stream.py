"""Connecting, and what a server sends before its response."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from wiro_async._errors import ConnectionFailedError
from wiro_async._transport.http import HttpTransport
from wiro_async._transport.http.tcp_stream import TcpStream
from wiro_async._transport.network.tls import Tls
from wiro_async._tuning import Tuning

if TYPE_CHECKING:
    from tests.transport.conftest import Conversation, Serve

Addresses = list[tuple[Any, ...]]


async def slowly(pieces: int) -> AsyncIterator[bytes]:
    """A body that takes its time."""
    for _ in range(pieces):
        await asyncio.sleep(0.02)
        yield b"x" * 50_000


@pytest.mark.parametrize("split", [1, 5, 9, 14, 30])
async def test_a_split_interim_response_stops_no_upload(built_in: HttpTransport, serve: Serve, split: int) -> None:
    """Its first bytes look like those of a response."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"

    async def handler(peer: Conversation) -> None:
        await peer.send(interim[:split])
        await asyncio.sleep(0.05)
        await peer.send(interim[split:])
        await peer.request()
        await peer.answer()

    server = await serve(handler)
    response = await built_in.post(server.url + "/", {}, slowly(10), 5.0)
    assert response.status == 200
    assert len(server.conversations[0].bodies[0]) == 500_000


async def test_a_response_after_an_interim_one_stops_the_upload(built_in: HttpTransport, serve: Serve) -> None:
    """As it would without."""

    async def handler(peer: Conversation) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await asyncio.sleep(0.05)
        await peer.answer(status="413 Content Too Large")
        await asyncio.sleep(60)

    server = await serve(handler)
    async with asyncio.timeout(5):
        response = await built_in.post(server.url + "/", {}, slowly(10_000), 60.0)
    assert response.status == 413


async def test_a_cancelled_connect_leaves_no_socket(
    built_in: HttpTransport, serve: Serve, open_files: Callable[[], set[str]]
) -> None:
    """Whenever it is cancelled."""

    async def handler(peer: Conversation) -> None:
        await peer.gone()

    server = await serve(handler)
    with suppress(TimeoutError):
        await asyncio.wait_for(built_in.post(server.url + "/", {}, b"", 5.0), 0.1)
    await asyncio.sleep(0.1)
    gc.collect()
    gc.disable()  # it closes sockets that are lost
    try:
        before = len(open_files())
        for steps in range(30):
            posting = asyncio.create_task(built_in.post(server.url + "/", {}, b"", 5.0))
            for _ in range(steps):
                await asyncio.sleep(0)
            posting.cancel()
            with suppress(asyncio.CancelledError):
                await posting
        await asyncio.sleep(0.2)
        assert len(open_files()) <= before
    finally:
        gc.enable()


@pytest.mark.parametrize("first", ["refuses", "is silent"])
async def test_the_next_address_of_a_host_is_tried(
    built_in: HttpTransport, serve: Serve, monkeypatch: pytest.MonkeyPatch, deaf_port: int, unused_port: int, first: str
) -> None:
    """At once if the one before refuses, and soon if it is silent."""

    async def handler(peer: Conversation) -> None:
        await peer.request()
        await peer.answer()

    server = await serve(handler)
    ports = [unused_port if first == "refuses" else deaf_port, server.port]

    def addresses(host: str, port: int, *_: Any) -> Addresses:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    async with asyncio.timeout(2):
        assert (await built_in.post(f"http://two.test:{server.port}/", {}, b"", 5.0)).status == 200


class PlainLoop(asyncio.SelectorEventLoop):
    """Takes no argument that uvloop's `create_connection` does not take."""

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        assert options.keys() <= {"ssl", "family", "proto", "flags", "sock", "local_addr", "server_hostname"}
        return await super().create_connection(*args, **options)


def test_any_event_loop_will_do(tls: Tls) -> None:
    """No argument is used that only asyncio's own knows."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    async def main() -> int:
        http = HttpTransport(tls, Tuning())
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            status = (await http.post(f"http://127.0.0.1:{port}/", {}, b"", 5.0)).status
            await http.aclose()
        return status

    with asyncio.Runner(loop_factory=PlainLoop) as runner:
        assert runner.run(main()) == 204


async def test_a_proxy_that_closes_its_tunnel_at_once(
    built_in: HttpTransport, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handshake on a closed connection would last until its timeout."""
    start_tls = TcpStream.start_tls

    async def late(self: TcpStream, *args: Any, **options: Any) -> Any:
        await asyncio.sleep(0.1)
        return await start_tls(self, *args, **options)

    async def close(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

    monkeypatch.setattr(TcpStream, "start_tls", late)
    monkeypatch.setenv("HTTPS_PROXY", (await serve(close)).url)
    async with asyncio.timeout(2):
        with pytest.raises(ConnectionFailedError) as caught:
            await built_in.post("https://api.test/", {}, b"", 10.0)
    assert not caught.value.sent
