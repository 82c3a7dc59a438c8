"""Sockets that misbehave: closed at once, dead for a while, or full of audio."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, NoReturn

import attrs
import pytest

from wiro_async import AsyncWiro, Tuning
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.tracking.socket_feed import SocketFeed
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._transport import clock
from wiro_async.testing import CloseAfterTask, HalfOpen, MuteAfter, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until
    from tests.engine.tracking.conftest import NewRecord
    from wiro_async.testing import Connection, Forward, Outgoing

SHORT = {"seconds": 5, "events": 9}


@attrs.frozen
class ReplayAndClose:
    """Repeat a message about a task as soon as there is one, and close."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Replace the first message."""

        def send(message: Outgoing) -> None:
            if message.ordinal >= 0:
                body = {**json.loads(message.payload), "type": "task_output", "message": "again"}
                forward(attrs.evolve(message, type="task_output", payload=json.dumps(body).encode()))
                connection.close()

        return send


async def test_a_socket_that_closes_at_once_backs_off(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The messages before the close do not reset the backoff."""
    emulator.faults.socket(ReplayAndClose())
    assert (await wiro.run("emulator/sleeper", {"seconds": 75, "events": 300})).succeeded
    assert len(emulator.ledger.sockets) <= 15


@pytest.mark.tuning(socket_backoff=0.05)
async def test_a_socket_that_is_closed_after_each_task_is_opened_at_once(
    emulator: WiroEmulator, wiro: AsyncWiro
) -> None:
    """It has done its work, so the backoff does not grow. Each task gets one socket."""
    emulator.faults.socket(CloseAfterTask())
    began = clock.loop_time()
    for _ in range(12):
        assert (await wiro.run("emulator/sleeper", SHORT)).succeeded
    assert clock.loop_time() - began < 12 * (5 / 50 + 3 * 0.05 + 0.3)  # with a growing backoff it is at least 25 s


async def test_a_dead_socket_says_nothing_about_sharing(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """A socket that is silent about all tasks does not prove that it serves one task only."""
    emulator.faults.socket(HalfOpen(1), times=1)
    await asyncio.gather(*(wiro.run("emulator/sleeper", {"seconds": 50, "n": n}) for n in range(6)))
    before = len(emulator.ledger.sockets)
    await asyncio.gather(*(wiro.run("emulator/sleeper", {"seconds": 50, "n": n}) for n in range(6)))
    assert len(emulator.ledger.sockets) - before <= 1


@pytest.mark.tuning(unshared_seconds=0.5)
async def test_sharing_is_tried_again(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The service may serve several tasks on one socket again after some time."""
    emulator.faults.socket(MuteAfter(1))
    await asyncio.gather(*(wiro.run("emulator/sleeper", {"seconds": 50, "n": n}) for n in range(5)))
    assert any(len(record.tokens) == 1 for record in emulator.ledger.sockets)
    emulator.faults.clear()
    await asyncio.sleep(0.6)
    before = len(emulator.ledger.sockets)
    await asyncio.gather(*(wiro.run("emulator/sleeper", {"seconds": 50, "n": n}) for n in range(20)))
    assert len(emulator.ledger.sockets) - before <= 2


async def test_audio_is_a_sign_of_life(new_record: NewRecord) -> None:
    """Binary frames begin with the token of their task. Frames of unknown tasks are ignored."""
    task = new_record()

    def connect() -> NoReturn:
        raise AssertionError

    def route(token: str, task_id: str) -> TrackedTask | None:
        return task if token == "token" else None

    background = BackgroundTasks(_nothing, _nothing)
    feed = SocketFeed(background, Tuning(), connect, 1, route, TrackedTask.apply, TrackedTask.feed_closed)
    await asyncio.sleep(0.01)
    before = task.last_sign
    assert feed.deliver(b"nobody|" + bytes(9600)) is None
    assert feed.deliver(bytes(9600)) is None
    assert task.last_sign == before
    assert not task.schedule.was_heard
    assert feed.deliver(b"token|" + b"\xff\xfe|" * 100) == (task, "nothing")
    assert task.last_sign > before
    assert task.schedule.was_heard


async def _nothing() -> None:
    pass
