"""A server that can send anything, and keeps an account of its own of what was run.

No web framework stands between a test and the bytes: a route answers with whatever it likes, at whatever pace, and may
hang up at any moment. Endpoints without a route behave like the service, for tasks that succeed at once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from email.utils import formatdate
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import attrs
import pytest
import pytest_asyncio

from wiro_async import AsyncWiro

HERE = Path(__file__).parent
SHARE = int(os.environ.get("WIRO_TEST_HOSTILE_SHARE", "1"))  # one case of so many of each test is run
WEBSOCKET_ID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a share of the cases of each test: where another Python has run them all, the rest takes minutes."""
    seen = Counter[str]()
    kept, left = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        name = item.nodeid.partition("[")[0]
        is_kept = HERE not in item.path.parents or seen[name] % SHARE == 0
        seen[name] += 1
        (kept if is_kept else left).append(item)
    if left:
        items[:] = kept
        config.hook.pytest_deselected(items=left)


@attrs.define(eq=False)
class Peer:
    """One connection, seen from the server, and its present request.

    Attributes:
        method, path: of the present request; the path as it was sent.
        headers: of the present request, by lower-case name.
        body: of the present request.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    method: str = ""
    path: str = ""
    headers: dict[str, str] = attrs.field(factory=dict[str, str])
    body: bytes = b""

    async def read_request(self) -> None:
        """Read the next request. Raises `asyncio.IncompleteReadError` at the end of the connection."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.method, self.path, _ = head[0].split(" ", 2)
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        if self.headers.get("transfer-encoding") == "chunked":
            self.body = b""
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                self.body += await self.reader.readexactly(size)
                await self.reader.readuntil(b"\r\n")
            await self.reader.readuntil(b"\r\n")
        else:
            self.body = await self.reader.readexactly(int(self.headers.get("content-length", "0")))

    @property
    def sent(self) -> dict[str, Any]:
        """The JSON object of the request; empty if there is none."""
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    async def send(self, data: bytes) -> None:
        """Send any bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def respond(self, body: bytes = b"{}", *headers: str, status: str = "200 OK") -> None:
        """Send a complete response."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        await self.send("\r\n".join([*lines, "", ""]).encode("utf-8") + body)

    async def respond_json(self, value: object, *headers: str, status: str = "200 OK") -> None:
        """Send a complete response whose body is JSON."""
        await self.respond(json.dumps(value).encode(), "Content-Type: application/json", *headers, status=status)

    def reset(self) -> None:
        """End the connection with a reset."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def accept_websocket(self) -> None:
        """Answer the request with a WebSocket handshake."""
        key = base64.b64encode(hashlib.sha1(self.headers["sec-websocket-key"].encode() + WEBSOCKET_ID).digest())
        await self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + key + b"\r\n\r\n"
        )

    async def send_frame(self, data: bytes, opcode: int = 1) -> None:
        """Send one WebSocket frame: 1 text, 2 binary, 8 close, 9 ping, 10 pong."""
        size = len(data)
        match size:
            case _ if size < 126:
                head = struct.pack("!BB", 0x80 | opcode, size)
            case _ if size < 65536:
                head = struct.pack("!BBH", 0x80 | opcode, 126, size)
            case _:
                head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
        await self.send(head + data)

    async def send_event(self, event: dict[str, Any]) -> None:
        """Send one message of the socket."""
        await self.send_frame(json.dumps(event).encode())

    async def read_frame(self) -> tuple[int, bytes]:
        """Read one WebSocket frame, and return its opcode and its data."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        mask = await self.reader.readexactly(4)
        masked = await self.reader.readexactly(size)
        return first & 0x0F, bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))

    async def gone(self) -> None:
        """Wait until the client closes the connection."""
        while await self.reader.read(65536):
            pass


Route: TypeAlias = Callable[[Peer], Awaitable[None]]


