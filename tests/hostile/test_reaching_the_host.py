"""A name with dead addresses costs no more than a moment, on every way to the service."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wiro_async import AsyncWiro, ConnectionFailedError, RetryPolicy, Tuning
from wiro_async._transport.network.tls import Tls
from wiro_async._transport.websocket import connected

if TYPE_CHECKING:
    from tests.conftest import Resolve
    from tests.hostile.conftest import Peer, RawWiro

NAME = "two.test"
ONCE = RetryPolicy(attempts=1)


def at(raw: RawWiro, **changes: Any) -> dict[str, Any]:
    """Options for the server by its name."""
    return {
        "api_key": "key-of-the-tests",
        "base_url": f"http://{NAME}:{raw.port}/v1",
        "socket_url": f"ws://{NAME}:{raw.port}/socket",
        "retry": ONCE,
        **changes,
    }


@pytest.mark.parametrize("first", ["silent", "refusing", "three silent"])
async def test_every_way_to_the_service(
    raw: RawWiro,
    resolve: Resolve,
    deaf_port: int,
    unused_port: int,
    first: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Runs, their socket, uploads and downloads: each finds the address that works."""
    heard = asyncio.Event()

    async def socket_route(peer: Peer) -> None:
        await peer.accept_websocket()
        await peer.send_event({"type": "connected", "version": "1.0"})
        _, frame = await peer.read_frame()
        if b"token-1000" in frame:
            heard.set()
        await peer.gone()

    async def upload(peer: Peer) -> None:
        await peer.respond_json({"result": True, "list": [{"id": "1", "name": "a.png", "url": "http://x.test/a.png"}]})

    raw.routes |= {"socket": socket_route, "File/Upload": upload}
    dead = {"silent": [deaf_port], "refusing": [unused_port], "three silent": [deaf_port] * 3}[first]
    resolve(*dead, raw.port)
    async with asyncio.timeout(12), AsyncWiro(**at(raw)) as wiro:
        task = await wiro.submit("owner/model", {"prompt": "x"})
        result = await task
        waiting = asyncio.create_task(wiro.task(task_id="77").result(timeout=30))  # keeps the socket wanted
        await asyncio.wait_for(heard.wait(), 8)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        url = str(result.output.url).replace("127.0.0.1", NAME)
        assert (await wiro.download(url, tmp_path)).stat().st_size
        await wiro.files.upload(tmp_path / "1000.png")
    assert [model for model, _ in raw.runs] == ["owner/model"]
    assert {"Run", "socket", "File/Upload", "files/1000.png"} <= set(raw.requests)


@pytest.mark.parametrize("way", ["realtime", "sse"])
async def test_streams_and_voices(raw: RawWiro, resolve: Resolve, deaf_port: int, way: str) -> None:
    """The socket of a realtime session and the stream of a run race the addresses too."""

    async def stream(peer: Peer) -> None:
        raw.take_run("owner/model", peer.sent)
        body = b'event: start\ndata: {"taskid":"1000","socketaccesstoken":"token-1000"}\n\n'
        await peer.respond(body, "Content-Type: text/event-stream")

    async def voice(peer: Peer) -> None:
        await peer.accept_websocket()
        await peer.read_frame()
        await peer.send_event({"type": "task_stream_ready", "id": "1000", "tasktoken": "token-1000"})
        await peer.send_event({"type": "task_postprocess_end", "id": "1000", "tasktoken": "token-1000"})
        await peer.gone()

    raw.routes |= {"socket": voice} | ({"Run": stream} if way == "sse" else {})
    resolve(deaf_port, raw.port)
    async with asyncio.timeout(10), AsyncWiro(**at(raw)) as wiro:
        if way == "sse":
            assert (await wiro.with_options(updates="sse").run("owner/model", {})).succeeded
        else:
            async with wiro.realtime("owner/model", {}) as session:
                async for _ in session:
                    pass
    assert "socket" in raw.requests or way == "sse"
    assert len(raw.runs) == 1


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_proxy_with_a_dead_address(
    raw: RawWiro, resolve: Resolve, deaf_port: int, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket races the addresses of the proxy as well."""
    targets: list[str] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            targets.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode())
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(tunnel, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        resolve(deaf_port, port, name="proxy.test")
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://me:pass@proxy.test:{port}")
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionFailedError, match="the proxy answered HTTP 403"):
                async with connected(f"{scheme}://socket.example/v1", "us", Tls(), False, Tuning()):
                    pass
    assert [target for target in targets if target] == [f"socket.example:{443 if scheme == 'wss' else 80}"]


@pytest.mark.parametrize("addresses", [1, 10])
async def test_only_dead_addresses(raw: RawWiro, resolve: Resolve, deaf_port: int, addresses: int) -> None:
    """It ends with the time for connecting, says why, and that nothing was sent."""
    resolve(*[deaf_port] * addresses)
    async with AsyncWiro(**at(raw), tuning=Tuning(http_connect=0.6)) as wiro:
        async with asyncio.timeout(3):
            with pytest.raises(ConnectionFailedError, match=r"two\.test: timed out\. No request was sent") as caught:
                await wiro.run("owner/model", {})
    assert not caught.value.sent


async def test_an_address_that_never_does_tls(raw: RawWiro, resolve: Resolve) -> None:
    """It accepts the connection, so it wins the race. Then it is bounded, and clear."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        resolve(mute.getsockname()[1], raw.port)
        options = at(raw, base_url=f"https://{NAME}:{raw.port}/v1", socket_url=f"wss://{NAME}:{raw.port}/socket")
        async with AsyncWiro(**options, tuning=Tuning(http_connect=0.5, socket_open=0.5)) as wiro:
            async with asyncio.timeout(3):
                with pytest.raises(ConnectionFailedError, match="the TLS handshake timed out") as caught:
                    await wiro.run("owner/model", {})
        assert not caught.value.sent


async def test_a_race_that_is_cancelled_leaks_nothing(
    raw: RawWiro, resolve: Resolve, deaf_port: int, open_files: Callable[[], set[str]]
) -> None:
    """Whenever it is cancelled: no socket and no task is left."""
    resolve(deaf_port, deaf_port, raw.port)

    async def connect() -> None:
        async with connected(f"ws://{NAME}:{raw.port}/socket", "us", Tls(), False, Tuning()):
            await asyncio.sleep(0.01)

    await connect()
    await asyncio.sleep(0.05)
    gc.collect()
    gc.disable()  # it closes sockets that are lost
    try:
        files, tasks = len(open_files()), len(asyncio.all_tasks())
        for milliseconds in (0, 1, 240, 255, 505, 515):
            connecting = asyncio.create_task(connect())
            await asyncio.sleep(milliseconds / 1000)
            connecting.cancel()
            with suppress(asyncio.CancelledError):
                await connecting
        await asyncio.sleep(0.1)
        assert len(open_files()) <= files
        assert len(asyncio.all_tasks()) <= tasks + 1
    finally:
        gc.enable()
