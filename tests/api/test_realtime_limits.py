"""Realtime sessions keep to their times, whatever else they are doing, and end for all who wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal

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
from wiro_async.testing import ModelScript, Script, Step, Voice, WiroEmulator
from wiro_async.testing._scripts import OPENING

ECHO = "emulator/echo"
MINUTE = bytes(60 * 48_000)


class Brief(Voice):
    """Ends the session when it is spoken to, at a price."""

    def hear(self, pcm: bytes) -> None:
        """Be done."""
        self.line.end_turn(Decimal("0.02"))
        self.line.finish()


def brief(slug: str, exit_code: str = "0") -> ModelScript:
    """A model of that kind."""
    steps = (*(Step(stage) for stage in OPENING), Step("task_stream_ready", after=0.5, stored=True))
    return ModelScript(slug, lambda given: Script(steps, exit_code=exit_code, cost=Decimal(0), realtime=Brief))


async def silence() -> AsyncIterator[bytes]:
    """A microphone that says one thing, and nothing more."""
    yield bytes(9600)
    await anyio.sleep_forever()


async def test_an_end_does_not_wait_for_paced_audio(wiro: AsyncWiro) -> None:
    """What of it has not left is dropped, its sender learns why, and the session ends at once."""
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


async def test_an_end_in_time(wiro: AsyncWiro, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit counts for the rest of the audio too, where the network takes none."""
    async with wiro.realtime(ECHO) as session:
        line = session._line
        assert line is not None
        monkeypatch.setattr(line._opened.socket, "send", lambda frame: anyio.sleep_forever())
        sending = asyncio.create_task(session.send_audio(bytes(9600)))
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(TaskTimeoutError) as caught, anyio.fail_after(20):
            await session.end(timeout=0.05)
        assert caught.value.phase == "end"
        sending.cancel()
        monkeypatch.undo()


@pytest.mark.parametrize("pace", [True, False])
async def test_a_time_out_while_only_sending(wiro: AsyncWiro, emulator: WiroEmulator, pace: bool) -> None:
    """It is not only for who reads: the sender learns of it, and so does everybody after that."""

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


async def test_a_time_out_while_a_source_is_silent(wiro: AsyncWiro) -> None:
    """Neither the source nor the end is waited for."""
    async with wiro.realtime(ECHO, timeout=0.5) as session:
        with pytest.raises(TaskTimeoutError), anyio.fail_after(20):
            await session.send_stream(silence())


async def test_a_time_out_while_audio_pours_in(wiro: AsyncWiro) -> None:
    """A reader who always has something to read learns of it all the same, after what came before it."""
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


async def test_a_silent_source_when_the_session_ends(hurried: Tuning) -> None:
    """Sending returns, though the source still has nothing to say, and closes it."""
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


async def test_a_silent_source_when_somebody_ends_the_session(wiro: AsyncWiro) -> None:
    """The same; and with `transcripts` the loop is over, too."""
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


async def test_a_bill_of_nothing(hurried: Tuning) -> None:
    """A failed session costs nothing, whatever was told while it ran."""
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
    """What fills no frame is heard as well, before the end."""
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(bytes(9600 + 1000))
    assert emulator.ledger.sockets[-1].heard == [9600, 1000]
    assert emulator.ledger.sockets[-1].asked[-1] == "task_session_end"


async def test_leaving_while_paced_audio_is_sent(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """It is not waited for, and the session ends gracefully."""
    async with wiro.realtime(ECHO) as session:
        sending = asyncio.create_task(session.send_audio(MINUTE, pace=True))
        await anyio.wait_all_tasks_blocked()
    with pytest.raises(RealtimeClosedError):
        await sending
    assert [task.status for task in emulator.ledger.tasks.values()] == ["task_postprocess_end"]


async def test_closing_instead_of_leaving(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Sessions, and what is picked of their events, are closed as generators are, as often as one likes."""
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
