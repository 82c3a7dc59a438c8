"""Realtime sessions whose service stops reading, answering or ending: each wait has an end, and so has the bill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

import anyio
import attrs
import pytest
import pytest_asyncio

from wiro_async import (
    AsyncWiro,
    RealtimeClosedError,
    RealtimeSession,
    SessionClosedError,
    TaskFinished,
    TaskTimeoutError,
    Timeouts,
    Tuning,
)

if TYPE_CHECKING:
    from tests.conftest import Until
    from tests.hostile.conftest import Peer, RawWiro

Serve: TypeAlias = Callable[["Peer"], Awaitable[None]]
FAST = Tuning(realtime_end=0.3, realtime_leave=0.6, realtime_lost=0.3, socket_close=0.1, realtime_connect_pause=0.01)
TIMEOUT = 0.5
BLOCKS = bytes(32 * 1024 * 1024)  # more than the buffers of both sides take


def _serve(raw: RawWiro, serve: Serve) -> None:
    """Have every run go on until it is stopped, and every socket served in this way."""

    async def run(peer: Peer) -> None:
        model = unquote(peer.path.partition("/Run/")[2])
        raw.runs.append((model, peer.sent))
        row = raw.make_task(model, {}, status="task_start", pexit="", totalcost="", outputs=[])
        await peer.respond_json(
            {"result": True, "errors": [], "taskid": row["id"], "socketaccesstoken": row["socketaccesstoken"]}
        )

    async def kill(peer: Peer) -> None:
        for row in raw.rows.values():
            row.update(status="task_cancel", endtime="1734513815")
        await peer.respond_json({"result": True, "errors": []})

    async def refuse(peer: Peer) -> None:
        await peer.respond_json({"result": False, "errors": [{"code": 1, "message": "not in a cancellable state"}]})

    raw.routes |= {"Run": run, "Task/Kill": kill, "Task/Cancel": refuse, "socket": serve}


def _until_ready(then: Serve, ready: bool = True) -> Serve:
    async def serve(peer: Peer) -> None:
        await peer.accept_websocket()
        await peer.send_event({"type": "connected", "version": "1.0"})
        await peer.read_frame()
        if ready:
            await peer.send_event({"type": "task_stream_ready", "id": "1000", "message": ""})
        await then(peer)

    return serve


async def _reads_nothing(peer: Peer) -> None:
    await anyio.sleep_forever()


async def _says_nothing(peer: Peer) -> None:
    await peer.gone()


async def _stops_in_a_frame(peer: Peer) -> None:
    await peer.send(b"\x82\x7e\x25\x80token-1000|")
    await peer.gone()


async def _pings_only(peer: Peer) -> None:
    while True:
        await peer.send_frame(b"", 9)
        await asyncio.sleep(0.01)


async def _speaks_without_end(peer: Peer) -> None:
    while True:
        await peer.send_frame(b"token-1000|" + bytes(9600), 2)
        await asyncio.sleep(0)


async def _send(session: RealtimeSession) -> None:
    while True:
        await session.send_audio(BLOCKS)


async def _send_stream(session: RealtimeSession) -> None:
    async def source() -> AsyncIterator[bytes]:
        while True:
            yield BLOCKS

    await session.send_stream(source())


async def _send_and(session: RealtimeSession, call: Callable[[], Awaitable[object]]) -> None:
    sending = asyncio.create_task(_send(session))
    await asyncio.sleep(0.1)
    try:
        await call()
        await asyncio.sleep(10)  # the call itself may not have to wait
    finally:
        with pytest.raises((TaskTimeoutError, RealtimeClosedError)):
            await sending


async def _flush(session: RealtimeSession) -> None:
    await _send_and(session, session.flush)


async def _interrupt(session: RealtimeSession) -> None:
    async def interrupts() -> None:
        while True:
            await session.interrupt()
            await asyncio.sleep(0)

    await _send_and(session, interrupts)


async def _end(session: RealtimeSession) -> None:
    await _send_and(session, session.end)


async def _read(session: RealtimeSession) -> None:
    async for _ in session:
        pass


async def _words(session: RealtimeSession) -> None:
    async def source() -> AsyncIterator[bytes]:
        while True:
            yield BLOCKS

    async for _ in session.transcripts(source()):
        pass


USES = [_send, _send_stream, _flush, _interrupt, _end, _read, _words]
SERVICES = {
    "reads nothing": _until_ready(_reads_nothing),
    "says nothing": _until_ready(_says_nothing),
    "stops in a frame": _until_ready(_stops_in_a_frame),
    "pings only": _until_ready(_pings_only),
    "speaks without end": _until_ready(_speaks_without_end),
    "is never ready": _until_ready(_says_nothing, ready=False),
    "pings and is never ready": _until_ready(_pings_only, ready=False),
    "no handshake": _reads_nothing,
}


@pytest_asyncio.fixture
async def wiro(raw: RawWiro) -> AsyncIterator[AsyncWiro]:
    """A session whose limits are short."""
    async with AsyncWiro(**raw.options(), tuning=FAST) as wiro:
        yield wiro


def _stopped(raw: RawWiro) -> bool:
    return all(row["status"] == "task_cancel" for row in raw.rows.values())


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("timeout", [TIMEOUT, Timeouts(idle=TIMEOUT)], ids=["run", "idle"])
async def test_a_timeout_holds_while_the_service_reads_nothing(
    raw: RawWiro, wiro: AsyncWiro, use: Callable[[RealtimeSession], Awaitable[None]], timeout: float | Timeouts
) -> None:
    """Whatever waits for the blocked socket ends with the timeout, and then the task is stopped by HTTP."""
    _serve(raw, SERVICES["reads nothing"])
    start = anyio.current_time()
    waited = 0.0

    async def talk() -> None:
        nonlocal waited
        async with wiro.realtime("owner/voice", timeout=timeout) as session:
            try:
                await use(session)
            finally:
                waited = anyio.current_time() - start

    with pytest.raises(TaskTimeoutError) as caught:
        await talk()
    assert TIMEOUT - 0.1 < waited < TIMEOUT + 0.5
    assert anyio.current_time() - start < TIMEOUT + 0.5 + FAST.realtime_leave
    assert caught.value.task_id == "1000"
    assert _stopped(raw)


@pytest.mark.parametrize("service", SERVICES)
async def test_opening_and_reading_are_under_the_run_timeout(raw: RawWiro, wiro: AsyncWiro, service: str) -> None:
    """A service that sends anything but what is waited for costs no more than the timeout."""
    _serve(raw, SERVICES[service])
    start = anyio.current_time()

    async def talk() -> None:
        async with wiro.realtime("owner/voice", timeout=TIMEOUT) as session:
            await _read(session)

    with pytest.raises(TaskTimeoutError) as caught:
        await talk()
    assert anyio.current_time() - start < TIMEOUT + 0.5 + FAST.realtime_leave
    assert (caught.value.phase, caught.value.model) == ("run", "owner/voice")
    assert len(raw.runs) == (0 if service == "no handshake" else 1)
    assert _stopped(raw)


@pytest.mark.parametrize("service", ["is never ready", "pings and is never ready", "no handshake"])
async def test_opening_is_under_the_queue_timeout(raw: RawWiro, wiro: AsyncWiro, service: str) -> None:
    """No run is submitted without a socket, and one that is never ready is stopped."""
    _serve(raw, SERVICES[service])
    start = anyio.current_time()
    with pytest.raises(TaskTimeoutError) as caught:
        async with wiro.realtime("owner/voice", queue_timeout=TIMEOUT):
            pass
    assert anyio.current_time() - start < TIMEOUT + 0.5
    assert (caught.value.phase, caught.value.model) == ("queue", "owner/voice")
    assert len(raw.runs) == (0 if service == "no handshake" else 1)
    assert _stopped(raw)


@pytest.mark.parametrize("service", [name for name in SERVICES if "ready" not in name and "handshake" not in name])
@pytest.mark.parametrize("how", ["normally", "cancelled", "by an error", "session closed"])
async def test_leaving_takes_no_longer_than_it_may(raw: RawWiro, service: str, how: str) -> None:
    """However the socket stands, and however the session is left, its task is stopped in time."""
    _serve(raw, SERVICES[service])
    wiro = AsyncWiro(**raw.options(), tuning=FAST)
    left_at = 0.0

    async def talk() -> None:
        nonlocal left_at
        async with wiro.realtime("owner/voice") as session, anyio.create_task_group() as group:
            group.start_soon(_send, session)
            await asyncio.sleep(0.2)
            left_at = anyio.current_time()
            match how:
                case "normally":
                    group.cancel_scope.cancel()
                case "by an error":
                    raise LookupError
                case "cancelled":
                    asyncio.get_running_loop().call_soon(talking.cancel)
                    await asyncio.sleep(5)
                case _:
                    group.start_soon(wiro.aclose)

    talking = asyncio.create_task(talk())
    [outcome] = await asyncio.gather(talking, return_exceptions=True)
    assert anyio.current_time() - left_at < FAST.realtime_leave + 0.3
    assert _stopped(raw)
    match how:
        case "normally":
            assert outcome is None
        case "cancelled":
            assert isinstance(outcome, asyncio.CancelledError)
        case "by an error":
            assert isinstance(outcome, BaseExceptionGroup)
        case _:
            assert isinstance(outcome, BaseExceptionGroup)
            assert outcome.subgroup(SessionClosedError)
    await wiro.aclose()
    statistics = wiro.statistics()
    assert (statistics.sockets, statistics.background_tasks, statistics.owned_tasks) == (0, 0, 0)


async def test_frames_without_end_after_the_end_of_the_task(raw: RawWiro) -> None:
    """The reader gets the end of the session although the service never stops sending."""
    _serve(raw, SERVICES["speaks without end"])
    async with AsyncWiro(**raw.options(), tuning=Tuning(realtime_drain=0.3, poll_max=0.1)) as wiro:
        with anyio.fail_after(3):
            async with wiro.realtime("owner/voice") as session:
                raw.rows["1000"].update(status="task_postprocess_end", pexit="0")
                events = [event async for event in session]
    assert isinstance(events[-1], TaskFinished)


async def test_a_source_in_a_thread_does_not_keep_the_task_running(raw: RawWiro, wiro: AsyncWiro) -> None:
    """The task is stopped while a source of audio still waits for its device."""
    _serve(raw, SERVICES["says nothing"])

    async def microphone() -> AsyncIterator[bytes]:
        while True:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)
            yield bytes(9600)

    start = anyio.current_time()
    async with wiro.realtime("owner/voice") as session:
        session.transcripts(microphone())
        await asyncio.sleep(0.1)
    assert anyio.current_time() - start < 0.1 + FAST.realtime_leave + 0.3
    assert _stopped(raw)


async def test_leaving_ends_while_neither_socket_nor_http_answer(raw: RawWiro, until: Until) -> None:
    """The stop goes on in the background, and leaving takes as long as it may."""
    _serve(raw, SERVICES["reads nothing"])
    answering = raw.routes["Task/Kill"]

    async def hang(peer: Peer) -> None:
        await anyio.sleep_forever()

    raw.routes |= {"Task/Kill": hang, "Task/Cancel": hang}
    async with AsyncWiro(**raw.options(), tuning=attrs.evolve(FAST, stop_request=0.3, stop_pause=0.05)) as wiro:
        start = anyio.current_time()
        async with wiro.realtime("owner/voice"):
            pass
        assert anyio.current_time() - start < FAST.realtime_leave + 0.5
        assert not _stopped(raw)
        raw.routes |= {"Task/Kill": answering, "Task/Cancel": answering}
        await until(lambda: _stopped(raw), 3)
