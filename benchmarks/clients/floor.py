"""The floor: the least code for this one job, with aiohttp and one WebSocket for all tasks.

It has no signatures, retries, timeouts, polling, typed events or cancellation. It is here to compare with.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from harness import OVER, Run, headers

SILENCE = 2.0


class Client:
    """HTTP calls, and the futures of the tasks that are followed."""

    def __init__(
        self, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse, options: dict[str, Any]
    ) -> None:
        self.http = http
        self.socket = socket
        self.base_url = options["base_url"]
        self.headers = headers(options)
        self.waiting: dict[str, asyncio.Future[None]] = {}

    async def run(self, model: str, input: dict[str, Any]) -> dict[str, Any]:
        submitted = await self.call(f"Run/{model}", input)
        token, task_id = submitted["socketaccesstoken"], submitted["taskid"]
        over = self.waiting[token] = self.waiting[task_id] = asyncio.get_running_loop().create_future()
        await self.socket.send_str(json.dumps({"type": "task_info", "tasktoken": token}))
        await over
        del self.waiting[token], self.waiting[task_id]
        while True:
            task: dict[str, Any] = (await self.call("Task/Detail", {"tasktoken": token}))["tasklist"][0]
            if task["status"] in OVER:
                assert task["pexit"] == "0", task
                return task
            await asyncio.sleep(0.5)

    async def call(self, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self.http.post(f"{self.base_url}/{endpoint}", json=body, headers=self.headers) as response:
            answer: dict[str, Any] = await response.json()
        assert answer["result"] is True, answer
        return answer

    async def read(self) -> None:
        async for frame in self.socket:
            message = json.loads(frame.data)
            if message["type"] in OVER:
                over = self.waiting.get(message.get("tasktoken") or message["id"])
                if over is not None and not over.done():
                    over.set_result(None)

    async def sweep(self) -> None:
        """Poll for tasks that were silent for long: one that ended before its registration sends no message."""
        old: set[asyncio.Future[None]] = set()
        while True:
            await asyncio.sleep(SILENCE)
            now = set(self.waiting.values())
            for over in old & now:
                if not over.done():
                    over.set_result(None)
            old = now


@asynccontextmanager
async def client(options: dict[str, Any]) -> AsyncGenerator[Run]:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        http.ws_connect(options["socket_url"]) as socket,
    ):
        floor = Client(http, socket, options)
        background = [asyncio.create_task(floor.read()), asyncio.create_task(floor.sweep())]
        yield floor.run
        for task in background:
            task.cancel()
