"""WAV files in and out."""

from __future__ import annotations

import asyncio
import math
import os
import struct
import sys
import tracemalloc
import wave
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiro_async import ConfigurationError, InvalidInputError
from wiro_async.audio import BYTES_PER_SECOND, SAMPLE_RATE, read_wav, write_wav


def make(path: Path, pcm: bytes, rate: int = SAMPLE_RATE, channels: int = 1, width: int = 2) -> Path:
    """A WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", "not compressed"))
        file.writeframes(pcm)
    return path


def content(path: Path) -> tuple[tuple[int, int, int], bytes]:
    """The shape and the samples of a file."""
    with wave.open(str(path), "rb") as file:
        return (file.getframerate(), file.getnchannels(), file.getsampwidth()), file.readframes(file.getnframes())


async def read(path: Path) -> bytes:
    """All of a file."""
    return b"".join([piece async for piece in read_wav(path)])


@pytest.mark.parametrize("size", [0, 2, BYTES_PER_SECOND, 3 * BYTES_PER_SECOND + 502])
async def test_a_round_trip(tmp_path: Path, size: int) -> None:
    """A file that was written can be read, and is a usual WAV file."""
    pcm = os.urandom(size)
    assert await write_wav(tmp_path / "a.wav", pcm) == size / BYTES_PER_SECOND
    assert (tmp_path / "a.wav").read_bytes() == make(tmp_path / "b.wav", pcm).read_bytes()
    assert await read(tmp_path / "a.wav") == pcm


async def pieces(pcm: bytes, size: int) -> AsyncIterator[bytes]:
    """Audio in pieces."""
    for start in range(0, len(pcm), size):
        yield pcm[start : start + size]


@pytest.mark.parametrize("size", [1, 3, 9600, 100_001])
async def test_chunks_of_any_size(tmp_path: Path, size: int) -> None:
    """They may cut samples in two. Half a sample at the end is dropped."""
    pcm = os.urandom(60_001 if size == 1 else 200_001)
    seconds = await write_wav(tmp_path / "a.wav", pieces(pcm, size))
    assert content(tmp_path / "a.wav") == ((SAMPLE_RATE, 1, 2), pcm[:-1])
    assert seconds == (len(pcm) - 1) / BYTES_PER_SECOND
    await write_wav(tmp_path / "b.wav", [pcm[start : start + size] for start in range(0, len(pcm), size)])
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_a_recording_that_is_cut_short(tmp_path: Path, error: type[BaseException]) -> None:
    """The file is valid up to that point, and the source is closed."""
    closed = False

    async def source() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield b"\1\2" * 100
            raise error
        finally:
            closed = True

    with pytest.raises(error):
        await write_wav(tmp_path / "a.wav", source())
    assert content(tmp_path / "a.wav") == ((SAMPLE_RATE, 1, 2), b"\1\2" * 100)
    assert closed


async def test_leaving_early_closes_the_file(tmp_path: Path, open_files: Callable[[], set[str]]) -> None:
    """Nothing stays open."""
    path = make(tmp_path / "a.wav", bytes(200_000))
    reading = read_wav(path)
    await anext(reading)
    assert any("a.wav" in link for link in open_files())
    await reading.aclose()
    assert not any("a.wav" in link for link in open_files())


async def test_constant_memory(tmp_path: Path) -> None:
    """A long file is never in memory as a whole."""
    make(tmp_path / "a.wav", bytes(30_000_000))
    tracemalloc.start()
    try:
        await write_wav(tmp_path / "b.wav", read_wav(tmp_path / "a.wav"))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3_000_000
    assert (tmp_path / "b.wav").stat().st_size == (tmp_path / "a.wav").stat().st_size


def sine(rate: int, seconds: float, scale: float = 0.5) -> Iterator[float]:
    """A note."""
    return (scale * math.sin(2 * math.pi * 440 * at / rate) for at in range(int(rate * seconds)))


ENCODERS: dict[int, Callable[[float], bytes]] = {
    1: lambda value: bytes([round(value * 127) + 128]),
    2: lambda value: struct.pack("<h", round(value * 32767)),
    3: lambda value: struct.pack("<i", round(value * 8388607))[:3],
    4: lambda value: struct.pack("<i", round(value * 2147483647)),
}


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels,width", [(1, 2), (2, 2), (1, 1), (2, 3), (6, 4)])
async def test_other_shapes_are_converted(tmp_path: Path, rate: int, channels: int, width: int) -> None:
    """The note keeps its length, volume and pitch."""
    pcm = b"".join(ENCODERS[width](value) * channels for value in sine(rate, 1.5))
    samples = array("h", await read(make(tmp_path / "a.wav", pcm, rate, channels, width)))
    assert abs(len(samples) - 36_000) <= 1
    wanted = [round(value * 32767) for value in sine(SAMPLE_RATE, 1.5)]
    middle = slice(2000, -2000)
    error = max(abs(got - want) for got, want in zip(samples[middle], wanted[middle], strict=False))
    assert error <= (300 if width == 1 else 40)


async def test_loud_audio_is_not_wrapped(tmp_path: Path) -> None:
    """Resampling overshoots. The samples are clipped and do not wrap around."""
    pcm = b"".join(ENCODERS[2](1.0 if value >= 0 else -1.0) for value in sine(44_100, 0.5))
    samples = array("h", await read(make(tmp_path / "a.wav", pcm, 44_100)))
    assert max(samples) == 32767
    turns = sum((before > 0) != (after > 0) for before, after in pairwise(samples))
    assert turns <= 442


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\3\0\1\0" + bytes(20), b"\x89PNG\r\n\x1a\n" * 9]
)
async def test_files_that_are_not_wav(tmp_path: Path, data: bytes) -> None:
    """The error names the file."""
    (tmp_path / "odd.wav").write_bytes(data)
    with pytest.raises(InvalidInputError, match=r"odd\.wav is not a WAV file with PCM samples"):
        await read(tmp_path / "odd.wav")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80))
def test_no_header_breaks_it(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Every file is either read or refused."""
    path = tmp_path_factory.mktemp("wav") / "odd.wav"
    path.write_bytes(b"RIFF\x24\0\0\0WAVE" + data)

    async def attempt() -> None:
        with pytest.raises(InvalidInputError):
            await read(path)

    asyncio.run(attempt())


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It raises the usual error of Python."""
    with pytest.raises(FileNotFoundError):
        await read(tmp_path / "none.wav")
    with pytest.raises(FileNotFoundError):
        await write_wav(tmp_path / "nowhere" / "none.wav", b"")


async def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that needs no conversion is read. For others the error describes the file, and says what to install."""
    monkeypatch.delitem(sys.modules, "wiro_async._transport.audio.resampling", raising=False)
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert await read(make(tmp_path / "a.wav", b"\1\2")) == b"\1\2"
    with pytest.raises(
        ConfigurationError, match=r"b\.wav has 44100 Hz, 2 .* 16 bit.*pip install 'wiro-async\[audio\]'"
    ):
        await read(make(tmp_path / "b.wav", bytes(8), 44_100, 2))


PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")


def extensible(path: Path, pcm: bytes, width: int, guid: bytes = PCM_GUID, before: bytes = b"") -> Path:
    """A WAV file with an extensible format, as recorders of 24 bit and many channels write it."""
    size = SAMPLE_RATE * width
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, SAMPLE_RATE, size, width, 8 * width, 22, 8 * width, 4) + guid
    body = b"WAVE" + before + b"fmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(pcm)) + pcm
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


async def test_extensible_formats(tmp_path: Path) -> None:
    """PCM is read, wherever the format is in the file. Others are refused."""
    pcm = os.urandom(3 * BYTES_PER_SECOND)
    assert await read(extensible(tmp_path / "a.wav", pcm, 2)) == pcm
    assert await read(extensible(tmp_path / "b.wav", pcm, 2, before=b"LIST\3\0\0\0abc\0")) == pcm
    wide = b"".join(b"\0" + pcm[at : at + 2] for at in range(0, 2000, 2))
    assert await read(extensible(tmp_path / "c.wav", wide, 3)) == pcm[:2000]
    with pytest.raises(InvalidInputError, match=r"d\.wav is not a WAV file with PCM samples: .*A-law"):
        await read(extensible(tmp_path / "d.wav", pcm, 1, b"\6" + PCM_GUID[1:]))


