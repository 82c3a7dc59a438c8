"""Realtime sessions whose reader is slow, or whose service does not read."""

from __future__ import annotations

import asyncio
import os
import socket as sockets
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import pytest
import pytest_asyncio

from wiro_async import (
    AsyncWiro,
    AudioChunk,
    RealtimeClosedError,
    RealtimeSession,
    TaskEvent,
    TaskFinished,
    TaskTimeoutError,
    Tuning,
)
from wiro_async.testing import OPENING, ModelScript, Script, SocketFault, Step, Voice, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until
    from wiro_async.testing import Connection, Forward, Outgoing

ECHO = "emulator/echo"
FRAME = bytes(range(256)) * 37 + bytes(128)


class Flood(Voice):
    """Sends a lot at once."""

    FRAMES = 1500

    def begin(self) -> None:
        for number in range(self.FRAMES):
            self.line.say(number.to_bytes(2, "big") * 4800)
        self.line.end_turn(Decimal(0))


class Rush(Flood):
    """Sends a lot, and ends after half a second."""

    def begin(self) -> None:
        super().begin()
        self.line.later(25.0, self.line.finish)


class Deaf(SocketFault):
    """Drops the messages that report the end."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Pass the others on."""

        def send(message: Outgoing) -> None:
            if message.type not in ("task_end", "task_postprocess_start", "task_postprocess_end"):
                forward(message)

        return send


def speaking(slug: str, voice: type[Voice]) -> ModelScript:
    """A realtime model for one test."""
    steps = (*(Step(stage) for stage in OPENING), Step("task_stream_ready", after=0.5, stored=True))
    return ModelScript(slug, lambda given: Script(steps, cost=Decimal(0), realtime=voice))


class Network:
    """A proxy with a small buffer between a client and the socket of an emulator.

    Attributes:
        delivered: bytes that the client's side has taken.
    """

    def __init__(self) -> None:
        self.delivered = 0
        self._flows = asyncio.Event()
        self._flows.set()
        self._pumps = set[asyncio.Task[None]]()
        self._server: asyncio.Server | None = None

    async def start(self, target: str) -> str:
        """Serve, and return the URL that leads to the target."""
        url = urlsplit(target)

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 64 * 1024)
            upstream, downstream = await asyncio.open_connection(url.hostname, url.port)
            self._pumps.add(asyncio.create_task(self._pump(reader, downstream, is_to_client=False)))
            self._pumps.add(asyncio.create_task(self._pump(upstream, writer, is_to_client=True)))

        self._server = await asyncio.start_server(connect, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"{url.scheme}://127.0.0.1:{port}{url.path}"

    def block(self) -> None:
        """Take nothing more from the client."""
        self._flows.clear()

    def flow(self) -> None:
        """Take everything again."""
        self._flows.set()

    async def aclose(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_to_client: bool) -> None:
        try:
            while data := await reader.read(16 * 1024):
                if not is_to_client:
                    await self._flows.wait()
                writer.write(data)
                await writer.drain()
                self.delivered += is_to_client * len(data)
        finally:
            writer.close()


@pytest_asyncio.fixture
async def network() -> AsyncIterator[Network]:
    """A network between client and emulator."""
    network = Network()
    yield network
    await network.aclose()


async def everything(session: RealtimeSession) -> tuple[bytes, list[TaskEvent]]:
    """Return all audio and all other events, to the end."""
    audio, others = bytearray(), list[TaskEvent]()
    async for event in session:
        if isinstance(event, AudioChunk):
            audio += event.data
        else:
            others.append(event)
    return bytes(audio), others


async def test_a_slow_reader_slows_the_service(network: Network, short_timing: Tuning) -> None:
    """While the session is not read, the socket is not read either. Nothing is lost."""
    with WiroEmulator(speed=50, models=[speaking("emulator/flood", Flood)], tuning=short_timing) as emulator:
        options = emulator.options()
        options["socket_url"] = await network.start(options["socket_url"])
        async with AsyncWiro(**options) as wiro, wiro.realtime("emulator/flood") as session:
            delivered = -1
            while network.delivered != delivered:
                delivered = network.delivered
                await asyncio.sleep(0.2)
            # what is kept here, and what the system's buffers take
            assert Tuning().realtime_unread <= delivered < 0.8 * Flood.FRAMES * 9600
            numbers = [int.from_bytes(chunk[:2], "big") async for chunk in session.audio()]
            assert numbers == list(range(Flood.FRAMES))


@pytest.mark.tuning(realtime_last_words=0.1)
async def test_a_reader_who_is_slower_than_the_end(short_timing: Tuning, until: Until) -> None:
    """Everything can be read to the last event, long after the task is over."""
    with WiroEmulator(speed=50, models=[speaking("emulator/rush", Rush)], tuning=short_timing) as emulator:
        emulator.faults.socket(Deaf())
        async with AsyncWiro(**emulator.options()) as wiro, wiro.realtime("emulator/rush") as session:
            await until(lambda: session.is_over)
            await asyncio.sleep(0.3)
            audio, others = await everything(session)
    assert len(audio) == Rush.FRAMES * 9600
    assert isinstance(others[-1], TaskFinished)


async def test_sending_first_and_reading_afterwards(wiro: AsyncWiro) -> None:
    """An echo is larger than all buffers: while a sender waits, more is read, so nothing hangs."""
    pcm = os.urandom(9600) * 1700
    async with wiro.realtime(ECHO) as session:
        with anyio.fail_after(60):
            await session.send_audio(pcm)
            await session.end()
            audio, _ = await everything(session)
    assert audio == pcm


@pytest.mark.tuning(realtime_unread_relieved=Tuning().realtime_unread, socket_send=0.3)
async def test_a_session_without_a_reader(wiro: AsyncWiro) -> None:
    """The memory for unread events is limited, and the error says why sending failed."""

    async def talk(session: RealtimeSession) -> None:
        while True:
            await session.send_audio(FRAME * 100)

    async with wiro.realtime(ECHO) as session:
        with pytest.raises(RealtimeClosedError, match="wait to be read"):
            await talk(session)


async def test_an_end_in_time(emulator: WiroEmulator, network: Network, short_timing: Tuning) -> None:
    """The timeout of `end` holds also while the network takes no audio."""
    options = emulator.options()
    options["socket_url"] = await network.start(options["socket_url"])
    async with AsyncWiro(**options) as wiro, wiro.realtime(ECHO) as session:
        network.block()
        sending = asyncio.create_task(session.send_audio(bytes(40_000_000)))
        _, waiting = await asyncio.wait([sending], timeout=1)
        assert waiting
        with pytest.raises(TaskTimeoutError) as caught, anyio.fail_after(20):
            await session.end(timeout=0.05)
        assert caught.value.phase == "end"
        sending.cancel()
        network.flow()
