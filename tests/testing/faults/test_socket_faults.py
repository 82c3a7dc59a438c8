"""Faults of connections."""

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatus

from wiro_async.testing import (
    CloseAfterTask,
    DelayMessages,
    DropAfter,
    Duplicate,
    HalfOpen,
    Mute,
    MuteAfter,
    NoWelcome,
    RefuseUpgrade,
    Reorder,
    Rubbish,
    SocketFault,
    WiroEmulator,
)

if TYPE_CHECKING:
    from tests.testing.conftest import Api

SECONDS = 4


async def _receive(api: "Api", socket: ClientConnection) -> list[str]:
    """Return the types of all messages until the connection ends."""
    kinds = [json.loads(await socket.recv())["type"]]
    try:
        await api.register(socket, await api.run("sleeper", seconds=SECONDS))
        while True:
            kinds.append(json.loads(await socket.recv())["type"])
    except ConnectionClosed:
        return kinds


async def _quiet(socket: ClientConnection, seconds: float = 0.05) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await socket.recv()
    except TimeoutError:
        return True
    return False


async def test_refused_upgrades(api: "Api", emulator: WiroEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """The handshake fails as often as requested, and the server logs nothing."""
    emulator.faults.socket(RefuseUpgrade(), times=1)
    emulator.faults.socket(RefuseUpgrade(503), times=1, after=1)
    for status in ("403", "503"):
        with pytest.raises(InvalidStatus, match=status):
            await api.socket()
    async with api.socket() as socket:
        assert "connected" in str(await socket.recv())
    assert len(emulator.ledger.sockets) == 1
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


async def test_no_welcome(api: "Api", emulator: WiroEmulator) -> None:
    """All messages but the first one arrive."""
    emulator.faults.socket(NoWelcome())
    async with api.socket() as socket:
        assert await _quiet(socket)
        await api.register(socket, await api.run("sleeper", seconds=SECONDS))
        assert len(await api.messages(socket)) > 2


async def test_mute(api: "Api", emulator: WiroEmulator) -> None:
    """The connection replies to pings, but sends no messages of tasks."""
    emulator.faults.socket(Mute())
    async with api.socket() as socket:
        assert "connected" in str(await socket.recv())
        token = await api.run("sleeper", seconds=2)
        await api.register(socket, token)
        await api.ended(token)
        await (await socket.ping())
        assert await _quiet(socket)


async def test_mute_after(api: "Api", emulator: WiroEmulator) -> None:
    """The first registered task sends messages, the second one does not."""
    emulator.faults.socket(MuteAfter(1))
    async with api.socket() as socket:
        first, second = await api.run("sleeper", seconds=SECONDS), await api.run("sleeper", seconds=SECONDS)
        await api.register(socket, first, second)
        received = await api.messages(socket)
        await api.ended(second)
        assert {message["id"] for message in received} == {emulator.ledger.submissions[0].task_id}
        assert await _quiet(socket)


@pytest.mark.parametrize("messages", [0, 3])
async def test_drop_after(api: "Api", emulator: WiroEmulator, messages: int) -> None:
    """The connection ends without a closing handshake."""
    emulator.faults.socket(DropAfter(messages))
    async with api.socket() as socket:
        kinds = await _receive(api, socket)
        assert len(kinds) == 1 + messages
        with pytest.raises(ConnectionClosedError):
            await socket.recv()


@pytest.mark.parametrize("after", [0, 2])
async def test_half_open(api: "Api", emulator: WiroEmulator, after: int) -> None:
    """The connection stays open without messages and without a pong."""
    emulator.faults.socket(HalfOpen(after))
    async with api.socket() as socket:
        token = await api.run("sleeper", seconds=SECONDS)
        await socket.send(json.dumps({"type": "task_info", "tasktoken": token}))
        for _ in range(1 + after):
            await socket.recv()
        pong = asyncio.ensure_future(await socket.ping())
        assert await _quiet(socket, 0.1)
        assert not pong.done()
        assert len(emulator.ledger.open_sockets) == 1
        socket.transport.abort()


async def test_close_after_task(api: "Api", emulator: WiroEmulator) -> None:
    """The server closes the connection when a task is over."""
    emulator.faults.socket(CloseAfterTask())
    async with api.socket() as socket:
        assert (await _receive(api, socket))[-1] == "task_postprocess_end"
        with pytest.raises(ConnectionClosedOK):
            await socket.recv()


async def test_duplicate(api: "Api", emulator: WiroEmulator) -> None:
    """Every message arrives twice."""
    emulator.faults.socket(CloseAfterTask())
    emulator.faults.socket(Duplicate())
    async with api.socket() as socket:
        kinds = await _receive(api, socket)
    assert kinds[0::2] == kinds[1::2]
    assert len(kinds) > 10


async def test_reorder(api: "Api", emulator: WiroEmulator) -> None:
    """Neighbours are swapped, and the last message is not lost."""
    emulator.faults.socket(Reorder(patience=0.3))
    async with api.socket() as socket:
        token = await api.run("sleeper", seconds=SECONDS, events=9)
        await api.register(socket, token)
        kinds = [message["type"] for message in await api.messages(socket)]
        stages = [kind for kind in kinds if kind != "connected"]
        assert stages.index("task_assign") != stages.index("task_preprocess_end") + 1
        assert "task_postprocess_end" in kinds


async def test_delayed_messages(api: "Api", emulator: WiroEmulator) -> None:
    """Every message is late."""
    emulator.faults.socket(DelayMessages(0.1))
    began = time.perf_counter()
    async with api.socket() as socket:
        await socket.recv()
        assert time.perf_counter() - began >= 0.1


async def test_rubbish(api: "Api", emulator: WiroEmulator) -> None:
    """Rubbish arrives between the real messages."""
    emulator.faults.socket(Rubbish())
    good, bad = 0, 0
    async with api.socket() as socket:
        await api.register(socket, await api.run("sleeper", seconds=SECONDS))
        async for text in socket:
            try:
                message = json.loads(text)
            except json.JSONDecodeError:
                bad += 1
                continue
            if isinstance(message, dict) and message.get("type") == "task_postprocess_end":
                break
            good += isinstance(message, dict) and "result" in message
            bad += not isinstance(message, dict)
    assert good > 8
    assert bad > 4


@pytest.mark.parametrize("fault", [HalfOpen(), Reorder(), DropAfter(1)])
async def test_faults_hit_connections_in_turn(api: "Api", emulator: WiroEmulator, fault: SocketFault) -> None:
    """`times` counts connections. The next one works."""
    emulator.faults.socket(fault, times=1)
    async with api.socket() as broken, api.socket() as working:
        await api.register(working, await api.run("sleeper", seconds=SECONDS))
        assert (await api.messages(working))[-1]["type"] == "task_postprocess_end"
        broken.transport.abort()
