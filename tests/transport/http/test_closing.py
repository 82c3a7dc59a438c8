"""Closing the pool while it is in use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from wiro_async import AsyncWiro, SessionClosedError
from wiro_async._transport.http import HttpTransport, transport
from wiro_async._transport.network.tls import Tls
from wiro_async._tuning import Tuning

if TYPE_CHECKING:
    from tests.conftest import Until
    from tests.transport.conftest import Conversation, Serve


async def stuck_in_the_body(peer: Conversation) -> None:
    """Send half a response."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
    await peer.gone()


async def stuck_before_the_head(peer: Conversation) -> None:
    """Send nothing."""
    await peer.request()
    await peer.gone()


async def download(http: HttpTransport, url: str) -> None:
    """Read a file."""
    async with http.get(url, {}, None) as answer:
        async for _ in answer.chunks:
            pass


async def upload(http: HttpTransport, url: str) -> None:
    """Send a body that never ends."""

    async def endless() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    await http.post(url, {}, endless(), None)


async def call(http: HttpTransport, url: str) -> None:
    """Make a plain call."""
    await http.post(url, {}, b"{}", None)


@pytest.mark.parametrize("use", [download, upload, call])
@pytest.mark.parametrize("peer", [stuck_in_the_body, stuck_before_the_head])
async def test_closing_ends_calls_in_flight(
    http: HttpTransport, serve: Serve, peer: Callable[..., Awaitable[None]], use: Callable[..., Awaitable[None]]
) -> None:
    """They raise `SessionClosedError` at once, and nothing is left."""
    server = await serve(peer)
    waiting = [asyncio.ensure_future(use(http, server.url + "/")) for _ in range(2)]
    while len([one for one in server.conversations if one.heads]) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)
    await http.aclose()
    done, pending = await asyncio.wait(waiting, timeout=10)
    for task in pending:
        task.cancel()
    assert [type(task.exception()) for task in done] == [SessionClosedError] * 2
    assert http.in_flight == 0


async def test_closing_ends_unread_responses(built_in: HttpTransport, serve: Serve) -> None:
    """Even a response whose head arrived in that moment."""
    server = await serve(stuck_in_the_body)

    async def read() -> None:
        async with built_in.get(server.url + "/", {}, None) as answer:
            assert await anext(answer.chunks) == b"abc"
            await built_in.aclose()
            await anext(answer.chunks)

    with pytest.raises(SessionClosedError):
        await read()


async def test_closing_while_the_head_comes(tls: Tls) -> None:
    """The response is not read, because its end might never arrive."""

    class Closing(httpx.MockTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            await http.aclose()
            return response

    http = HttpTransport(tls, Tuning(), Closing(lambda request: httpx.Response(200, content=b"x")))
    read = False
    with pytest.raises(SessionClosedError):
        async with http.get("http://api.test/", {}, None):
            read = True
    assert not read
    assert http.in_flight == 0


async def test_closing_while_it_opens(built_in: HttpTransport, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call is not made, and its resources are closed."""
    server, go = await serve(stuck_in_the_body), threading.Event()
    monkeypatch.setattr(transport, "import_module", lambda name: go.wait(10))
    waiting = [asyncio.ensure_future(call(built_in, server.url + "/")) for _ in range(2)]
    await asyncio.sleep(0.02)
    closing = asyncio.ensure_future(built_in.aclose())
    await asyncio.sleep(0.02)
    go.set()
    await closing
    done, pending = await asyncio.wait(waiting, timeout=5)
    for task in pending:
        task.cancel()
    assert [type(task.exception()) for task in done] == [SessionClosedError] * 2
    assert not server.conversations


async def test_closing_the_session_ends_a_download(serve: Serve, tmp_path: Path, until: Until) -> None:
    """No request and no partial file is left, even if the next attempt is far away."""

    async def late(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"", "Retry-After: 100\r\n", "503 Late")

    stuck, late_one = await serve(stuck_in_the_body), await serve(late)
    async with AsyncWiro("key", base_url="http://127.0.0.1:9") as wiro:
        saving = [
            asyncio.create_task(wiro.download(f"{server.url}/{number}.png", tmp_path / "new" / f"{number}.png"))
            for number, server in enumerate((stuck, late_one))
        ]
        await until(lambda: stuck.conversations and late_one.conversations and wiro.statistics().requests == 1)
    done, pending = await asyncio.wait(saving, timeout=10)
    for task in pending:
        task.cancel()
    assert [type(task.exception()) for task in done] == [SessionClosedError] * 2
    assert wiro.statistics().requests == 0
    assert list((tmp_path / "new").iterdir()) == []