@attrs.define(eq=False)
class RawWiro:
    """A service made of routes.

    Attributes:
        routes: what answers an endpoint such as "Run", "Task/Detail", "socket" or "files/0.png", instead of this class.
        runs: the model and the parameters of each run that was taken: what would be billed.
        rows: the tasks, by id, oldest first.
        requests: the endpoints that were called, in order.
        connections: how many connections were opened.
        ids: the ids of new tasks.
    """

    port: int = 0
    routes: dict[str, Route] = attrs.field(factory=dict[str, Route])
    runs: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list[tuple[str, dict[str, Any]]])
    rows: dict[str, dict[str, Any]] = attrs.field(factory=dict[str, dict[str, Any]])
    requests: list[str] = attrs.field(factory=list[str])
    connections: int = 0
    ids: Iterator[str] = attrs.field(factory=lambda: map(str, count(1000)))
    _tasks: set[asyncio.Task[None]] = attrs.field(factory=set[asyncio.Task[None]])

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def socket_url(self) -> str:
        """The URL of the socket."""
        return f"ws://127.0.0.1:{self.port}/socket"

    def options(self) -> dict[str, Any]:
        """Return arguments for `AsyncWiro`."""
        return {"api_key": "key-of-the-tests", "base_url": self.url, "socket_url": self.socket_url}

    def make_task(self, model: str, given: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """Make a task that has succeeded. Fields change its row."""
        number = next(self.ids)
        owner, _, project = model.partition("/")
        url = f"http://127.0.0.1:{self.port}/files/{number}.png"
        row = {
            "id": number,
            "socketaccesstoken": f"token-{number}",
            "status": "task_postprocess_end",
            "pexit": "0",
            "parameters": {
                name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()
            },
            "createtime": "1734513807",
            "starttime": "1734513809",
            "endtime": "1734513815",
            "elapsedseconds": "6.0000",
            "totalcost": "0.040000000000",
            "debugoutput": "",
            "modelslugowner": owner,
            "modelslugproject": project,
            "outputs": [{"name": f"{number}.png", "contenttype": "image/png", "size": str(len(PNG)), "url": url}],
            **fields,
        }
        self.rows[str(row["id"])] = row
        return row

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        peer = Peer(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                await peer.read_request()
                path = peer.path.partition("?")[0].removeprefix("/v1").strip("/")
                endpoint = "Run" if path.startswith("Run/") else path
                self.requests.append(endpoint)
                await self.routes.get(endpoint, self.answer)(peer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # hung up, or the end of the test
        finally:
            self._tasks.discard(task)
            writer.close()

    async def answer(self, peer: Peer) -> None:
        """Answer as the service does."""
        path = peer.path.partition("?")[0].removeprefix("/v1").strip("/")
        match path.split("/"):
            case ["Run", owner, model, *_]:
                await peer.respond_json(self.take_run(f"{unquote(owner)}/{unquote(model)}", peer.sent))
            case ["Task", "List"]:
                start, limit = int(peer.sent.get("start", 0)), int(peer.sent.get("limit", 20))
                rows = list(reversed(self.rows.values()))[start : start + limit]
                listed = {"result": True, "errors": [], "total": str(len(self.rows)), "tasklist": rows}
                await peer.respond_json(listed, f"Date: {formatdate(usegmt=True)}")
            case ["Task", _]:
                asked = [peer.sent.get(name) for name in ("taskid", "tasktoken", "socketaccesstoken")]
                rows = [row for row in self.rows.values() if row["id"] in asked or row["socketaccesstoken"] in asked]
                await peer.respond_json({"result": True, "errors": [], "total": str(len(rows)), "tasklist": rows})
            case ["files", _]:
                await peer.respond(PNG, "Content-Type: image/png")
            case ["socket"]:
                await peer.accept_websocket()
                await peer.send_event({"type": "connected", "version": "1.0"})
                await peer.gone()
            case _:
                await peer.respond_json({"result": False, "errors": [{"code": 1, "message": "not found"}]})

    def take_run(self, model: str, given: dict[str, Any]) -> dict[str, Any]:
        """Take a run, and return the body of its response."""
        self.runs.append((model, given))
        row = self.make_task(model, given)
        return {"result": True, "errors": [], "taskid": row["id"], "socketaccesstoken": row["socketaccesstoken"]}

    async def close(self) -> None:
        """End all connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest_asyncio.fixture
async def raw() -> AsyncIterator[RawWiro]:
    """The server."""
    service = RawWiro()
    listening = await asyncio.start_server(service.serve, "127.0.0.1", 0, limit=2**20)
    service.port = listening.sockets[0].getsockname()[1]
    yield service
    listening.close()
    await service.close()
    await listening.wait_closed()


@pytest_asyncio.fixture
async def raw_wiro(raw: RawWiro) -> AsyncIterator[AsyncWiro]:
    """A session on the raw server, with the timing of production."""
    async with AsyncWiro(**raw.options()) as wiro:
        yield wiro
