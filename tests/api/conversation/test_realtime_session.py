"""Realtime sessions, against the emulator's echo, tone and counting models."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import pytest_asyncio

from wiro_async import (
    AsyncWiro,
    AudioChunk,
    ConnectionFailedError,
    CostUpdate,
    InvalidInputError,
    RealtimeClosedError,
    RealtimeSession,
    SessionClosedError,
    TaskCancelledError,
    TaskEvent,
    TaskFailedError,
    TaskFinished,
    TaskTimeoutError,
    Timeouts,
    Transcript,
    Tuning,
    TurnEnded,
    UnknownEvent,
    UsageError,
    WiroError,
)
from wiro_async.audio import read_wav, write_wav
from wiro_async.testing import (
    OPENING,
    DelayAnswer,
    DropAfterAudio,
    HalfOpen,
    ModelScript,
    RefuseUpgrade,
    Respond,
    Rubbish,
    Script,
    SocketFault,
    Step,
    Voice,
    WiroEmulator,
    tone,
)

if TYPE_CHECKING:
    from tests.conftest import Until
    from wiro_async.testing import Connection, Forward, Outgoing

ECHO = "emulator/echo"
FRAME = bytes(range(256)) * 37 + bytes(128)
assert len(FRAME) == 9600


def statuses(emulator: WiroEmulator) -> list[str]:
    """The statuses of all tasks."""
    return [task.status for task in emulator.ledger.tasks.values()]


def asked(emulator: WiroEmulator) -> list[str]:
    """The messages that the last connection has sent."""
    return emulator.ledger.sockets[-1].asked


async def received(session: RealtimeSession) -> tuple[bytes, list[TaskEvent]]:
    """All audio and all other events, to the end."""
    audio, others = bytearray(), list[TaskEvent]()
    async for event in session:
        if isinstance(event, AudioChunk):
            audio += event.data
        else:
            others.append(event)
    return bytes(audio), others


def speaking(slug: str, voice: type[Voice]) -> ModelScript:
    """A realtime model for one test."""
    steps = (*(Step(stage) for stage in OPENING), Step("task_stream_ready", after=0.5, stored=True))
    return ModelScript(slug, lambda given: Script(steps, cost=Decimal(0), realtime=voice))


class Deaf:
    """A socket fault that drops messages of some types."""

    def __init__(self, *types: str) -> None:
        self.types = types

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Pass the others on."""

        def send(message: Outgoing) -> None:
            if message.type not in self.types:
                forward(message)

        return send


# What is said


