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
    WiroError,
)
from wiro_async._engine.realtime import inbox
from wiro_async._engine.realtime import realtime_connection as realtime_line
from wiro_async._engine.realtime import realtime_sessions as realtime
from wiro_async.audio import read_wav, write_wav
from wiro_async.testing import (
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
)
from wiro_async.testing._scripts import OPENING
from wiro_async.testing._voices import tone

if TYPE_CHECKING:
    from tests.conftest import Until
    from wiro_async.testing._socket_faults import Forward, Line, Outgoing

ECHO = "emulator/echo"
FRAME = bytes(range(256)) * 37 + bytes(128)
assert len(FRAME) == 9600


def statuses(emulator: WiroEmulator) -> list[str]:
    """How all tasks stand."""
    return [task.status for task in emulator.ledger.tasks.values()]


def asked(emulator: WiroEmulator) -> list[str]:
    """What the last connection was told."""
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
    """A realtime model of a test's own."""
    steps = (*(Step(stage) for stage in OPENING), Step("task_stream_ready", after=0.5, stored=True))
    return ModelScript(slug, lambda given: Script(steps, cost=Decimal(0), realtime=voice))


class Deaf:
    """A socket fault that swallows messages of some types."""

    def __init__(self, *types: str) -> None:
        self.types = types

    def wrap(self, line: Line, forward: Forward) -> Forward:
        """Let the others pass."""

        def send(message: Outgoing) -> None:
            if message.type not in self.types:
                forward(message)

        return send


# What is said


