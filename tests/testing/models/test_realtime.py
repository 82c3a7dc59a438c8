"""The realtime models: an echo, a tone and a counter."""

import json
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError

from wiro_async.testing import DropAfterAudio, tone

if TYPE_CHECKING:
    from tests.testing.conftest import Api


async def _until(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        frame = await socket.recv()
        message: dict[str, Any] = json.loads(frame) if isinstance(frame, str) else {"type": "audio"}
        if message["type"] == kind:
            return message


async def test_a_session(api: "Api") -> None:
    """Frames come back, five of them are a turn, and the client ends the session."""
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
    """A closed connection ends the session, even before it is ready."""
    async with api.socket() as socket:
        token = await api.run("echo", seconds=5)
        await api.register(socket, token)
    assert (await api.ended(token))["pexit"] == "0"


async def test_a_tone(api: "Api") -> None:
    """It speaks its prompt and sends the transcript. Then it ends, or waits for the end."""
    async with api.socket() as socket:
        token = await api.run("tone", prompt="la la", seconds=5)
        await api.register(socket, token)
        await _until(socket, "task_stream_ready")
        audio = bytearray()
        while isinstance(frame := await socket.recv(), bytes):
            assert frame.startswith(token.encode() + b"|")
            audio += frame.partition(b"|")[2]
        assert audio == tone("la la")
        assert json.loads(frame)["message"] == "TRANSCRIPT_AI:la la"
        await _until(socket, "task_postprocess_end")
        token = await api.run("tone", prompt="la la", stay=True, seconds=5)
        await api.register(socket, token)
        await _until(socket, "task_stream_ready")
        await socket.send(json.dumps({"type": "task_session_interrupt", "tasktoken": token}))
        await _until(socket, "task_stream_end")
        assert (await api.detail(token))["status"] not in ("task_end", "task_postprocess_end")
        await socket.send(json.dumps({"type": "task_session_end", "tasktoken": token}))
        await _until(socket, "task_postprocess_end")


async def test_counting(api: "Api") -> None:
    """It reports every second of audio, and the rest at the end. Early audio is lost."""
    async with api.socket() as socket:
        token = await api.run("counting", seconds=5)
        await api.register(socket, token)
        prefix = token.encode() + b"|"
        await socket.send(prefix + bytes(9600))
        await _until(socket, "task_stream_ready")
        for _ in range(6):
            await socket.send(prefix + bytes(9600))
        await socket.send(json.dumps({"type": "task_session_end", "tasktoken": token}))
        transcripts = [(await _until(socket, "task_output"))["message"] for _ in range(2)]
        assert transcripts == ["TRANSCRIPT_USER:24000 samples", "TRANSCRIPT_USER:28800 samples"]
        await _until(socket, "task_postprocess_end")
    assert api.emulator.ledger.sockets[-1].heard == [9600] * 7
    assert api.emulator.ledger.sockets[-1].asked == ["task_info", "task_session_end"]


async def test_a_late_registration_receives_everything(api: "Api") -> None:
    """A voice begins when the session is ready and a client has registered."""
    token = await api.run("tone", prompt="hello")
    await api.reached(token, "task_stream_ready")
    async with api.socket() as socket:
        await api.register(socket, token)
        assert (await _until(socket, "audio"))["type"] == "audio"
        await _until(socket, "task_postprocess_end")


async def test_a_drop_during_a_session(api: "Api") -> None:
    """The connection is dropped after some frames, and the session ends."""
    api.emulator.faults.socket(DropAfterAudio(2))
    token = await api.run("tone", prompt="a longer text", seconds=5)
    frames = 0
    async with api.socket() as socket:
        await api.register(socket, token)
        try:
            while True:
                frames += isinstance(await socket.recv(), bytes)
        except ConnectionClosedError:
            pass
    assert frames == 2
    assert (await api.ended(token))["pexit"] == "0"
