"""Responses that are read as they arrive: files and event streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from wiro_async._errors import ConnectionFailedError, RequestTimeoutError
from wiro_async._protocol.messages.event_stream import ServerEvent
from wiro_async._transport.http import HttpResponse, HttpTransport

if TYPE_CHECKING:
    from tests.transport.conftest import Conversation, Serve

STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return one chunk of a body of unknown length."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def big(peer: Conversation) -> None:
    """A file of some megabytes."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n")
    for _ in range(64):
        await peer.send(bytes(65536))
    await peer.gone()


async def read(http: HttpTransport, url: str, timeout: float | None, pieces: list[bytes]) -> None:
    """Collect the chunks of a file."""
    async with http.get(url, {}, timeout) as download:
        async for piece in download.chunks:
            pieces.append(piece)  # noqa: PERF401 - what came before an error counts


async def test_a_file(http: HttpTransport, serve: Serve) -> None:
    """The raw bytes without decoding, and no extra request header."""

    async def file(peer: Conversation) -> None:
        while True:
            await peer.request()
            await peer.answer(b"PNG" * 1000, "Content-Type: image/png\r\n")

    server = await serve(file)
    for _ in range(2):
        async with http.get(f"{server.url}/KEY/0.png?a=%2B", {"User-Agent": "us"}, 5.0) as download:
            assert (download.status, download.headers["content-type"]) == (200, "image/png")
            assert http.in_flight == 1
            assert b"".join([chunk async for chunk in download.chunks]) == b"PNG" * 1000
        assert "KEY" not in repr(download)
    (peer,) = server.conversations
    head = peer.heads[0].lower()
    assert head.startswith("get /key/0.png?a=%2b http/1.1\r\n")
    assert "accept-encoding: identity\r\n" in head
    assert "content-length" not in head
    assert "transfer-encoding" not in head


async def test_a_file_that_is_left(http: HttpTransport, serve: Serve) -> None:
    """The connection is closed at once, and its place in the pool is free."""
    server = await serve(big)
    async with http.get(server.url + "/", {}, 5.0) as download:
        async for _ in download.chunks:
            break
    assert http.in_flight == 0
    await asyncio.wait_for(server.conversations[0].ended.wait(), 5)


async def test_a_download_that_is_cancelled(http: HttpTransport, serve: Serve) -> None:
    """The connection is closed, and its place in the pool is free."""

    async def stuck(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
        await peer.gone()

    server = await serve(stuck)
    begun = asyncio.Event()

    async def read_on() -> None:
        async with http.get(server.url + "/", {}, None) as download:
            async for _ in download.chunks:
                begun.set()

    task = asyncio.create_task(read_on())
    await asyncio.wait_for(begun.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert http.in_flight == 0
    await asyncio.wait_for(server.conversations[0].ended.wait(), 5)


async def test_a_download_that_breaks_off(http: HttpTransport, serve: Serve) -> None:
    """The bytes that arrived are yielded before the error."""

    async def half(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")

    pieces: list[bytes] = []
    with pytest.raises(ConnectionFailedError):
        await read(http, (await serve(half)).url + "/", 5.0, pieces)
    assert b"".join(pieces) == b"abc"


async def test_a_download_that_falls_silent(http: HttpTransport, serve: Serve) -> None:
    """The timeout covers each pause, not the whole download."""

    async def tired(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(6):
            await asyncio.sleep(0.05)
            await peer.send(b"x")
        await peer.gone()

    pieces: list[bytes] = []
    with pytest.raises(RequestTimeoutError):
        await read(http, (await serve(tired)).url + "/", 0.2, pieces)
    assert b"".join(pieces) == b"xxxxxx"


async def test_errors_of_the_reader_are_its_own(http: HttpTransport, serve: Serve) -> None:
    """A full disk is not a broken connection, and the reader's own timeout is not the transport's."""
    server = await serve(big)
    for error in (OSError("disk full"), TimeoutError("mine")):
        with pytest.raises(type(error)) as caught:
            async with http.get(server.url + "/", {}, 5.0):
                raise error
        assert caught.value is error


async def test_events(http: HttpTransport, serve: Serve) -> None:
    """Events are yielded as they arrive, wherever the chunks are cut."""

    async def stream(peer: Conversation) -> None:
        await peer.request()
        await peer.send(STREAM.encode() + chunk(b": keep-alive\n\neve"))
        await peer.send(chunk(b'nt: start\ndata: {"taskid":"1"}\n\nevent: done\nda'))
        await peer.send(chunk("ta: é".encode()[:-1]))
        await peer.send(chunk("é".encode()[-1:] + b"\n\n") + b"0\r\n\r\n")
        await peer.gone()

    server = await serve(stream)
    async with http.post_events(server.url + "/", {}, b"{}", 5.0) as answer:
        assert not isinstance(answer, HttpResponse)
        assert [event async for event in answer] == [ServerEvent("start", '{"taskid":"1"}'), ServerEvent("done", "é")]


async def test_an_answer_instead_of_events(http: HttpTransport, serve: Serve) -> None:
    """A refusal is returned as a complete response."""

    async def refuse(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b'{"result":false}', "Content-Type: application/json\r\n", "504 Gateway Timeout")
        await peer.gone()

    async with http.post_events((await serve(refuse)).url + "/", {}, b"{}", 5.0) as answer:
        assert isinstance(answer, HttpResponse)
        assert (answer.status, answer.body) == (504, b'{"result":false}')


async def test_events_that_break_off(http: HttpTransport, serve: Serve) -> None:
    """A broken stream raises instead of ending."""

    async def half(peer: Conversation) -> None:
        await peer.request()
        await peer.send(STREAM.encode() + chunk(b"data: a\n\ndata: b"))

    async with http.post_events((await serve(half)).url + "/", {}, b"{}", 5.0) as answer:
        assert not isinstance(answer, HttpResponse)
        assert await anext(answer) == ServerEvent("message", "a")
        with pytest.raises(ConnectionFailedError):
            await anext(answer)


async def test_events_that_are_left(http: HttpTransport, serve: Serve) -> None:
    """Their connection is closed."""

    async def stream(peer: Conversation) -> None:
        await peer.request()
        await peer.send(STREAM.encode() + chunk(b"data: a\n\n"))
        await peer.gone()

    server = await serve(stream)
    async with http.post_events(server.url + "/", {}, b"{}", 5.0) as answer:
        assert not isinstance(answer, HttpResponse)
        async for _ in answer:
            break
    await asyncio.wait_for(server.conversations[0].ended.wait(), 5)
