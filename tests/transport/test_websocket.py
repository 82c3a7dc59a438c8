"""The WebSocket, against a real server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from wiro_async._errors import ConnectionFailedError
from wiro_async._transport.network.tls import Tls
from wiro_async._transport.websocket import Socket, connected
from wiro_async._tuning import Tuning

Talk = Callable[[ServerConnection], Awaitable[None]]
HANDSHAKE = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n"
)

if TYPE_CHECKING:
    from tests.transport.conftest import Conversation, Serve


@asynccontextmanager
async def server_of(talk: Talk, **options: object) -> AsyncGenerator[str, None]:
    """Serve, and yield the URL."""
    async with serve(talk, "127.0.0.1", 0, **options) as server:  # type: ignore[arg-type]
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def wait(peer: ServerConnection) -> None:
    """Send nothing."""
    await peer.wait_closed()


async def received(socket: Socket) -> list[bytes]:
    """Return all frames until the end."""
    async with aclosing(socket.frames()) as frames:
        return [frame async for frame in frames]


async def shake_hands(peer: Conversation) -> None:
    """Complete the server's half of the handshake, then answer nothing more."""
    from websockets.utils import accept_key

    head = await peer.head()
    key = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
    await peer.send(HANDSHAKE.format(accept_key(key)).encode())


async def flood(socket: Socket) -> None:
    """Send more than any buffer holds."""
    for _ in range(200):
        await socket.send(bytes(1024 * 1024))


@pytest.mark.parametrize("compression", [False, True])
async def test_frames_both_ways(tls: Tls, compression: bool) -> None:
    """Text arrives as UTF-8 and bytes unchanged. The frames end when the server closes."""
    received_frames: list[str | bytes] = []
    agents: list[str | None] = []

    async def talk(peer: ServerConnection) -> None:
        assert peer.request is not None
        agents.append(peer.request.headers.get("User-Agent"))
        agents.append(peer.request.headers.get("Sec-WebSocket-Extensions", "").partition(";")[0])
        received_frames.extend([await peer.recv(), await peer.recv()])
        await peer.send("é")
        await peer.send(b"\x00\xff")

    async with server_of(talk) as url, connected(url, "us", tls, compression, Tuning()) as socket:
        await socket.send('{"type":"task_info"}')
        await socket.send(b"token|pcm")
        assert await received(socket) == ["é".encode(), b"\x00\xff"]
    assert received_frames == ['{"type":"task_info"}', b"token|pcm"]
    assert agents == ["us", "permessage-deflate" if compression else ""]


async def test_big_frames(tls: Tls) -> None:
    """Far above the default limits of libraries, because one big message must not end a shared socket."""

    async def talk(peer: ServerConnection) -> None:
        await peer.send("x" * (10 * 1024 * 1024))

    async with server_of(talk) as url, connected(url, "us", tls, False, Tuning()) as socket:
        assert [len(frame) for frame in await received(socket)] == [10 * 1024 * 1024]


async def test_a_refused_upgrade(tls: Tls) -> None:
    """An HTTP response is not a WebSocket."""

    def refuse(peer: ServerConnection, request: Request) -> Response:
        return peer.respond(403, "no")

    async with server_of(wait, process_request=refuse) as url:
        with pytest.raises(ConnectionFailedError, match="403"):
            async with connected(url, "us", tls, False, Tuning()):
                pass


async def test_no_server(tls: Tls, serve: Serve) -> None:
    """Refused, closed, unknown, or without TLS: one kind of error."""

    async def hang_up(peer: Conversation) -> None:
        await peer.reader.read(1)

    server = await serve(hang_up)
    for url in ("ws://127.0.0.1:1/", f"ws://127.0.0.1:{server.port}/", f"wss://127.0.0.1:{server.port}/", "ws://a b/"):
        with pytest.raises(ConnectionFailedError, match="Could not open the WebSocket"):
            async with connected(url, "us", tls, False, Tuning()):
                pass


