"""Recordings in a realtime session: the service hears every sample, none is shifted, and the session is ended."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from wiro_async import InvalidInputError, RealtimeSession, TaskFinished
from wiro_async.audio import SAMPLE_RATE, read_wav

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro
    from wiro_async import AsyncWiro

SAMPLES = [(number * 37) % 65536 - 32768 for number in range(12_345)]
PCM = struct.pack(f"<{len(SAMPLES)}h", *SAMPLES)
FLOATS = struct.pack(f"<{len(SAMPLES)}f", *(sample / 32768 for sample in SAMPLES))
WIDE = b"".join(b"\0" + struct.pack("<h", sample) for sample in SAMPLES)
LATER = b"\x11\x22" * 700
LARGEST = 0xFFFF_FFFF


def wav(data: bytes, size: int, tag: int = 1, width: int = 2, before: bytes = b"", start: bytes = b"RIFF") -> bytes:
    """Write a file whose header says a size of samples, true or not."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, 1, SAMPLE_RATE, SAMPLE_RATE * width, width, 8 * width)
    return start + b"\xff\xff\xff\xffWAVE" + before + form + struct.pack("<4sI", b"data", size) + data


DS64 = struct.pack("<4sIQQQI", b"ds64", 28, 0, len(PCM), 0, 0)
RECORDINGS = {
    "size 0": wav(PCM, 0),
    "largest size": wav(PCM, LARGEST),
    "RF64": wav(PCM + b"LIST\4\0\0\0INFO", LARGEST, before=DS64, start=b"RF64"),
    "BW64": wav(PCM + b"LIST\4\0\0\0INFO", LARGEST, before=DS64, start=b"BW64"),
    "an odd byte at the end": wav(PCM + b"\x7f", len(PCM) + 1),
    "cut within a sample": wav(PCM + b"\x7f", len(PCM) + 4000),
    "an odd chunk without padding": wav(PCM, len(PCM), before=b"LIST\3\0\0\0abc"),
    "floating point": wav(FLOATS, 0, tag=3, width=4),
    "24 bit": wav(WIDE, len(WIDE), width=3),
}
REFUSED = {
    "A-law": wav(bytes(8000), 8000, tag=6, width=1),
    "cut in its header": wav(PCM, 0)[:30],
    "big-endian": wav(PCM, len(PCM), start=b"RIFX"),
    "no recording": b"<html>" * 9,
}


@attrs.define
class Listener:
    """A service that hears, and ends a session when it is told to.

    Attributes:
        heard: the audio of all frames.
        ended: how many sessions were ended.
    """

    raw: RawWiro
    heard: bytearray = attrs.field(factory=bytearray)
    ended: int = 0

    def serve(self) -> None:
        """Take over the routes."""
        self.raw.routes |= {"Run": self.run, "socket": self.socket}

    async def run(self, peer: Peer) -> None:
        """Take a run that goes on until its end."""
        taken = self.raw.take_run("owner/ears", peer.sent)
        self.raw.rows[taken["taskid"]].update(status="task_start", pexit="", outputs=[])
        await peer.respond_json(taken)

    async def socket(self, peer: Peer) -> None:
        """Listen until the session is ended."""
        await peer.accept_websocket()
        await peer.read_frame()
        await peer.send_event({"type": "task_stream_ready", "id": "1000", "message": ""})
        while True:
            opcode, data = await peer.read_frame()
            if opcode == 2:
                self.heard += data.partition(b"|")[2]
            elif opcode == 1 and json.loads(data)["type"] == "task_session_end":
                self.ended += 1
                self.raw.rows["1000"].update(status="task_postprocess_end", pexit="0")
                await peer.send_event({"type": "task_postprocess_end", "id": "1000", "message": []})
                await peer.gone()


@pytest.fixture
def listener(raw: RawWiro) -> Listener:
    """The service of the tests."""
    service = Listener(raw)
    service.serve()
    return service


async def read_to_the_end(session: RealtimeSession) -> None:
    """Read until the task has finished."""
    last = [event async for event in session][-1]
    assert isinstance(last, TaskFinished)


@pytest.mark.parametrize("data", RECORDINGS.values(), ids=RECORDINGS)
async def test_a_recording_is_heard(listener: Listener, raw_wiro: AsyncWiro, tmp_path: Path, data: bytes) -> None:
    """What is sent after it begins with a whole sample."""
    (tmp_path / "a.wav").write_bytes(data)
    async with raw_wiro.realtime("owner/ears") as session:
        await session.send_stream(read_wav(tmp_path / "a.wav"))
        await session.send_audio(LATER)
        await session.end()
        await read_to_the_end(session)
    assert bytes(listener.heard) == PCM + LATER
    assert listener.ended == 1


@pytest.mark.parametrize("size", [1, 3, 9599, 10_001])
async def test_pieces_that_cut_samples(listener: Listener, raw_wiro: AsyncWiro, size: int) -> None:
    """They are joined. The half at the end goes, also if the next source follows at once."""

    async def source() -> AsyncIterator[bytes]:
        for start in range(0, len(PCM), size):
            yield PCM[start : start + size]
        yield b"\x7f"

    async with raw_wiro.realtime("owner/ears") as session:
        await session.send_stream(source())
        await session.send_stream(source())
        await session.end()
        await read_to_the_end(session)
    assert bytes(listener.heard) == PCM * 2
    assert listener.ended == 1


@pytest.mark.parametrize("way", ["send_stream", "transcripts"])
@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
async def test_a_file_that_is_refused(
    listener: Listener, raw_wiro: AsyncWiro, tmp_path: Path, data: bytes, way: str
) -> None:
    """Its error comes out, nothing of it was sent, and the session is ended: it is paid by the second."""
    (tmp_path / "a.wav").write_bytes(data)

    async def use() -> None:
        async with raw_wiro.realtime("owner/ears") as session:
            if way == "send_stream":
                await session.send_stream(read_wav(tmp_path / "a.wav"))
            else:
                async for _ in session.transcripts(read_wav(tmp_path / "a.wav")):
                    pass

    with pytest.raises(InvalidInputError, match=r"a\.wav is not a WAV file"):
        await use()
    assert not listener.heard
    assert listener.ended == 1
