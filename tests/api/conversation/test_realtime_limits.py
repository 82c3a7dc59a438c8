"""Timeouts and ends of realtime sessions, whatever their callers are doing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import TYPE_CHECKING

import anyio
import pytest

from wiro_async import (
    AsyncWiro,
    AudioChunk,
    RealtimeClosedError,
    RealtimeSession,
    TaskEvent,
    TaskFailedError,
    TaskTimeoutError,
    Timeouts,
    Tuning,
    TurnEnded,
)
from wiro_async.testing import OPENING, ModelScript, Script, Step, Voice, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until

ECHO = "emulator/echo"
MINUTE = bytes(60 * 48_000)


class Brief(Voice):
    """Ends the session at the first audio, and has a cost."""

    def hear(self, pcm: bytes) -> None:
        """End the session."""
        self.line.end_turn(Decimal("0.02"))
        self.line.finish()


def brief(slug: str, exit_code: str = "0") -> ModelScript:
    """A model with that voice."""
    steps = (*(Step(stage) for stage in OPENING), Step("task_stream_ready", after=0.5, stored=True))
    return ModelScript(slug, lambda given: Script(steps, exit_code=exit_code, cost=Decimal(0), realtime=Brief))


async def silence() -> AsyncIterator[bytes]:
    """A microphone that gives one frame, then nothing."""
    yield bytes(9600)
    await anyio.sleep_forever()


async def test_an_end_does_not_wait_for_paced_audio(wiro: AsyncWiro) -> None:
    """Audio that was not sent is dropped, its sender gets an error, and the session ends at once."""
    async with wiro.realtime(ECHO) as session:
        sending = asyncio.create_task(session.send_audio(MINUTE, pace=True))
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(20):
            await session.end()
        with pytest.raises(RealtimeClosedError, match="takes no more audio") as caught:
            await sending
        assert not caught.value.lost
        assert caught.value.sent < len(MINUTE)
        assert (await session.result()).succeeded


@pytest.mark.parametrize("pace", [True, False])
async def test_a_timeout_while_only_sending(wiro: AsyncWiro, emulator: WiroEmulator, pace: bool) -> None:
    """The sender gets the timeout, and so does every later call."""

    async def talk(session: RealtimeSession) -> None:
        while True:
            await session.send_audio(MINUTE if pace else bytes(9600), pace=pace)
            await asyncio.sleep(0.01)

    async with wiro.realtime(ECHO, timeout=0.5) as session:
        with pytest.raises(TaskTimeoutError) as caught, anyio.fail_after(20):
            await talk(session)
        assert caught.value.phase == "run"
        with pytest.raises(TaskTimeoutError):
            await session.end()
        with pytest.raises(TaskTimeoutError):
            async for _ in session:
                pass
    assert all(task.status in ("task_cancel", "task_postprocess_end") for task in emulator.ledger.tasks.values())


async def test_a_timeout_ends_the_session(wiro: AsyncWiro, emulator: WiroEmulator, until: Until) -> None:
    """It does not go on, and cost money, until its caller leaves it."""
    async with wiro.realtime(ECHO, timeout=0.5) as session:
        with pytest.raises(TaskTimeoutError):
            async for _ in session:
                pass
        await until(lambda: [task.status for task in emulator.ledger.tasks.values()] == ["task_postprocess_end"])
        with pytest.raises(TaskTimeoutError):
            await session.result()


async def test_a_timeout_while_a_source_is_silent(wiro: AsyncWiro) -> None:
    """The timeout does not wait for the source."""
    async with wiro.realtime(ECHO, timeout=0.5) as session:
        with pytest.raises(TaskTimeoutError), anyio.fail_after(20):
            await session.send_stream(silence())


async def test_a_timeout_while_audio_pours_in(wiro: AsyncWiro) -> None:
    """A reader that always has something to read gets the timeout, after what came before it."""
    async with wiro.realtime(ECHO, timeout=Timeouts(run=0.5)) as session:

        async def talk() -> None:
            with contextlib.suppress(TaskTimeoutError):
                while True:
                    await session.send_audio(bytes(9600))
                    await asyncio.sleep(0.001)

        async def read() -> None:
            async for _ in session:
                await asyncio.sleep(0.002)

        async with anyio.create_task_group() as group:
            group.start_soon(talk)
            with pytest.raises(TaskTimeoutError), anyio.fail_after(20):
                await read()


async def test_a_silent_source_when_the_session_ends(short_timing: Tuning) -> None:
    """`send_stream` returns although the source is silent, and closes it."""
    closed = False

    async def source() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            async for pcm in silence():
                yield pcm
        finally:
            closed = True

    with WiroEmulator(speed=50, models=[brief("my/brief")]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro, wiro.realtime("my/brief") as session:
            with anyio.fail_after(20):
                await session.send_stream(source())
            assert session.is_over
    assert closed


async def test_a_silent_source_when_the_session_is_ended(wiro: AsyncWiro) -> None:
    """`send_stream` returns, and the loop over `transcripts` ends."""
    async with wiro.realtime(ECHO) as session, anyio.create_task_group() as group:
        group.start_soon(session.send_stream, silence())
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(20):
            await session.end()
    async with wiro.realtime(ECHO) as session:
        words = session.transcripts(silence())
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(20):
            await session.end()
            assert [said async for said in words] == session.transcript


async def test_a_failed_session_costs_nothing(short_timing: Tuning) -> None:
    """A failed session costs nothing, whatever costs were reported while it ran."""
    with WiroEmulator(speed=50, models=[brief("my/failing", exit_code="1")]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro, wiro.realtime("my/failing") as session:
            await session.send_audio(bytes(9600))
            with pytest.raises(TaskFailedError):
                async for _ in session:
                    pass
            assert session.cost == Decimal(0)
            with pytest.raises(RealtimeClosedError) as caught:
                await session.send_audio(bytes(9600))
            assert caught.value.cost == Decimal(0)


async def test_leaving_sends_the_rest(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Audio that fills no frame is sent before the end."""
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(bytes(9600 + 1000))
    assert emulator.ledger.sockets[-1].heard == [9600, 1000]
    assert emulator.ledger.sockets[-1].asked[-1] == "task_session_end"


async def test_leaving_while_paced_audio_is_sent(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Leaving does not wait for it, and the session ends gracefully."""
    async with wiro.realtime(ECHO) as session:
        sending = asyncio.create_task(session.send_audio(MINUTE, pace=True))
        await anyio.wait_all_tasks_blocked()
    with pytest.raises(RealtimeClosedError):
        await sending
    assert [task.status for task in emulator.ledger.tasks.values()] == ["task_postprocess_end"]


async def test_closing_instead_of_leaving(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Sessions and their parts can be closed like generators, any number of times."""
    async with contextlib.aclosing(wiro.realtime(ECHO)):
        pass
    assert not emulator.ledger.calls
    events = list[TaskEvent]()
    async with wiro.realtime("emulator/tone", {"prompt": "good morning", "stay": "true"}) as session:
        async with contextlib.aclosing(session.audio()) as audio:
            await anext(audio)
        with pytest.raises(StopAsyncIteration):
            await anext(audio)
        async with session.transcripts(), session.audio() as more:
            assert await anext(more)
        async for event in session:
            events.append(event)
            if isinstance(event, TurnEnded):
                break
        await session.aclose()
        await session.aclose()
    assert not any(isinstance(event, AudioChunk) and not event.data for event in events)
    assert [task.status for task in emulator.ledger.tasks.values()] == ["task_postprocess_end"]
