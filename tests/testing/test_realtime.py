"""`emulator/echo`: audio in, audio out."""

import json
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection

if TYPE_CHECKING:
    from tests.testing.conftest import Api


async def _until(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        frame = await socket.recv()
        message: dict[str, Any] = json.loads(frame) if isinstance(frame, str) else {"type": "audio"}
        if message["type"] == kind:
            return message


async def test_a_session(api: "Api") -> None:
    """Chunks come back, a turn is five of them, and the session ends when the client says so."""
    async with api.socket() as socket:
        token = await api.run("echo", seconds=5)
        await api.register(socket, token)
        await _until(socket, "task_stream_ready")
        chunk = token.encode() + b"|" + b"\x01\x02" * 4800
        for _ in range(5):
            await socket.send(chunk)
            assert await socket.recv() == chunk
        assert (await _until(socket, "task_output"))["message"].startswith("TRANSCRIPT_USER:")
        assert (await _until(socket, "task_output"))["message"].startswith("TRANSCRIPT_AI:")
        await _until(socket, "task_stream_end")
        cost = await _until(socket, "task_cost")
        assert (cost["turnCost"], cost["cumulativeCost"], cost["usage"]["total_tokens"]) == (
            "0.002",
            "0.002",
            20,
        )
        for kind in ("task_session_interrupt", "task_session_end", "task_session_end"):
            await socket.send(json.dumps({"type": kind, "tasktoken": token}))
        await _until(socket, "task_stream_end")
        await socket.send(chunk)
        await _until(socket, "task_postprocess_end")
    assert (await api.detail(token))["totalcost"] == "0.002000000000"


async def test_a_dropped_socket_ends_the_session(api: "Api") -> None:
    """Nobody there, nobody to talk to: even before the session was ready."""
    async with api.socket() as socket:
        token = await api.run("echo", seconds=5)
        await api.register(socket, token)
    assert (await api.ended(token))["pexit"] == "0"