async def test_a_handshake_that_never_ends(tls: Tls, serve: Serve) -> None:
    """It times out, and its connection is closed."""

    async def mute(peer: Conversation) -> None:
        await peer.gone()

    server = await serve(mute)
    with pytest.raises(ConnectionFailedError):
        async with connected(f"ws://127.0.0.1:{server.port}/", "us", tls, False, Tuning(socket_open=0.1)):
            pass
    await asyncio.wait_for(server.conversations[0].ended.wait(), 5)


async def test_cancelling_the_handshake(tls: Tls, serve: Serve) -> None:
    """Its connection is closed."""
    asked = asyncio.Event()

    async def mute(peer: Conversation) -> None:
        await peer.head()
        asked.set()
        await peer.gone()

    server = await serve(mute)
    task = asyncio.create_task(connected(f"ws://127.0.0.1:{server.port}/", "us", tls, False, Tuning()).__aenter__())
    await asyncio.wait_for(asked.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.conversations[0].ended.wait(), 5)


async def test_an_abrupt_end(tls: Tls) -> None:
    """The frames end, and sending fails with the SDK's error."""

    async def talk(peer: ServerConnection) -> None:
        await peer.send("last words")
        peer.transport.abort()

    async with server_of(talk) as url, connected(url, "us", tls, False, Tuning()) as socket:
        assert await received(socket) == [b"last words"]
        with pytest.raises(ConnectionFailedError, match="closed"):
            await socket.send("too late")


async def test_a_half_open_connection(tls: Tls, serve: Serve) -> None:
    """A peer that answers no ping counts as gone. Leaving such a socket is quick."""

    async def dead(peer: Conversation) -> None:
        await shake_hands(peer)
        await peer.gone()

    server = await serve(dead)
    async with connected(
        f"ws://127.0.0.1:{server.port}/", "us", tls, False, Tuning(socket_ping=0.1, socket_close=0.1)
    ) as socket:
        assert await asyncio.wait_for(received(socket), 5) == []


async def test_a_peer_that_takes_nothing(tls: Tls, serve: Serve) -> None:
    """Sending times out, and leaving does not wait for unsent frames."""

    async def stuck(peer: Conversation) -> None:
        await shake_hands(peer)
        await asyncio.sleep(10)

    server = await serve(stuck)
    async with connected(
        f"ws://127.0.0.1:{server.port}/", "us", tls, False, Tuning(socket_send=0.1, socket_close=0.1)
    ) as socket:
        with pytest.raises(ConnectionFailedError, match="send timed out after"):
            await flood(socket)
        start = anyio.current_time()
    assert anyio.current_time() - start < 2


async def test_closing_is_quick_and_polite(tls: Tls) -> None:
    """The server sees a normal end."""
    codes: list[int | None] = []

    async def talk(peer: ServerConnection) -> None:
        await peer.wait_closed()
        codes.append(peer.close_code)

    async with server_of(talk) as url:
        async with connected(url, "us", tls, False, Tuning()):
            start = anyio.current_time()
        assert anyio.current_time() - start < 0.5
    assert codes == [1000]


async def test_cancelling_a_reader_loses_nothing(tls: Tls) -> None:
    """The next reader continues where it stopped."""
    go = asyncio.Event()

    async def talk(peer: ServerConnection) -> None:
        await go.wait()
        await peer.send("a")

    async with server_of(talk) as url, connected(url, "us", tls, False, Tuning()) as socket:
        task = asyncio.create_task(received(socket))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
        assert await received(socket) == [b"a"]


async def test_tokens_stay_out_of_the_log(tls: Tls, caplog: pytest.LogCaptureFixture) -> None:
    """Even at DEBUG, where the library would log every frame."""
    caplog.set_level(logging.DEBUG)

    async with server_of(wait) as url, connected(url, "us", tls, False, Tuning()) as socket:
        await socket.send('{"tasktoken":"s3cret"}')
    ours = [record for record in caplog.records if not record.name.startswith("websockets.server")]
    assert not any("s3cret" in record.getMessage() for record in ours)
