"""The usual recipe: httpx with its defaults, and a websocket for every task."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from websockets.asyncio.client import connect

Run = Callable[[str, dict[str, Any]], Awaitable[Any]]
OVER = ("task_postprocess_end", "task_cancel")
PATIENCE = 5.0


@asynccontextmanager
async def client(options: dict[str, Any]) -> AsyncGenerator[Run]:
    """A function that runs a model to its end."""
    headers = {"x-api-key": options["api_key"], "user-agent": "benchmark"}
    async with httpx.AsyncClient(headers=headers) as http:

        async def call(endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
            response = await http.post(f"{options['base_url']}/{endpoint}", json=body)
            answer: dict[str, Any] = response.json()
            assert answer["result"] is True, answer
            return answer

        async def run(model: str, input: dict[str, Any]) -> dict[str, Any]:
            token = (await call(f"Run/{model}", input))["socketaccesstoken"]
            with suppress(TimeoutError):  # a socket that opens after the end never hears of it
                async with asyncio.timeout(PATIENCE), connect(options["socket_url"]) as socket:
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
