"""The socket: registration, both generations, many tasks on one connection."""

import asyncio
import json
from typing import TYPE_CHECKING, Literal

import pytest
from websockets.exceptions import InvalidStatus

from wiro_async.testing import WiroEmulator

if TYPE_CHECKING:
    from tests.testing.conftest import Api

ORDER = ["task_start", "task_output", "task_output_full", "task_end", "task_postprocess_end"]


@pytest.fixture
def slow() -> float:
    """Seconds of a run that is long enough to be registered in time."""
    return 4.0


async def test_welcome(api: "Api", emulator: WiroEmulator) -> None:
    """The server sends the first message. The ledger records the connection and its end."""
    async with api.socket() as socket:
        assert json.loads(await socket.recv()) == {"type": "connected", "version": "1.0"}
        assert len(emulator.ledger.open_sockets) == 1
        await api.register(socket, "unknown:token")
        [record] = emulator.ledger.sockets
        assert (record.tokens, record.messages) == (["unknown:token"], 1)
        emulator.ledger.clear()
        assert emulator.ledger.sockets == [record]
    await api.post("Tool/Explore")
    assert emulator.ledger.open_sockets == []


async def test_generations_alternate(api: "Api", slow: float) -> None:
    """Older messages have the token. Newer ones have only the id, and some have the exit code."""
    followed = await asyncio.gather(*(api.follow("sleeper", seconds=slow) for _ in range(4)))
    runs = sorted(followed, key=lambda received: int(received[0]["id"]))
    for received in runs:
        kinds = [message["type"] for message in received]
        assert [kind for kind in kinds if kind in ORDER and kinds.count(kind) == 1] == [
            kind for kind in ORDER if kinds.count(kind) == 1
        ]
        assert all(message["result"] is True and message["id"].isdecimal() for message in received)
        assert received[-1]["message"][0]["name"] == "slept.txt"
    assert ["tasktoken" in received[0] for received in runs] == [True, False, True, False]
    endings = [received[-1].get("exitCode", "unsaid") for received in runs]
    assert endings == ["unsaid", 0, "unsaid", "unsaid"]
    assert runs[1][-1]["success"] is runs[1][-1]["terminal"] is True
    progress = [next(m["message"] for m in received if m["type"] == "task_output") for received in runs[:2]]
    assert json.loads(progress[0])["type"] == progress[1]["type"] == "progressGenerate"


@pytest.mark.parametrize("generation", ["older", "newer"])
async def test_one_generation(api: "Api", slow: float, generation: Literal["older", "newer"]) -> None:
    """An emulator can use one generation for all tasks."""
    with WiroEmulator(api_secret=None, speed=20, generation=generation) as emulator:
        one = type(api)(emulator, api.http)
        for _ in range(2):
            received = await one.follow("sleeper", seconds=slow)
            assert all(("tasktoken" in message) == (generation == "older") for message in received)


async def test_many_tasks_share_a_socket(api: "Api", slow: float) -> None:
    """Each registered task sends messages. Registering twice changes nothing. Rubbish is ignored."""
    async with api.socket() as socket:
        for rubbish in ("{", "[1]", '{"type":"dance"}', b"audio without a bar", b"nobody|audio"):
            await socket.send(rubbish)
        tokens: list[str] = []
        for _ in range(5):
            tokens.append(await api.run("sleeper", seconds=slow))
            await api.register(socket, tokens[-1], tokens[0])
        ended: list[str] = []
        while len(ended) < len(tokens):
            ended.append((await api.messages(socket))[-1]["id"])
    assert sorted(ended) == sorted(task.id for task in api.emulator.ledger.tasks.values())


async def test_a_late_registration_receives_only_new_messages(api: "Api") -> None:
    """There is no replay, neither during a run nor after it."""
    token = await api.run("sleeper", seconds=40)
    await api.reached(token, "task_output")
    async with api.socket() as socket:
        await api.register(socket, token)
        received = await api.messages(socket)
        assert "task_start" not in [message["type"] for message in received]
        await api.register(socket, token)
    assert api.emulator.ledger.sockets[0].messages == len(received) + 1


async def test_cancelled_and_failed_runs(api: "Api", slow: float) -> None:
    """A kill sends task_cancel. A failure sends a line of task_error and the usual end."""
    async with api.socket() as socket:
        token = await api.run("stuck")
        await api.register(socket, token)
        task = await api.reached(token, "task_start")
        await api.post("Task/Kill", {"taskid": task["id"]})
        assert (await api.messages(socket))[-1]["type"] == "task_cancel"
    received = await api.follow("failing", seconds=slow)
    [line] = [message for message in received if message["type"] == "task_error"]
    assert line["message"] == "CUDA out of memory."
    assert received[-1]["type"] == "task_postprocess_end"


async def test_a_newer_cancel_has_an_outcome(api: "Api") -> None:
    """In newer messages with an outcome, a killed task has no exit code."""
    with WiroEmulator(api_secret=None, generation="newer") as emulator:
        one = type(api)(emulator, api.http)
        async with one.socket() as socket:
            token = await one.run("queued")
            await one.register(socket, token)
            await one.post("Task/Cancel", {"taskid": (await one.detail(token))["id"]})
            last = (await one.messages(socket))[-1]
    assert (last["success"], last["terminal"], last["exitCode"]) == (False, True, None)


async def test_other_paths_are_no_socket(api: "Api", emulator: WiroEmulator) -> None:
    """The socket has only one path."""
    from websockets.asyncio.client import connect

    with pytest.raises(InvalidStatus, match="404"):
        await connect(emulator.socket_url + "/elsewhere")
