"""Deliveries to `callbackUrl`."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from wiro_async.testing import WiroEmulator

if TYPE_CHECKING:
    from tests.testing.conftest import Api


class Hook:
    """A server that keeps requests and sends one response."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: asyncio.Queue[bytes] = asyncio.Queue()
        self.url = ""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.requests.put_nowait(head + await reader.readexactly(length))
        writer.write(self.answer)
        writer.close()


@pytest.fixture(params=[b"HTTP/1.1 204 No Content\r\n\r\n"])
async def hook(request: pytest.FixtureRequest) -> AsyncIterator[Hook]:
    """A server on loopback."""
    listener = Hook(request.param)
    server = await asyncio.start_server(listener.take, "127.0.0.1", 0)
    async with server:
        listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?secret=1"
        yield listener


async def _delivered(api: "Api") -> int | None:
    await api.until(lambda: bool(api.emulator.ledger.callbacks))
    return api.emulator.ledger.callbacks[0].status


async def test_delivery(api: "Api", emulator: WiroEmulator, hook: Hook) -> None:
    """One POST with Task/Detail's envelope at the end of the run. The task shows the URL."""
    token = await api.run("sleeper", callbackUrl=hook.url)
    request = await hook.requests.get()
    assert request.startswith(b"POST /hook?secret=1 HTTP/1.1\r\n")
    [task] = json.loads(request.partition(b"\r\n\r\n")[2])["tasklist"]
    assert (task["socketaccesstoken"], task["status"]) == (token, "task_postprocess_end")
    assert await _delivered(api) == 204
    shown = await api.detail(token)
    assert shown["callbackurl"] == hook.url
    assert "callbackUrl" not in json.loads(shown["parameters"])
    assert emulator.ledger.submissions[0].callback_url == hook.url
    assert hook.requests.empty()


@pytest.mark.parametrize("hook", [b"nonsense\r\n", b""], indirect=True)
async def test_invalid_responses(api: "Api", emulator: WiroEmulator, hook: Hook) -> None:
    """A server that does not speak HTTP has no status in the ledger."""
    await api.run("sleeper", callbackUrl=hook.url)
    assert await _delivered(api) is None


@pytest.mark.parametrize("url", ["http://example.com/", "https://127.0.0.1/", "nowhere"])
async def test_other_hosts_are_not_called(api: "Api", emulator: WiroEmulator, url: str) -> None:
    """Only loopback hosts are called."""
    await api.ended(await api.run("sleeper", callbackUrl=url))
    await api.post("Tool/Explore")
    assert emulator.ledger.callbacks == []