async def test_a_conversation(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Audio comes back byte for byte. Transcripts have roles, turns end and cost, and the result has the sum."""
    pcm = FRAME * 12 + b"\x01\x02\x03"
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(pcm)
        await session.end()
        audio, others = await received(session)
        result = await session.result()
    assert audio == pcm[:-1]
    said = [event for event in others if isinstance(event, Transcript)]
    assert [(event.role, event.text) for event in said][:2] == [
        ("user", "This was turn 1."),
        ("assistant", "I heard turn 1."),
    ]
    assert session.transcript == said
    assert sum(isinstance(event, TurnEnded) for event in others) == 2
    assert [event.total for event in others if isinstance(event, CostUpdate)] == [Decimal("0.002"), Decimal("0.004")]
    assert isinstance(others[-1], TaskFinished)
    assert others[-1].result.cost == result.cost == session.cost == Decimal("0.004")
    assert not any(isinstance(event, UnknownEvent) for event in others)
    assert asked(emulator) == ["task_info", "task_session_end"]


@pytest.mark.parametrize("generation", ["older", "newer"])
async def test_any_sizes_become_frames(generation: Any, short_timing: Tuning) -> None:
    """Audio of any sizes arrives in frames of 9,600 bytes. A flush sends the rest, and half a sample stays."""
    with WiroEmulator(speed=50, generation=generation) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro, wiro.realtime(ECHO) as session:
            for size in (1, 2, 9598, 9600, 1, 30_000, 0, 3):
                await session.send_audio(bytearray(size))
            await session.flush()
            await session.send_audio(memoryview(b"\0"))
            await session.end()
        assert emulator.ledger.sockets[-1].heard == [9600] * 5 + [1204, 2]


async def test_half_a_sample_ends_with_its_source(wiro: AsyncWiro, short_timing: Tuning) -> None:
    """Later samples are not shifted by a byte, whether the source is cut at an odd byte, fails, or came in pieces."""
    pieces = [b"\x01\x02\x03", b"\x04\x05"], [b"\x06\x07" * 5000, b"\x08"], [b"\x09\x0a"]

    async def source(chunks: list[bytes], fails: bool) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
        if fails:
            raise ValueError("no more")

    heard = bytearray()
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(b"\x0b\x0c\x0d")
        await session.send_stream(source(pieces[0], fails=False))
        with pytest.raises(ValueError, match="no more"):
            await session.send_stream(source(pieces[1], fails=True))
        await session.send_stream(source(pieces[2], fails=False))
        await session.end()
        async for event in session:
            if isinstance(event, AudioChunk):
                heard += event.data
    assert heard == b"\x0b\x0c\x01\x02\x03\x04" + b"\x06\x07" * 5000 + b"\x09\x0a"


@pytest.mark.parametrize("size", [0, 2, 9600, 9602, 333_334])
async def test_a_file_through_the_echo(wiro: AsyncWiro, tmp_path: Path, size: int) -> None:
    """A WAV file of any length comes back bit for bit."""
    await write_wav(tmp_path / "question.wav", os.urandom(size))

    async def ask(session: RealtimeSession) -> None:
        await session.send_stream(read_wav(tmp_path / "question.wav"))
        await session.end()

    async with wiro.realtime(ECHO) as session, anyio.create_task_group() as group:
        group.start_soon(ask, session)
        await write_wav(tmp_path / "answer.wav", session.audio(turns=1000))
    assert (tmp_path / "answer.wav").read_bytes() == (tmp_path / "question.wav").read_bytes()


async def test_text_to_speech(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The audio of a prompt ends with its turn, also if the session goes on."""
    for stay in ("true", "false"):
        async with wiro.realtime("emulator/tone", {"prompt": "good morning", "stay": stay}) as session:
            audio = b"".join([chunk async for chunk in session.audio()])
            assert audio == tone("good morning")
            assert [said.text for said in session.transcript] == ["good morning"]
            assert (await session.result()).cost == Decimal("0.002")
    assert statuses(emulator) == ["task_postprocess_end"] * 2


async def microphone(frames: int) -> AsyncIterator[bytes]:
    """Silence in pieces of 20 ms."""
    for _ in range(frames):
        yield bytes(960)


async def test_speech_to_text(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Transcripts come while audio is sent. The session ends with the audio."""
    async with wiro.realtime("emulator/counting") as session:
        words = [said.text async for said in session.transcripts(microphone(77))]
    assert words[0] == "24000 samples"
    assert words[-1] == f"{77 * 480} samples"
    assert sum(emulator.ledger.sockets[-1].heard) == 77 * 960


async def test_a_source_that_breaks(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The loop over the transcripts raises its error, and the session ends."""

    async def broken() -> AsyncIterator[bytes]:
        yield bytes(960)
        raise ZeroDivisionError

    async def listen() -> None:
        async with wiro.realtime("emulator/counting") as session:
            async for _ in session.transcripts(broken()):
                pass

    with pytest.raises(ZeroDivisionError):
        await listen()
    assert statuses(emulator) == ["task_postprocess_end"]


async def test_audio_of_so_many_turns(wiro: AsyncWiro) -> None:
    """The audio goes on over several turns, or stops after the given number of turns."""
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(FRAME * 12)
        assert len([chunk async for chunk in session.audio(turns=1)]) == 5
        await session.end()
        assert len([chunk async for chunk in session.audio()]) == 7


async def test_an_interruption(wiro: AsyncWiro, until: Until) -> None:
    """Audio that was not read is dropped, and the turn ends."""
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(FRAME * 5)
        await until(lambda: len(session.transcript) == 2)  # they come after the audio of their turn
        await session.interrupt()
        ends = 0
        async for event in session:
            assert not isinstance(event, AudioChunk)
            ends += isinstance(event, TurnEnded)
            if ends == 2:
                break


async def test_paced_audio(wiro: AsyncWiro) -> None:
    """A second of audio takes most of a second. The first frame is sent at once."""
    async with wiro.realtime(ECHO) as session:
        start = anyio.current_time()
        await session.send_audio(FRAME * 3, pace=True)
        assert anyio.current_time() - start >= 0.39


@pytest.mark.parametrize("progress", ["polling", "sse", "auto"])
async def test_a_socket_of_its_own(emulator: WiroEmulator, wiro: AsyncWiro, progress: Any) -> None:
    """In every mode there is one socket and one run, and no shared socket."""
    view = wiro.with_options(updates=progress)
    async with view.realtime(ECHO) as session:
        assert wiro.statistics().sockets == wiro.statistics().owned_tasks == 1
        await session.send_audio(FRAME)
    assert len(emulator.ledger.sockets) == emulator.ledger.count("Run/emulator/echo") == 1
    assert wiro.statistics().sockets == wiro.statistics().owned_tasks == wiro.statistics().watched_tasks == 0


# Beginnings


async def test_a_model_that_fails_before_it_is_ready(wiro: AsyncWiro) -> None:
    """Entering the session raises its failure."""
    with pytest.raises(TaskFailedError, match="CUDA"):
        async with wiro.realtime("emulator/failing", {"seconds": 5}):
            pytest.fail("not reached")


async def test_a_model_that_is_not_realtime(wiro: AsyncWiro) -> None:
    """The error says so, with the ids of the task."""
    with pytest.raises(RealtimeClosedError, match="is that a realtime model") as caught:
        async with wiro.realtime("emulator/painter", {"prompt": "a fox", "seconds": 5}):
            pytest.fail("not reached")
    assert caught.value.token
    assert caught.value.info is not None
    assert caught.value.info.succeeded


async def test_a_refused_run(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """No task was made, and the socket is closed."""
    with pytest.raises(InvalidInputError, match="prompt"):
        async with wiro.realtime("emulator/tone"):
            pytest.fail("not reached")
    assert emulator.ledger.sockets
    await until(lambda: not emulator.ledger.open_sockets)
    assert not emulator.ledger.submissions


@pytest.mark.tuning(realtime_connect_pause=0.01)
async def test_no_socket_no_run(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """If no socket can be opened, nothing is submitted. One attempt that succeeds is enough."""
    emulator.faults.socket(RefuseUpgrade(403), times=5)
    with pytest.raises(ConnectionFailedError):
        async with wiro.realtime(ECHO):
            pytest.fail("not reached")
    assert not emulator.ledger.submissions
    async with wiro.realtime(ECHO):
        pass


async def test_a_session_that_is_not_ready_in_time(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """The queue timeout counts until the session is ready. The task is stopped."""
    for model, given in ((ECHO, {"seconds": 100_000}), ("emulator/queued", {})):
        with pytest.raises(TaskTimeoutError) as caught:
            async with wiro.realtime(model, given, queue_timeout=0.5):
                pytest.fail("not reached")
        assert caught.value.phase == "queue"
    await until(lambda: statuses(emulator) == ["task_cancel"] * 2)  # a busy machine may not even have submitted


async def test_readiness_from_task_detail(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Task/Detail reports it if the message was lost."""
    emulator.faults.socket(Deaf("task_stream_ready"))
    async with wiro.realtime(ECHO, queue_timeout=20) as session:
        await session.send_audio(FRAME)
        assert await anext(session.audio()) == FRAME


async def test_values_that_are_not_audio(wiro: AsyncWiro) -> None:
    """Text and sessions that were not entered are refused with a message that helps."""
    session = wiro.realtime(ECHO)
    for use in (session.flush, session.end, session.result, session.interrupt, lambda: anext(session)):
        with pytest.raises(UsageError, match="async with"):
            await use()
    with pytest.raises(UsageError, match="async with"):
        _ = session.handle
    async with session:
        with pytest.raises(InvalidInputError, match="str is not audio"):
            await session.send_audio("hello")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="once"):
            await session.__aenter__()


async def test_one_reader(wiro: AsyncWiro) -> None:
    """A second loop would take events from the first, so it is refused."""
    async with wiro.realtime(ECHO) as session, anyio.create_task_group() as group:
        group.start_soon(received, session)
        await anyio.sleep(0.02)
        with pytest.raises(UsageError, match="already being iterated"):
            await received(session)
        await session.end()


# Ends


@pytest.mark.parametrize("error", [None, ZeroDivisionError, asyncio.CancelledError])
async def test_leaving_ends_the_session(
    emulator: WiroEmulator, wiro: AsyncWiro, error: type[BaseException] | None
) -> None:
    """Leaving in any way ends it gracefully, so that the task succeeds."""

    async def leave() -> None:
        async with wiro.realtime(ECHO) as session:
            await session.send_audio(FRAME * 5)
            async for event in session:
                if isinstance(event, CostUpdate):
                    break
            if error:
                raise error

    if error is None:
        await leave()
    else:
        with pytest.raises(error):
            await leave()
    assert statuses(emulator) == ["task_postprocess_end"]
    assert asked(emulator)[-1] == "task_session_end"
    assert emulator.ledger.count("Task/Kill") == emulator.ledger.count("Task/Cancel") == 0
    assert wiro.statistics().owned_tasks == wiro.statistics().sockets == wiro.statistics().watched_tasks == 0
    assert not emulator.ledger.open_sockets


@pytest.mark.tuning(realtime_end=0.02)
async def test_a_session_that_does_not_end_is_stopped(short_timing: Tuning) -> None:
    """Leaving stops the task when the time for a graceful end is over."""
    with WiroEmulator(speed=0.05, tuning=short_timing) as slow:  # ending takes 2 s
        async with AsyncWiro(**slow.options()) as wiro, wiro.realtime(ECHO, {"seconds": 0.01}) as session:
            with pytest.raises(TaskTimeoutError) as caught:
                await session.end(timeout=0.02)
            assert caught.value.phase == "end"
        assert statuses(slow) == ["task_cancel"]
        assert wiro.statistics().owned_tasks == 0
        with pytest.raises((TaskCancelledError, SessionClosedError)):
            await session.result()


async def test_leaving_twice_cancelled(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A second cancellation leaves at once, and the session ends in the background."""
    emulator.faults.detail_lag = 0.3
    entered = asyncio.Event()

    async def talk() -> None:
        async with wiro.realtime(ECHO):
            entered.set()
            await anyio.sleep_forever()

    talking = asyncio.ensure_future(talk())
    await entered.wait()
    talking.cancel()
    await asyncio.sleep(0.05)
    talking.cancel()
    _, late = await asyncio.wait([talking], timeout=0.2)
    assert not late
    await wiro.aclose()
    assert statuses(emulator) == ["task_postprocess_end"]


async def test_the_model_ends_it(wiro: AsyncWiro) -> None:
    """Then sending is refused, `send_stream` returns, and the last event can be read."""
    async with wiro.realtime("emulator/tone", {"prompt": "so long"}) as session:
        _, others = await received(session)
        assert isinstance(others[-1], TaskFinished)
        assert session.is_over
        with pytest.raises(RealtimeClosedError, match="takes no more audio") as caught:
            await session.send_audio(FRAME)
        assert not caught.value.lost
        await session.send_stream(microphone(3))
        with pytest.raises(StopAsyncIteration):
            await anext(session)


@pytest.mark.tuning(realtime_last_words=0.1)
async def test_an_end_that_is_not_reported(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Task/Detail decides: the session is over although the socket does not say so."""
    emulator.faults.socket(Deaf("task_end", "task_postprocess_start", "task_postprocess_end"))
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(FRAME)
        await session.end()
        audio, others = await received(session)
    assert audio == FRAME
    assert isinstance(others[-1], TaskFinished)


async def test_a_task_that_is_stopped_elsewhere(wiro: AsyncWiro) -> None:
    """The reader gets the error."""
    async with wiro.realtime(ECHO) as session:
        await session.handle.cancel()
        with pytest.raises(TaskCancelledError):
            await received(session)


async def test_closing_the_session_under_it(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """It ends gracefully, the reader gets an error, and nothing is left over."""

    async def talk() -> None:
        async with wiro.realtime(ECHO) as session:
            await session.send_audio(FRAME)
            await received(session)

    talking = asyncio.ensure_future(talk())
    while not wiro.statistics().sockets or not emulator.ledger.sockets[-1].heard:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await wiro.aclose()
    with pytest.raises(SessionClosedError):
        await talking
    assert statuses(emulator) == ["task_postprocess_end"]
    assert wiro.statistics().background_tasks == wiro.statistics().sockets == 0


async def test_an_idle_session(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """After too long a silence the reader gets the timeout, and the session ends."""
    with pytest.raises(TaskTimeoutError) as caught:
        async with wiro.realtime(ECHO, timeout=Timeouts(idle=0.3)) as session:
            await received(session)
    assert caught.value.phase == "idle"
    assert statuses(emulator) == ["task_postprocess_end"]


# Losses


@pytest_asyncio.fixture
async def talking(emulator: WiroEmulator, wiro: AsyncWiro) -> AsyncIterator[RealtimeSession]:
    """A session whose socket breaks after seven frames of audio."""
    emulator.faults.socket(DropAfterAudio(7))
    async with wiro.realtime(ECHO) as session:
        yield session


async def test_a_dropped_socket(emulator: WiroEmulator, talking: RealtimeSession) -> None:
    """All audio that came can be read, then comes the error. It has the transcripts and the cost, and pickles."""

    async def talk() -> None:
        while True:
            await talking.send_audio(FRAME)
            await asyncio.sleep(0.001)

    with pytest.raises(RealtimeClosedError) as refused:
        await talk()
    audio = bytearray()

    async def read() -> None:
        async for event in talking:
            audio.extend(event.data if isinstance(event, AudioChunk) else b"")

    with pytest.raises(RealtimeClosedError, match=r"was lost: .* received") as caught:
        await read()
    assert audio == FRAME * 7
    error = caught.value
    submission = emulator.ledger.submissions[0]
    assert (error.task_id, error.token, error.lost) == (submission.task_id, submission.token, True)
    assert error.received == 7 * 9600
    assert refused.value.sent == error.sent >= 7 * 9600
    assert [said.role for said in error.transcripts] == ["user", "assistant"]
    assert error.cost == Decimal("0.002")
    assert error.info is not None
    assert error.info.is_over
    there = pickle.loads(pickle.dumps(error))
    assert (there.transcripts, there.cost, there.received) == (error.transcripts, error.cost, error.received)
    assert submission.token not in str(error) + repr(error) + str(error.transcripts)
    with pytest.raises(RealtimeClosedError):
        await talking.result()
    with pytest.raises(RealtimeClosedError):
        await talking.send_stream(microphone(1))
    assert statuses(emulator) == ["task_postprocess_end"]


@pytest.mark.tuning(realtime_lost=0.1)
async def test_a_lost_session_that_goes_on_is_stopped(
    emulator: WiroEmulator, talking: RealtimeSession, until: Until
) -> None:
    """The task is stopped if the service does not notice that the client is gone."""
    emulator.faults.detail_lag = 3600.0
    with pytest.raises(RealtimeClosedError):
        await talking.send_stream(microphone(10_000))
    await until(lambda: emulator.ledger.count("Task/Cancel") and emulator.ledger.count("Task/Kill"))
    emulator.faults.detail_lag = 0.0


@pytest.mark.tuning(realtime_pulse=0.1, realtime_lost=0.1)
async def test_a_dead_connection(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A dead connection that was not closed is noticed, also while nothing is sent."""
    emulator.faults.socket(HalfOpen(7))
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(FRAME * 7)
        with pytest.raises(RealtimeClosedError, match=r"was lost: no response within 0\.1 s"):
            await received(session)


@pytest.mark.parametrize("fault", [Rubbish()])
async def test_rubbish(emulator: WiroEmulator, wiro: AsyncWiro, fault: SocketFault) -> None:
    """Unknown frames are ignored."""
    emulator.faults.socket(fault)
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(FRAME * 6)
        await session.end()
        assert (await received(session))[0] == FRAME * 6


class Odd(Voice):
    """Sends messages of unknown types."""

    def begin(self) -> None:
        self.line.emit(Step("task_vision", {"what": "a whale"}, extra={"deep": [None]}))
        self.line.emit(Step("task_output", [1, {"a": None}]))
        self.line.emit(Step("task_cost", None))
        self.line.end_turn(Decimal("0.1"))


async def test_new_messages(short_timing: Tuning) -> None:
    """They come as `UnknownEvent`."""
    with WiroEmulator(speed=50, models=[speaking("emulator/odd", Odd)]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro, wiro.realtime("emulator/odd") as session:
            unknown = list[UnknownEvent]()
            async for event in session:
                if isinstance(event, UnknownEvent):
                    unknown.append(event)
                elif isinstance(event, TurnEnded):
                    break
    assert [event.type for event in unknown] == ["task_vision", "task_output"]
    assert unknown[0].raw["deep"] == [None]


@pytest.mark.parametrize("first", ["transcript", "end of a turn"])
async def test_readiness_that_was_missed(short_timing: Tuning, first: str) -> None:
    """If the response to the submit is late, any event of a turn shows that the session is ready."""

    class Early(Voice):
        def begin(self) -> None:
            self.line.emit(Step("task_output", "its state is another one by now"))
            if first == "transcript":
                self.line.transcribe("AI", "hello")
            else:
                self.line.end_turn(Decimal("0.1"))

    with WiroEmulator(speed=50, models=[speaking("emulator/early", Early)]) as emulator:
        emulator.faults.http("Run/*", DelayAnswer(0.3))
        with anyio.fail_after(10):
            async with AsyncWiro(**emulator.options()) as wiro, wiro.realtime("emulator/early") as session:
                await session.send_audio(FRAME)


async def test_a_poll_that_fails_for_good(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The reader gets the reason why the task cannot be polled any more."""
    async with wiro.realtime(ECHO) as session:
        refusal = '{"result":false,"errors":[{"code":99,"message":"no"}]}'
        emulator.faults.http("Task/Detail", Respond(401, refusal), times=3)
        await session.handle.cancel()
        with pytest.raises(WiroError):
            await received(session)
