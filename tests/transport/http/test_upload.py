"""Streamed bodies: timeouts, errors, and sources that are closed afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from wiro_async._errors import ConnectionFailedError, RequestTimeoutError
from wiro_async._transport.http import HttpTransport

if TYPE_CHECKING:
    from tests.transport.conftest import Conversation, Serve

PIECE = bytes(256 * 1024)


async def endless() -> AsyncGenerator[bytes, None]:
    """Yield more than any buffer holds."""
    while True:
        yield PIECE


async def mute(peer: Conversation) -> None:
    """Read the request and never answer."""
    await peer.head()
    await peer.gone()


async def deaf(peer: Conversation) -> None:
    """Read nothing after the head."""
    await peer.head()
    await asyncio.sleep(10)


async def test_a_slow_upload_takes_its_time(http: HttpTransport, serve: Serve) -> None:
    """Every piece that the server takes restarts the timeout."""

    async def slow() -> AsyncGenerator[bytes, None]:
        for _ in range(6):
            await asyncio.sleep(0.25)
            yield b"x"

    async def read(peer: Conversation) -> None:
        await peer.request()
        await peer.answer()

    server = await serve(read)
    async with aclosing(slow()) as body:
        assert (await http.post(server.url + "/", {}, body, 1.0)).status == 200
    assert server.conversations[0].bodies == [b"xxxxxx"]


async def test_a_server_that_takes_nothing_more(http: HttpTransport, serve: Serve) -> None:
    """The timeout runs while the server takes nothing."""
    server = await serve(deaf)
    async with aclosing(endless()) as body:
        with pytest.raises(RequestTimeoutError) as caught:
            await http.post(server.url + "/", {}, body, 0.15)
    assert caught.value.sent


async def test_a_server_that_hangs_up(http: HttpTransport, serve: Serve) -> None:
    """The server may have handled the part that it received."""

    async def hang_up(peer: Conversation) -> None:
        await peer.head()
        await peer.reader.readexactly(1000)
        peer.writer.transport.abort()

    server = await serve(hang_up)
    async with aclosing(endless()) as body:
        with pytest.raises(ConnectionFailedError) as caught:
            await http.post(server.url + "/", {}, body, 5.0)
    assert caught.value.sent


@pytest.mark.parametrize(
    "error", [FileNotFoundError("gone"), ValueError("odd"), ConnectionResetError("mine"), TimeoutError("mine")]
)
async def test_errors_of_the_source_are_its_own(http: HttpTransport, serve: Serve, error: Exception) -> None:
    """They are raised unchanged. The partial request is aborted, not ended as if it were complete."""
    whole: list[bytes] = []

    async def read(peer: Conversation) -> None:
        await peer.request()
        whole.extend(peer.bodies)

    async def broken() -> AsyncGenerator[bytes, None]:
        yield b"first"
        raise error

    server = await serve(read)
    async with aclosing(broken()) as body:
        with pytest.raises(type(error)) as caught:
            await http.post(server.url + "/", {}, body, 5.0)
    assert caught.value is error
    await asyncio.wait_for(server.conversations[0].ended.wait(), 5)
    assert whole == []


async def test_an_answer_before_the_end_of_the_body(http: HttpTransport, built_in: HttpTransport, serve: Serve) -> None:
    """The response ends the upload, or is read after the body by libraries that look for it only then."""

    async def early(peer: Conversation) -> None:
        await peer.head()
        await peer.answer(b'{"result":false}', "", "413 Content Too Large")
        await peer.gone()

    async def stuck() -> AsyncGenerator[bytes, None]:
        yield b"first"
        await asyncio.sleep(10)

    server = await serve(early)
    async with aclosing(stuck()) as body:
        answer = await built_in.post(server.url + "/", {}, body, 5.0)
    assert (answer.status, answer.body) == (413, b'{"result":false}')
    await asyncio.wait_for(server.conversations[0].ended.wait(), 5)

    async def paused() -> AsyncGenerator[bytes, None]:
        yield b"first"
        await asyncio.sleep(0.6)

    async with aclosing(paused()) as body:
        assert (await http.post(server.url + "/", {}, body, 0.3)).status == 413


@pytest.mark.parametrize("blocked_in", ["source", "network"])
async def test_cancelling_leaves_the_source_at_rest(http: HttpTransport, serve: Serve, blocked_in: str) -> None:
    """The source can be closed at once, so it is no longer being read."""
    closed, reading = asyncio.Event(), asyncio.Event()

    async def source() -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            while True:
                reading.set()
                if blocked_in == "source":
                    await asyncio.sleep(10)
                yield PIECE
        finally:
            closed.set()

    server = await serve(mute if blocked_in == "source" else deaf)

    async def call() -> None:
        async with aclosing(source()) as body:
            await http.post(server.url + "/", {}, body, None)

    task = asyncio.create_task(call())
    await asyncio.wait_for(reading.wait(), 5)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()
    assert http.in_flight == 0


async def test_the_time_of_the_source_is_its_own(http: HttpTransport, serve: Serve) -> None:
    """The timeout applies to the server, not to a slow source."""

    async def thoughtful() -> AsyncGenerator[bytes, None]:
        yield b"a"
        await asyncio.sleep(0.9)
        yield b"b"

    async def read(peer: Conversation) -> None:
        await peer.request()
        await peer.answer()

    server = await serve(read)
    async with aclosing(thoughtful()) as body:
        assert (await http.post(server.url + "/", {}, body, 0.3)).status == 200
    assert server.conversations[0].bodies == [b"ab"]


@pytest.mark.parametrize("length", [None, 10_000 * len(PIECE)])
async def test_half_a_body(http: HttpTransport, serve: Serve, length: int | None) -> None:
    """The error states that the request cannot have arrived complete, whether it was cut or timed out."""

    async def hang_up(peer: Conversation) -> None:
        await peer.head()
        peer.writer.transport.abort()

    headers = {} if length is None else {"Content-Length": str(length)}
    for handler, timeout, kind in ((hang_up, 5.0, ConnectionFailedError), (deaf, 0.15, RequestTimeoutError)):
        server = await serve(handler)
        async with aclosing(endless()) as body:
            with pytest.raises(kind) as caught:
                await http.post(server.url + "/", headers, body, timeout)
        assert (caught.value.sent, caught.value.incomplete) == (True, True)


@pytest.mark.parametrize("length", [None, 3])
async def test_a_whole_body_without_an_answer(http: HttpTransport, serve: Serve, length: int | None) -> None:
    """The server may have handled the request, so the error does not state otherwise."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield b"abc"

    server = await serve(mute)
    headers = {} if length is None else {"Content-Length": str(length)}
    async with aclosing(whole()) as body:
        with pytest.raises(RequestTimeoutError) as caught:
            await http.post(server.url + "/", headers, body, 0.15)
    assert (caught.value.sent, caught.value.incomplete) == (True, False)
