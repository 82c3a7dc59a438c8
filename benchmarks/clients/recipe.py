"""The usual recipe: httpx with its defaults, and a WebSocket for every task."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from websockets.asyncio.client import connect

from harness import OVER, Run, headers

SOCKET_TIMEOUT = 5.0


@asynccontextmanager
async def client(options: dict[str, Any]) -> AsyncGenerator[Run]:
    async with httpx.AsyncClient(headers=headers(options)) as http:

        async def call(endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
            response = await http.post(f"{options['base_url']}/{endpoint}", json=body)
            answer: dict[str, Any] = response.json()
            assert answer["result"] is True, answer
            return answer

        async def run(model: str, input: dict[str, Any]) -> dict[str, Any]:
            token = (await call(f"Run/{model}", input))["socketaccesstoken"]
            with suppress(TimeoutError):  # a WebSocket that opens after the end of the task receives nothing
                async with asyncio.timeout(SOCKET_TIMEOUT), connect(options["socket_url"]) as socket:
                    await socket.send(json.dumps({"type": "task_info", "tasktoken": token}))
                    async for text in socket:
                        if json.loads(text)["type"] in OVER:
                            break
            while True:
                task: dict[str, Any] = (await call("Task/Detail", {"tasktoken": token}))["tasklist"][0]
                if task["status"] in OVER:
                    assert task["pexit"] == "0", task
                    return task
                await asyncio.sleep(0.5)

        yield run