def riff(*chunks: tuple[bytes, int, bytes], start: bytes = b"RIFF") -> bytes:
    """Write chunks of a name, a size and a content, which need not fit."""
    return (
        start
        + b"\xff\xff\xff\xffWAVE"
        + b"".join(name + struct.pack("<I", size) + content for name, size, content in chunks)
    )


def form(tag: int = 1, bits: int = 16, channels: int = 1, rate: int = SAMPLE_RATE) -> tuple[bytes, int, bytes]:
    """Write a format."""
    block = channels * bits // 8
    return b"fmt ", 16, struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)


PCM_DATA = bytes(range(256)) * 8
SIZE = len(PCM_DATA)
LARGEST = 0xFFFF_FFFF
LIST = (b"LIST", 4, b"INFO")
AS_RECORDED = {
    "its size was never written": riff(form(), (b"data", 0, PCM_DATA)),
    "its size is the largest number": riff(form(), (b"data", LARGEST, PCM_DATA)),
    "its size is that of the longest file": riff(form(), (b"data", 0x7FFF_FFDA, PCM_DATA)),
    "it is shorter than it says": riff(form(), (b"data", SIZE + 5000, PCM_DATA)),
    "it ends within a sample": riff(form(), (b"data", SIZE + 2, PCM_DATA + b"\7")),
    "text follows": riff(form(), (b"data", SIZE, PCM_DATA), LIST),
    "RF64": riff(
        (b"ds64", 28, struct.pack("<QQQI", 9, SIZE, 5, 0)), form(), (b"data", LARGEST, PCM_DATA), LIST, start=b"RF64"
    ),
    "BW64": riff(
        (b"ds64", 28, struct.pack("<QQQI", 9, SIZE, 5, 0)), form(), (b"data", LARGEST, PCM_DATA), LIST, start=b"BW64"
    ),
    "RF64 that was cut off": riff((b"ds64", 28, bytes(28)), form(), (b"data", LARGEST, PCM_DATA), start=b"RF64"),
    "room for a ds64 that was not needed": riff((b"JUNK", 28, bytes(28)), form(), (b"data", SIZE, PCM_DATA)),
    "an odd chunk": riff((b"LIST", 3, b"abc\0"), form(), (b"data", SIZE, PCM_DATA)),
    "an odd chunk without padding": riff((b"LIST", 3, b"abc"), form(), (b"data", SIZE, PCM_DATA)),
    "an odd chunk without padding before the samples": riff(form(), (b"bext", 5, b"abcde"), (b"data", 0, PCM_DATA)),
    "an odd chunk with odd padding": riff(form(), (b"bext", 5, b"abcdeX"), (b"data", SIZE, PCM_DATA)),
    "a long chunk": riff((b"JUNK", 200_001, bytes(200_002)), form(), (b"data", SIZE, PCM_DATA)),
    "a longer format": riff((b"fmt ", 18, form()[2] + b"\0\0"), (b"data", SIZE, PCM_DATA)),
}


@pytest.mark.parametrize("data", AS_RECORDED.values(), ids=AS_RECORDED)
async def test_files_as_recorders_write_them(tmp_path: Path, data: bytes) -> None:
    """All samples come, and nothing else."""
    (tmp_path / "a.wav").write_bytes(data)
    assert await read(tmp_path / "a.wav") == PCM_DATA


async def test_a_file_without_samples(tmp_path: Path) -> None:
    """Its size may be right. Then what follows is not read as samples."""
    (tmp_path / "a.wav").write_bytes(riff(form(), (b"data", 0, b""), LIST))
    (tmp_path / "b.wav").write_bytes(riff(form(), (b"data", 0, b"")))
    assert await read(tmp_path / "a.wav") == await read(tmp_path / "b.wav") == b""


