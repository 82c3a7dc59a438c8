"""WAV files, read and written in threads, a piece at a time."""

from __future__ import annotations

import os
import struct
import threading
import wave
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import anyio
import anyio.to_thread

from wiro_async._errors import ConfigurationError, InvalidInputError
from wiro_async._protocol.conversations.realtime_audio import BYTES_PER_SECOND, PCM, SAMPLE_BYTES, SAMPLE_RATE, pcm_view
from wiro_async._transport.audio.wav_header import as_plain

# What the standard library raises of files that are damaged, or none of its kind.
BROKEN = (wave.Error, EOFError, RuntimeError, ValueError, struct.error)
PIECE_SECONDS = 1  # of audio, read at a time
PIECE_BYTES = BYTES_PER_SECOND  # gathered before they are written


class Convert(Protocol):
    """Turns audio of another shape into 16-bit mono at 24 kHz."""

    def __call__(self, pcm: bytes, *, last: bool) -> bytes:
        """The audio of a piece, which may come out with a later one."""
        ...


async def read_wav(path: str | os.PathLike[str]) -> AsyncGenerator[bytes, None]:
    """The audio of a WAV file as realtime sessions take it, a second at a time: `session.send_stream(read_wav(path))`.

    Files with other rates, more channels or other sample widths are converted, which needs the extra `audio`. It takes
    constant memory.

    Raises:
        InvalidInputError: that is no WAV file, or its samples are compressed or floating point.
        ConfigurationError: it must be converted, and the extra is not installed.
        OSError: it cannot be opened.
    """
    reader = _Reader(path)
    try:
        while piece := await anyio.to_thread.run_sync(reader.read):
            yield piece
    finally:
        await _surely(reader.close)


async def write_wav(path: str | os.PathLike[str], chunks: PCM | Iterable[PCM] | AsyncIterable[PCM]) -> float:
    """Write audio of a realtime session to a WAV file as it comes, 24 kHz mono 16-bit. Returns its length in seconds.

    Whatever ends it, an error and cancellation included, the file is complete and has what came until then. A file of
    that name is replaced. A generator is closed in the end.

    Args:
        chunks: PCM, such as `session.audio()`: all that `session.send_audio` takes, at once or in pieces.

    Raises:
        InvalidInputError: that is no audio; if none came before, no file was made or replaced.
        OSError: it cannot be written.
    """
    _check_source(chunks)
    writer = _Writer(path)
    try:
        await anyio.to_thread.run_sync(writer.open)
        async for chunk in _pieces(chunks):
            writer.add(pcm_view(chunk))
            if writer.waiting >= PIECE_BYTES:
                await anyio.to_thread.run_sync(writer.write)
    except InvalidInputError:
        writer.spares = True
        raise
    finally:
        await _surely(writer.close)
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    return writer.seconds


async def _surely(close: Callable[[], None]) -> None:
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(close)


def _check_source(chunks: object) -> None:
    """Raises `InvalidInputError` for what neither is audio nor gives any."""
    if isinstance(chunks, str) or not isinstance(chunks, (AsyncIterable, Iterable)) or _has_buffer(chunks):
        pcm_view(chunks)


def _has_buffer(chunks: object) -> bool:
    try:
        memoryview(chunks)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        return False
    return True


async def _pieces(chunks: PCM | Iterable[PCM] | AsyncIterable[PCM]) -> AsyncGenerator[PCM, None]:
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield chunk
    elif _has_buffer(chunks):
        yield cast("PCM", chunks)
    else:
        for chunk in cast("Iterable[PCM]", chunks):
            yield chunk


class _Reader:
    """A WAV file that is read; opened by the first `read`. A thread that is late finds it closed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._lock = threading.Lock()
        self._opened: BinaryIO | None = None
        self._file: wave.Wave_read | None = None
        self._convert: Convert | None = None
        self._ended = False

    def read(self) -> bytes:
        """The next piece; empty at the end."""
        with self._lock:
            try:
                while not self._ended:
                    if piece := self._next():
                        return piece
            except BROKEN as error:
                raise self._unreadable(str(error)) from error
        return b""

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._ended = True
            if self._opened is not None:
                self._opened.close()

    def _next(self) -> bytes:
        if self._file is None:
            self._opened = open(self._path, "rb")  # noqa: SIM115, PTH123 - closed by `close`
            self._file = wave.open(as_plain(self._opened), "rb")  # noqa: SIM115
            self._convert = _converter(self._path, self._file)
        raw = self._file.readframes(PIECE_SECONDS * self._file.getframerate())
        self._ended = not raw
        return raw if self._convert is None else self._convert(raw, last=self._ended)

    def _unreadable(self, why: str) -> InvalidInputError:
        name = os.path.basename(self._path)
        return InvalidInputError(message=f"{name} is not a WAV file with PCM samples: {why or 'it is damaged'}")


class _Writer:
    """A WAV file that grows. A thread that is late finds it closed.

    Attributes:
        spares: whether a file in which nothing was written is left as it was.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._lock = threading.Lock()
        self._closed = False
        self._opened: BinaryIO | None = None
        self._file: wave.Wave_write | None = None
        self._pending = bytearray()
        self._written = 0
        self._is_new = False
        self.spares = False

    @property
    def waiting(self) -> int:
        """Bytes that are not written yet."""
        return len(self._pending)

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return self._written / BYTES_PER_SECOND

    def open(self) -> None:
        """Make the file, or open it as it is."""
        with self._lock:
            if not self._closed:
                self._is_new = not Path(self._path).exists()
                self._opened = open(self._path, "xb" if self._is_new else "r+b")  # noqa: SIM115, PTH123 - see `close`

    def add(self, chunk: memoryview) -> None:
        """Take audio, of any size."""
        self._pending += chunk

    def write(self) -> None:
        """Write the whole samples that there are."""
        with self._lock:
            if self._opened is not None and not self._closed:
                self._file = self._file or _emptied(self._opened)
                whole = bytes(self._pending[: self.waiting // SAMPLE_BYTES * SAMPLE_BYTES])
                del self._pending[: len(whole)]
                self._file.writeframesraw(whole)
                self._written += len(whole)

    def close(self) -> None:
        """Write the rest and the final header."""
        is_spared = self.spares and self._file is None and not self._pending
        try:
            if not is_spared:
                self.write()
        finally:
            with self._lock:
                self._closed = True
                if self._opened is not None:
                    with self._opened:
                        if self._file is not None:
                            self._file.close()
                    if is_spared and self._is_new:
                        Path(self._path).unlink()


def _emptied(opened: BinaryIO) -> wave.Wave_write:
    opened.truncate(0)
    file = wave.open(opened, "wb")  # noqa: SIM115 - closed by `close`
    file.setparams((1, SAMPLE_BYTES, SAMPLE_RATE, 0, "NONE", "not compressed"))
    return file


def _converter(path: str, file: wave.Wave_read) -> Convert | None:
    shape = (file.getframerate(), file.getnchannels(), file.getsampwidth())
    if shape == (SAMPLE_RATE, 1, SAMPLE_BYTES):
        return None
    try:
        from wiro_async._transport.audio.resampling import Converter
    except ModuleNotFoundError as error:
        rate, channels, width = shape
        raise ConfigurationError(
            f"{os.path.basename(path)} has {rate} Hz, {channels} channel(s) and {8 * width} bit, realtime audio has "
            f"{SAMPLE_RATE} Hz, 1 channel and 16 bit; to have it converted: pip install 'wiro-async[audio]'"
        ) from error
    return Converter(*shape)
