"""A web app whose visitor leaves: the task behind the page is stopped, not left to run and be billed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from wiro_async import AsyncWiro
from wiro_async.testing import WiroEmulator


async def text_page(request: Request) -> Response:
    """Stream an answer."""
    wiro: AsyncWiro = request.app.state.wiro

    async def chunks() -> AsyncIterator[str]:
        async with wiro.stream("emulator/writer", {"prompt": "tides", "seconds": 200}) as stream:
            async for delta in stream:
                yield getattr(delta, "text", "")

    return StreamingResponse(chunks(), media_type="text/plain")


async def waiting_page(request: Request) -> Response:
    """A page that starts at once and ends with the run."""
    wiro: AsyncWiro = request.app.state.wiro

    async def chunks() -> AsyncIterator[str]:
        yield "please wait\n"
        await wiro.run("emulator/stuck")
        yield "done\n"

    return StreamingResponse(chunks(), media_type="text/plain")


@asynccontextmanager
async def serving(wiro: AsyncWiro) -> AsyncGenerator[int]:
    """Serve the app, and yield its port."""
    app = Starlette(routes=[Route("/text", text_page), Route("/wait", waiting_page)])
    app.state.wiro = wiro
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    serve = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await serve
        listening.close()


@pytest.mark.parametrize("path", ["/text", "/wait"])
async def test_closing_the_connection_stops_the_task(path: str, until: Callable[..., Awaitable[None]]) -> None:
    """The remote task is killed within 6 s."""
    async with WiroEmulator(speed=20) as emulator, AsyncWiro(**emulator.options()) as wiro, serving(wiro) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: app\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(1)
        await until(lambda: emulator.ledger.submissions)
        writer.close()
        task_id = emulator.ledger.submissions[0].task_id
        await until(lambda: emulator.ledger.tasks[task_id].status == "task_cancel", seconds=6)
        assert len(emulator.ledger.submissions) == 1
