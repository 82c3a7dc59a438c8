"""A plain client for the emulator, independent of the SDK."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.protocol import State

from wiro_async.testing import WiroEmulator


class Api:
    """The calls that most tests need."""

    def __init__(self, emulator: WiroEmulator, http: httpx.AsyncClient) -> None:
        self.emulator = emulator
        self.http = http

    async def send(self, endpoint: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        return await self.http.post(f"{self.emulator.base_url}/{endpoint}", json=body or {})

    async def post(self, endpoint: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.send(endpoint, body)).json()
        return answer

    async def run(self, model: str, **parameters: Any) -> str:
        """Start a run of a standard model, and return its token."""
        answer = await self.post(f"Run/emulator/{model}", parameters)
        assert answer["result"] is True, answer
        return str(answer["socketaccesstoken"])

    async def detail(self, token: str) -> dict[str, Any]:
        task: dict[str, Any] = (await self.post("Task/Detail", {"tasktoken": token}))["tasklist"][0]
        return task

    async def reached(self, token: str, *statuses: str) -> dict[str, Any]:
        """Poll Detail until the task has one of these statuses."""
        while True:
            answer = await self.post("Task/Detail", {"tasktoken": token})
            if answer["tasklist"] and answer["tasklist"][0]["status"] in statuses:
                task: dict[str, Any] = answer["tasklist"][0]
                return task
            await asyncio.sleep(0.005)

    async def ended(self, token: str) -> dict[str, Any]:
        return await self.reached(token, "task_postprocess_end", "task_cancel")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition that the emulator's thread changes."""
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    def socket(self) -> connect:
        return connect(self.emulator.socket_url, open_timeout=5)

    async def register(self, socket: ClientConnection, *tokens: str) -> None:
        """Register tokens, and wait until the server has received them."""
        for token in tokens:
            await socket.send(json.dumps({"type": "task_info", "tasktoken": token}))
        await self.until(lambda: self._knows(socket, tokens))

    def _knows(self, socket: ClientConnection, tokens: tuple[str, ...]) -> bool:
        known = {token for record in self.emulator.ledger.sockets for token in record.tokens}
        return set(tokens) <= known or socket.state is not State.OPEN

    async def messages(self, socket: ClientConnection) -> list[dict[str, Any]]:
        """Return the messages up to the end of a task, without the welcome."""
        received: list[dict[str, Any]] = []
        async for text in socket:
            received.append(json.loads(text))
            if received[-1]["type"] in ("task_postprocess_end", "task_cancel"):
                break
        return [message for message in received if message["type"] != "connected"]

    async def follow(self, model: str, **parameters: Any) -> list[dict[str, Any]]:
        """Start a run, and return its messages."""
        async with self.socket() as socket:
            await self.register(socket, await self.run(model, **parameters))
            return await self.messages(socket)


@pytest.fixture
def emulator() -> Iterator[WiroEmulator]:
    """A new emulator at twenty times the speed that requires only the key."""
    with WiroEmulator(api_secret=None, speed=20) as running:
        yield running


@pytest_asyncio.fixture
async def api(emulator: WiroEmulator) -> AsyncIterator[Api]:
    """A client of the emulator."""
    headers = {"user-agent": "emulator-tests", "x-api-key": "emulator-key"}
    async with httpx.AsyncClient(verify=False, trust_env=False, headers=headers, timeout=5) as http:
        yield Api(emulator, http)