async def test_a_pipe(tmp_path: Path) -> None:
    """It cannot be read twice, nor from another place."""
    os.mkfifo(tmp_path / "pipe.wav")

    def write() -> None:
        (tmp_path / "pipe.wav").write_bytes(AS_RECORDED["a long chunk"])

    writing = asyncio.get_running_loop().run_in_executor(None, write)
    assert await read(tmp_path / "pipe.wav") == PCM_DATA
    await writing


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("rate", [SAMPLE_RATE, 48_000])
async def test_floating_point(tmp_path: Path, bits: int, rate: int) -> None:
    """It is converted. What is too loud is clipped, and what is no number is silent."""
    code = "f" if bits == 32 else "d"
    values = [*sine(rate, 1.0), *[2.0] * 500, *[-math.inf] * 500, *[math.nan] * 500]
    data = struct.pack(f"<{len(values)}{code}", *values)
    (tmp_path / "a.wav").write_bytes(riff(form(3, bits, rate=rate), (b"data", len(data), data)))
    samples = array("h", await read(tmp_path / "a.wav"))
    wanted = [round(value * 32767) for value in sine(SAMPLE_RATE, 1.0)]
    middle = slice(2000, SAMPLE_RATE - 2000)
    assert max(abs(got - want) for got, want in zip(samples[middle], wanted[middle], strict=False)) <= 40
    assert (max(samples), min(samples)) == (32767, -32768)


@pytest.mark.parametrize(
    "data, why",
    [
        (riff(form(6, 8), (b"data", SIZE, PCM_DATA)), "A-law.*save it as 16-bit PCM"),
        (riff(form(7, 8), (b"data", SIZE, PCM_DATA)), "mu-law"),
        (riff(form(0x1234), (b"data", SIZE, PCM_DATA)), "0x1234"),
        (riff(form(1, 64), (b"data", SIZE, PCM_DATA)), "64 bits"),
        (riff(form(3, 16), (b"data", SIZE, PCM_DATA)), "16 bits"),
        (riff(form(channels=0), (b"data", SIZE, PCM_DATA)), "0 channels"),
        (riff(form(rate=0), (b"data", SIZE, PCM_DATA)), "0 Hz"),
        (riff((b"data", SIZE, PCM_DATA), form()), "does not come before"),
        (riff(form()), "ends before its samples"),
        (riff((b"fmt ", 8, bytes(8)), (b"data", SIZE, PCM_DATA)), "cut off"),
        (riff(form(), (b"data", SIZE, PCM_DATA), start=b"RIFX"), "big-endian"),
        (b"FORM" + bytes(40), "does not begin like one"),
    ],
)
async def test_refusals_say_why(tmp_path: Path, data: bytes, why: str) -> None:
    """The error names the file, and what to do where something can be done."""
    (tmp_path / "odd.wav").write_bytes(data)
    with pytest.raises(InvalidInputError, match=rf"odd\.wav is not a WAV file with PCM samples: .*{why}"):
        await read(tmp_path / "odd.wav")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: array("h", data)])
async def test_all_kinds_of_audio_are_written(tmp_path: Path, kind: Callable[[bytes], Any]) -> None:
    """Everything that can be sent can be written, at once or in pieces."""
    pcm = os.urandom(1000)
    await write_wav(tmp_path / "a.wav", kind(pcm))
    await write_wav(tmp_path / "b.wav", [kind(pcm[:400]), kind(pcm[400:])])
    for name in ("a.wav", "b.wav"):
        assert content(tmp_path / name)[1] == pcm


async def broken() -> AsyncIterator[Any]:
    """No audio."""
    yield "text"


@pytest.mark.parametrize("source", [5, "text", None, ["text"], [5], broken, array("d", [0.5])])
async def test_invalid_audio_replaces_no_file(tmp_path: Path, source: Any) -> None:
    """A file of that name stays as it was, and none is made."""
    (tmp_path / "a.wav").write_bytes(b"precious")
    for name in ("a.wav", "b.wav"):
        given: Any = source() if callable(source) else source
        with pytest.raises(InvalidInputError, match="not audio"):
            await write_wav(tmp_path / name, given)
    assert (tmp_path / "a.wav").read_bytes() == b"precious"
    assert not (tmp_path / "b.wav").exists()


async def test_a_longer_file_is_replaced(tmp_path: Path) -> None:
    """It is replaced completely, also by nothing. Audio before something that is not audio is kept."""
    path = make(tmp_path / "a.wav", bytes(1000))
    with pytest.raises(InvalidInputError):
        await write_wav(path, [b"\1\2", "text"])  # type: ignore[list-item]
    assert content(path)[1] == b"\1\2"
    assert path.stat().st_size == 46
    await write_wav(path, [])
    assert content(path)[1] == b""