async def test_a_conversation(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Audio comes back byte for byte, words have their speakers, turns end and cost, and the result has the sum."""
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
async def test_any_sizes_become_frames(generation: Any, hurried: Tuning) -> None:
    """Whatever is given, frames of 9,600 bytes arrive; a flush sends the rest, the half of a sample stays."""
    with WiroEmulator(speed=50, generation=generation) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro, wiro.realtime(ECHO) as session:
            for size in (1, 2, 9598, 9600, 1, 30_000, 0, 3):
                await session.send_audio(bytearray(size))
            await session.flush()
            await session.send_audio(memoryview(b"\0"))
            await session.end()
        assert emulator.ledger.sockets[-1].heard == [9600] * 5 + [1204, 2]


@pytest.mark.parametrize("size", [0, 2, 9600, 9602, 333_334])
async def test_a_file_through_the_echo(wiro: AsyncWiro, tmp_path: Path, size: int) -> None:
    """A WAV file comes back bit for bit, whatever its length."""
    await write_wav(tmp_path / "question.wav", os.urandom(size))

    async def ask(session: RealtimeSession) -> None:
        await session.send_stream(read_wav(tmp_path / "question.wav"))
        await session.end()

    async with wiro.realtime(ECHO) as session, anyio.create_task_group() as group:
        group.start_soon(ask, session)
        await write_wav(tmp_path / "answer.wav", session.audio(turns=1000))
    assert (tmp_path / "answer.wav").read_bytes() == (tmp_path / "question.wav").read_bytes()


async def test_text_to_speech(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The audio of a prompt, to the end of its turn, though the session goes on; or to the end of the session."""
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
    """Words come while the audio is sent; when it ends, so does the session."""
    async with wiro.realtime("emulator/counting") as session:
        words = [said.text async for said in session.transcripts(microphone(77))]
    assert words[0] == "24000 samples"
    assert words[-1] == f"{77 * 480} samples"
    assert sum(emulator.ledger.sockets[-1].heard) == 77 * 960


async def test_a_source_that_breaks(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Its error comes out where the words would; the session is ended."""

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
    """A conversation's audio goes on over turns, or stops after as many as are wanted."""
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(FRAME * 12)
        assert len([chunk async for chunk in session.audio(turns=1)]) == 5
        await session.end()
        assert len([chunk async for chunk in session.audio()]) == 7


async def test_an_interruption(wiro: AsyncWiro, until: Until) -> None:
    """What was said and not read is forgotten, and the turn ends."""
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(FRAME * 4)
        line = session._line
        assert line is not None
        await until(lambda: line.received == 4 * 9600)
        await session.interrupt()
        async for event in session:
            assert not isinstance(event, AudioChunk)
            if isinstance(event, TurnEnded):
                break


async def test_paced_audio(wiro: AsyncWiro) -> None:
    """A second of audio takes most of a second; the first frame leaves at once."""
    async with wiro.realtime(ECHO) as session:
        start = anyio.current_time()
        await session.send_audio(FRAME * 3, pace=True)
        assert anyio.current_time() - start >= 0.39


@pytest.mark.parametrize("progress", ["polling", "sse", "auto"])
async def test_a_socket_of_its_own(emulator: WiroEmulator, wiro: AsyncWiro, progress: Any) -> None:
    """However runs are followed otherwise: one socket, one run, no shared socket, and hardly any question."""
    view = wiro.with_options(updates=progress)
    async with view.realtime(ECHO) as session:
        assert wiro.statistics().sockets == wiro.statistics().owned_tasks == 1
        await session.send_audio(FRAME)
    assert len(emulator.ledger.sockets) == emulator.ledger.count("Run/emulator/echo") == 1
    assert wiro.statistics().sockets == wiro.statistics().owned_tasks == wiro.statistics().watched_tasks == 0


# Beginnings


async def test_a_model_that_fails_before_it_is_ready(wiro: AsyncWiro) -> None:
    """Its failure comes on entering."""
    with pytest.raises(TaskFailedError, match="CUDA"):
        async with wiro.realtime("emulator/failing", {"seconds": 5}):
            pytest.fail("not reached")


async def test_a_model_that_is_not_realtime(wiro: AsyncWiro) -> None:
    """It says so, with the ids of the task."""
    with pytest.raises(RealtimeClosedError, match="is that a realtime model") as caught:
        async with wiro.realtime("emulator/painter", {"prompt": "a fox", "seconds": 5}):
            pytest.fail("not reached")
    assert caught.value.token
    assert caught.value.info is not None
    assert caught.value.info.succeeded


async def test_a_refused_run(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """Nothing was made, and the socket is closed."""
    with pytest.raises(InvalidInputError, match="prompt"):
        async with wiro.realtime("emulator/tone"):
            pytest.fail("not reached")
    assert emulator.ledger.sockets
    await until(lambda: not emulator.ledger.open_sockets)
    assert not emulator.ledger.submissions


async def test_no_socket_no_run(emulator: WiroEmulator, wiro: AsyncWiro, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no socket can be opened, nothing is submitted; one that opens later is enough."""
    monkeypatch.setattr(realtime, "CONNECT_PAUSE", 0.01)
    emulator.faults.socket(RefuseUpgrade(403), times=5)
    with pytest.raises(ConnectionFailedError):
        async with wiro.realtime(ECHO):
            pytest.fail("not reached")
    assert not emulator.ledger.submissions
    async with wiro.realtime(ECHO):
        pass


async def test_a_session_that_is_not_ready_in_time(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """The queue time-out counts until it is ready; the task is stopped."""
    for model, given in ((ECHO, {"seconds": 100_000}), ("emulator/queued", {})):
        with pytest.raises(TaskTimeoutError) as caught:
            async with wiro.realtime(model, given, queue_timeout=0.5):
                pytest.fail("not reached")
        assert caught.value.phase == "queue"
    await until(lambda: statuses(emulator) == ["task_cancel"] * 2)  # a busy machine may not even have submitted


async def test_ready_though_nobody_said_so(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Task/Detail tells it, where the message was lost."""
    emulator.faults.socket(Deaf("task_stream_ready"))
    async with wiro.realtime(ECHO, queue_timeout=20) as session:
        await session.send_audio(FRAME)
        assert await anext(session.audio()) == FRAME


async def test_what_is_no_audio(wiro: AsyncWiro) -> None:
    """Text, numbers of other formats and sessions that were not entered are refused in words."""
    session = wiro.realtime(ECHO)
    for use in (session.flush, session.end, session.result, session.interrupt, lambda: anext(session)):
        with pytest.raises(WiroError, match="async with"):
            await use()
    with pytest.raises(WiroError, match="async with"):
        _ = session.handle
    async with session:
        with pytest.raises(InvalidInputError, match="str is not audio"):
            await session.send_audio("hello")  # type: ignore[arg-type]
        with pytest.raises(WiroError, match="once"):
            await session.__aenter__()


async def test_one_reader(wiro: AsyncWiro) -> None:
    """A second loop would steal from the first, so it is told off."""
    async with wiro.realtime(ECHO) as session, anyio.create_task_group() as group:
        group.start_soon(received, session)
        await anyio.sleep(0.02)
        with pytest.raises(WiroError, match="one loop reads it"):
            await received(session)
        await session.end()


# Ends


@pytest.mark.parametrize("error", [None, ZeroDivisionError, asyncio.CancelledError])
async def test_leaving_ends_the_session(
    emulator: WiroEmulator, wiro: AsyncWiro, error: type[BaseException] | None
) -> None:
    """In whichever way: gracefully, so that it succeeds and costs what it cost."""

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


async def test_a_session_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch, hurried: Tuning) -> None:
    """Within the time that leaving it may take."""
    monkeypatch.setattr(realtime_line, "END_SECONDS", 0.02)
    with WiroEmulator(speed=0.05) as slow:  # ending takes 2 s
        async with AsyncWiro(**slow.options()) as patient, patient.realtime(ECHO, {"seconds": 0.01}) as session:
            with pytest.raises(TaskTimeoutError) as caught:
                await session.end(timeout=0.02)
            assert caught.value.phase == "end"
        assert statuses(slow) == ["task_cancel"]
        assert patient.statistics().owned_tasks == 0
        with pytest.raises((TaskCancelledError, SessionClosedError)):
            await session.result()


async def test_leaving_twice_cancelled(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Who is cancelled again while the session ends leaves at once; it is ended all the same."""
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
    """Sending is refused then, a stream of audio just ends, and reading goes to the last event."""
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


async def test_the_end_is_not_heard(emulator: WiroEmulator, wiro: AsyncWiro, monkeypatch: pytest.MonkeyPatch) -> None:
    """Task/Detail decides: the session is over though the socket is silent about it."""
    monkeypatch.setattr(realtime_line, "LAST_WORDS", 0.1)
    emulator.faults.socket(Deaf("task_end", "task_postprocess_start", "task_postprocess_end"))
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(FRAME)
        await session.end()
        audio, others = await received(session)
    assert audio == FRAME
    assert isinstance(others[-1], TaskFinished)


async def test_a_task_that_is_stopped_elsewhere(wiro: AsyncWiro) -> None:
    """The reader learns of it."""
    async with wiro.realtime(ECHO) as session:
        await session.handle.cancel()
        with pytest.raises(TaskCancelledError):
            await received(session)


async def test_closing_the_session_under_it(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """It ends gracefully, whoever reads is told, and nothing is left."""

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
    """Nobody says anything for too long: the reader gets the time-out, the session is ended."""
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
    """All that came is given, then the error, which holds what was said and spent, and travels."""

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


async def test_a_lost_session_that_goes_on_is_stopped(
    emulator: WiroEmulator, talking: RealtimeSession, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """Where the service does not notice that nobody is there any more."""
    monkeypatch.setattr(realtime_line, "LOST_SECONDS", 0.1)
    emulator.faults.detail_lag = 3600.0
    with pytest.raises(RealtimeClosedError):
        await talking.send_stream(microphone(10_000))
    await until(lambda: emulator.ledger.count("Task/Cancel") and emulator.ledger.count("Task/Kill"))
    emulator.faults.detail_lag = 0.0


async def test_nobody_answers(emulator: WiroEmulator, wiro: AsyncWiro, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is dead and does not say so is found out, though there is nothing to send."""
    monkeypatch.setattr(realtime_line, "PULSE_SECONDS", 0.1)
    monkeypatch.setattr(realtime_line, "LOST_SECONDS", 0.1)
    emulator.faults.socket(HalfOpen(7))
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(FRAME * 7)
        with pytest.raises(RealtimeClosedError, match="nobody answered"):
            await received(session)


@pytest.mark.parametrize("fault", [Rubbish()])
async def test_rubbish(emulator: WiroEmulator, wiro: AsyncWiro, fault: SocketFault) -> None:
    """What nobody knows harms nobody."""
    emulator.faults.socket(fault)
    async with wiro.realtime(ECHO) as session:
        await session.send_audio(FRAME * 6)
        await session.end()
        assert (await received(session))[0] == FRAME * 6


class Odd(Voice):
    """Says things that nobody has heard of."""

    def begin(self) -> None:
        self.line.emit(Step("task_vision", {"what": "a whale"}, extra={"deep": [None]}))
        self.line.emit(Step("task_output", [1, {"a": None}]))
        self.line.emit(Step("task_cost", None))
        self.line.end_turn(Decimal("0.1"))


async def test_new_messages(hurried: Tuning) -> None:
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


@pytest.mark.parametrize("told", ["transcript", "end of a turn"])
async def test_readiness_that_was_not_heard(hurried: Tuning, told: str) -> None:
    """The answer to the submit came late; whatever belongs to a turn tells that the session has long begun."""

    class Early(Voice):
        def begin(self) -> None:
            self.line.emit(Step("task_output", "its state is another one by now"))
            if told == "transcript":
                self.line.transcribe("AI", "hello")
            else:
                self.line.end_turn(Decimal("0.1"))

    with WiroEmulator(speed=50, models=[speaking("emulator/early", Early)]) as emulator:
        emulator.faults.http("Run/*", DelayAnswer(0.3))
        with anyio.fail_after(10):
            async with AsyncWiro(**emulator.options()) as wiro, wiro.realtime("emulator/early") as session:
                await session.send_audio(FRAME)


async def test_a_poll_that_fails_for_good(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Who may not ask any more learns why."""
    async with wiro.realtime(ECHO) as session:
        refusal = '{"result":false,"errors":[{"code":99,"message":"no"}]}'
        emulator.faults.http("Task/Detail", Respond(401, refusal), times=3)
        await session.handle.cancel()
        with pytest.raises(WiroError):
            await received(session)


# Back-pressure


class Flood(Voice):
    """Says a lot, at once."""

    FRAMES = 1500

    def begin(self) -> None:
        for number in range(self.FRAMES):
            self.line.say(number.to_bytes(2, "big") * 4800)
        self.line.end_turn(Decimal(0))


async def test_a_slow_reader_slows_the_service(hurried: Tuning) -> None:
    """What nobody reads is not taken from the socket, for as long as it takes; then nothing is missing."""
    with WiroEmulator(speed=50, models=[speaking("emulator/flood", Flood)]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro, wiro.realtime("emulator/flood") as session:
            line = session._line
            assert line is not None
            size = -1
            while line.inbox.size != size or not line.inbox.held:
                size = line.inbox.size
                await asyncio.sleep(0.1)
            most = line.inbox.size
            assert inbox.ENOUGH <= most <= inbox.ENOUGH + 9600
            numbers = [int.from_bytes(chunk[:2], "big") async for chunk in session.audio()]
            assert numbers == list(range(Flood.FRAMES))


class Rush(Flood):
    """Says a lot, and is gone after half a second."""

    def begin(self) -> None:
        super().begin()
        self.line.later(25.0, self.line.finish)


async def test_a_reader_who_is_slower_than_the_end(
    monkeypatch: pytest.MonkeyPatch, hurried: Tuning, until: Until
) -> None:
    """The task is long over, and all it said is still read, to the last event."""
    monkeypatch.setattr(realtime_line, "LAST_WORDS", 0.1)
    with WiroEmulator(speed=50, models=[speaking("emulator/rush", Rush)]) as emulator:
        emulator.faults.socket(Deaf("task_end", "task_postprocess_start", "task_postprocess_end"))
        async with AsyncWiro(**emulator.options()) as wiro, wiro.realtime("emulator/rush") as session:
            await until(lambda: session.is_over)
            await asyncio.sleep(0.3)
            audio, others = await received(session)
    assert len(audio) == Rush.FRAMES * 9600
    assert isinstance(others[-1], TaskFinished)


async def test_sending_first_and_reading_afterwards(wiro: AsyncWiro) -> None:
    """An echo of more than all buffers hold: whoever waits to send has the socket read, so nothing hangs."""
    pcm = os.urandom(9600) * 1700
    async with wiro.realtime(ECHO) as session:
        with anyio.fail_after(60):
            await session.send_audio(pcm)
            await session.end()
            audio, _ = await received(session)
    assert audio == pcm


@pytest.mark.tuning(socket_send=0.3)
async def test_nobody_ever_reads(wiro: AsyncWiro, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is an end to what is kept, and the error says what to do about it."""
    monkeypatch.setattr(inbox, "MOST", inbox.ENOUGH)

    async def talk(session: RealtimeSession) -> None:
        while True:
            await session.send_audio(FRAME * 100)

    async with wiro.realtime(ECHO) as session:
        with pytest.raises(RealtimeClosedError, match="wait to be read"):
            await talk(session)
