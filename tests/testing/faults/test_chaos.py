"""Seeded chaos: repeatable, of all kinds, and survivable."""

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
from websockets.exceptions import WebSocketException

from wiro_async.testing import ChaosPlan, HttpFault, Quirks, WiroEmulator

if TYPE_CHECKING:
    from tests.testing.conftest import Api


def _draws(seed: int, rate: float) -> list[HttpFault | None]:
    plan = ChaosPlan(seed, rate)
    return [plan.http(endpoint) for _ in range(200) for endpoint in ("Run/a/b", "files/key/x.png")]


def test_the_seed_decides() -> None:
    """Equal seeds draw equal faults, independent of other endpoints."""
    assert _draws(1, 0.5) == _draws(1, 0.5)
    assert _draws(1, 0.5) != _draws(2, 0.5)
    alone = ChaosPlan(1, 0.5)
    assert [alone.http("Run/a/b") for _ in range(200)] == _draws(1, 0.5)[::2]


def test_every_kind_is_drawn() -> None:
    """At full rate each request and connection is hit, and every kind of fault occurs."""
    faults = [fault for fault in _draws(3, 1.0) if fault]
    assert len(faults) == 400
    kinds = {type(fault).__name__ for fault in faults}
    assert kinds == {"Respond", "ResetBefore", "ResetAfter", "Delay", "DelayAnswer", "Cut"}
    plan = ChaosPlan(3, 1.0)
    drawn = {type(fault).__name__ for _ in range(100) for fault in plan.socket()}
    assert drawn == {
        "CloseAfterTask",
        "DropAfter",
        "HalfOpen",
        "Jitter",
        "MuteAfter",
        "NoWelcome",
        "RefuseUpgrade",
    }
    assert plan.quirks(1, Quirks(detail_lag=9)) == ChaosPlan(3, 1.0).quirks(1, Quirks(detail_lag=9))
    assert plan.quirks(1, Quirks(detail_lag=9)).stored_error is True
    assert plan.quirks(1, Quirks(detail_lag=9)).detail_lag == 9


async def test_a_client_that_retries_succeeds(api: "Api", emulator: WiroEmulator) -> None:
    """With faults in 30 % of everything, a client that retries reaches the end of each task."""
    emulator.faults.random(7, rate=0.3)
    tokens: list[str] = []
    while len(tokens) < 10:
        with suppress(httpx.TransportError, ValueError):
            answer = await api.post("Run/emulator/sleeper", {"seconds": 0.2})
            tokens += [answer["socketaccesstoken"]] if answer.get("result") else []
    for token in tokens:
        status = ""
        while status != "task_postprocess_end":
            with suppress(httpx.TransportError, ValueError, IndexError, KeyError):
                status = (await api.detail(token))["status"]


async def test_every_message_can_be_hit(api: "Api", emulator: WiroEmulator) -> None:
    """Messages are lost, duplicated, late, swapped or follow rubbish. The others still arrive."""
    token = await api.run("sleeper", seconds=8)
    emulator.faults.random(11, rate=0.9)
    received: list[str] = []

    async def listen() -> None:
        with suppress(WebSocketException):
            async with api.socket() as socket:
                await socket.send(json.dumps({"type": "task_info", "tasktoken": token}))
                while True:
                    received.append(await socket.recv(decode=True))

    listeners = [asyncio.create_task(listen()) for _ in range(12)]
    await asyncio.wait(listeners, timeout=0.5)
    emulator.stop()
    await asyncio.wait(listeners)
    known = [text for text in received if '"result":true' in text]
    assert known
    assert len(known) < len(received)
