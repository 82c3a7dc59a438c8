"""Servers that misbehave on real sockets, and transports that call them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import attrs
import httpx
import httpx2
import httpx_aiohttp
import pytest
import pytest_asyncio

from wiro_async._transport.http import HttpTransport
from wiro_async._transport.http.library import Transport
from wiro_async._transport.network.tls import Tls
from wiro_async._tuning import Tuning


@attrs.define
class Conversation:
    """One connection, seen from the server.

    Attributes:
        heads: the heads of its requests.
        bodies: their bodies.
        ended: set when the client has closed the connection.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heads: list[str] = attrs.field(factory=list)
    bodies: list[bytes] = attrs.field(factory=list)
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def head(self) -> str:
        """Read the head of the next request. Raises `asyncio.IncompleteReadError` at the end of the connection."""
        self.heads.append((await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
        return self.heads[-1]

    async def request(self) -> str:
        """Read the next request, and return its head."""
        head = (await self.head()).lower()
        if "transfer-encoding: chunked" in head:
            self.bodies.append(await self._chunked())
        else:
            length = int(head.partition("content-length:")[2].split("\r\n")[0] or 0)
            self.bodies.append(await self.reader.readexactly(length))
        return self.heads[-1]

    async def answer(self, body: bytes = b"{}", headers: str = "", status: str = "200 OK") -> None:
        """Send a complete response."""
        await self.send(f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def send(self, data: bytes) -> None:
        """Send any bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client closes the connection."""
        while await self.reader.read(65536):
            pass
        self.ended.set()

    async def _chunked(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readuntil(b"\r\n")
        await self.reader.readuntil(b"\r\n")
        return body


Handler = Callable[[Conversation], Awaitable[None]]


@attrs.define
class Server:
    """A server that calls its handler for each connection."""

    handler: Handler
    port: int = 0
    conversations: list[Conversation] = attrs.field(factory=list)
    tasks: list[asyncio.Task[None]] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        conversation = Conversation(reader, writer)
        self.conversations.append(conversation)
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        try:
            await self.handler(conversation)
        except (OSError, asyncio.IncompleteReadError):
            conversation.ended.set()
        finally:
            writer.close()


class Serve(Protocol):
    """Start a server."""

    async def __call__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> Server: ...


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    """Servers, closed at the end of the test."""
    servers: list[tuple[Server, asyncio.Server]] = []

    async def start(handler: Handler, tls: ssl.SSLContext | None = None) -> Server:
        server = Server(handler)
        listening = await asyncio.start_server(server.talk, "127.0.0.1", 0, ssl=tls)
        server.port = listening.sockets[0].getsockname()[1]
        servers.append((server, listening))
        return server

    yield start
    for server, listening in servers:
        listening.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)
        await listening.wait_closed()
    await asyncio.sleep(0)


@pytest.fixture
def tls(tls_context: ssl.SSLContext) -> Tls:
    """TLS settings that share one context among all tests."""
    built = Tls()
    built.__dict__["_context"] = tls_context
    return built


@pytest_asyncio.fixture(params=["default", "httpx", "aiohttp", "httpx2"])
async def http(request: pytest.FixtureRequest, tls: Tls) -> AsyncIterator[HttpTransport]:
    """The default transport, and some that a user might give."""
    given: Transport | None = None
    if request.param == "httpx":
        given = httpx.AsyncHTTPTransport(verify=tls.context)
    elif request.param == "aiohttp":
        given = httpx_aiohttp.AiohttpTransport(verify=tls.context)
    elif request.param == "httpx2":
        given = httpx2.AsyncHTTPTransport(verify=tls.context)
    transport = HttpTransport(tls, Tuning(), given)
    yield transport
    assert transport.in_flight == 0
    await transport.aclose()


@pytest_asyncio.fixture
async def built_in(tls: Tls) -> AsyncIterator[HttpTransport]:
    """The default transport only."""
    transport = HttpTransport(tls, Tuning())
    yield transport
    assert transport.in_flight == 0
    await transport.aclose()
