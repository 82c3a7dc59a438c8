"""WAV files, read and written in threads, piece by piece."""

from __future__ import annotations

import math
import os
import threading
import wave
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import anyio

from wiro_async._errors import ConfigurationError, InvalidInputError
from wiro_async._protocol.conversations.realtime_audio import BYTES_PER_SECOND, PCM, SAMPLE_BYTES, SAMPLE_RATE, pcm_view
from wiro_async._transport import threads
from wiro_async._transport.audio.wav_header import WavFormat, read_header

if TYPE_CHECKING:
    from wiro_async._transport.audio.resampling import Converter

PIECE_SECONDS = 1  # of audio, read at a time
PIECE_BYTES = BYTES_PER_SECOND  # collected before they are written


async def read_wav(path: str | os.PathLike[str]) -> AsyncGenerator[bytes, None]:
    """The audio of a WAV file, as realtime sessions take it: `session.send_stream(read_wav(path))`.

    It comes a second at a time, in constant memory. Files with other rates, more channels, other sample widths or
    floating point are converted, which needs the extra `audio`. A file whose header does not know the size, as after a
    recording that was streamed or cut off, is read to its end; half a sample at the end is dropped.

    Raises:
        InvalidInputError: it is not a WAV file, or its samples are compressed.
        ConfigurationError: it must be converted, and the extra is not installed.
        OSError: it cannot be opened.
    """
    reader = _Reader(path)
    try:
        while piece := await threads.run(reader.read):
            yield piece
    finally:
        await _shielded(reader.close)


async def write_wav(path: str | os.PathLike[str], chunks: PCM | Iterable[PCM] | AsyncIterable[PCM]) -> float:
    """Write audio of a realtime session to a WAV file as it comes, 24 kHz mono 16-bit. Returns its length in seconds.

    The file is complete even after an error or cancellation: it has the audio that came until then. A file of that name
    is replaced. If `chunks` is a generator, it is closed at the end.

    Args:
        chunks: PCM, such as `session.audio()`. Everything that `session.send_audio` takes, at once or in pieces.

    Raises:
        InvalidInputError: that is not audio. If no audio came before, no file was made or replaced.
        OSError: it cannot be written.
    """
    pieces = _pieces_of(chunks)
    writer = _Writer(path)
    try:
        await threads.run(writer.open)
        async for chunk in pieces:
            writer.add(pcm_view(chunk))
            if writer.waiting >= PIECE_BYTES:
                await threads.run(writer.write)
    except InvalidInputError:
        writer.keep_untouched()
        raise
    finally:
        await _shielded(writer.close)
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    return writer.seconds


async def _shielded(close: Callable[[], None]) -> None:
    with anyio.CancelScope(shield=True):
        await threads.run(close)


def _pieces_of(chunks: PCM | Iterable[PCM] | AsyncIterable[PCM]) -> AsyncIterable[PCM]:
    """Audio in pieces, however it is given. Raises `InvalidInputError` at once if it is not audio."""
    if isinstance(chunks, AsyncIterable):
        return chunks
    try:
        memoryview(chunks)  # type: ignore[arg-type]  # whether it has a buffer is the question
        is_one_piece = True
    except TypeError:
        is_one_piece = isinstance(chunks, str) or not isinstance(chunks, Iterable)
    if is_one_piece:
        pcm_view(chunks)
    pieces = [chunks] if is_one_piece else chunks

    async def iterate() -> AsyncGenerator[PCM, None]:
        for piece in cast("Iterable[PCM]", pieces):
            yield piece

    return iterate()


class _Reader:
    """A WAV file that is read in threads. The first `read` opens it. A thread that is late finds it closed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._lock = threading.Lock()
        self._file: BufferedReader | None = None
        self._format: WavFormat | None = None
        self._left: float = 0  # bytes of samples that are still to come
        self._convert: Converter | None = None
        self._ended = False

    def read(self) -> bytes:
        with self._lock:
            while not self._ended:
                raw = self._read(*(self._opened or self._open()))
                self._ended = not raw
                if piece := raw if self._convert is None else self._convert(raw, last=self._ended):
                    return piece
        return b""

    def close(self) -> None:
        with self._lock:
            self._ended = True
            if self._file is not None:
                self._file.close()

    @property
    def _opened(self) -> tuple[BufferedReader, WavFormat] | None:
        return None if self._file is None or self._format is None else (self._file, self._format)

    def _read(self, file: BufferedReader, form: WavFormat) -> bytes:
        raw = file.read(int(min(PIECE_SECONDS * form.rate * form.frame, self._left)))
        self._left -= len(raw)
        return raw[: len(raw) // form.frame * form.frame]

    def _open(self) -> tuple[BufferedReader, WavFormat]:
        file = self._file = open(self._path, "rb")  # noqa: SIM115, PTH123 - closed by `close`
        name = os.path.basename(self._path)
        try:
            form = self._format = read_header(file)
        except ValueError as error:
            raise InvalidInputError(message=f"{name} is not a WAV file with PCM samples: {error}") from error
        self._left = math.inf if form.size is None else form.size
        if (form.rate, form.channels, form.width, form.is_float) == (SAMPLE_RATE, 1, SAMPLE_BYTES, False):
            return file, form
        try:
            from wiro_async._transport.audio.resampling import Converter
        except ModuleNotFoundError as error:
            kind = " floating point" if form.is_float else ""
            raise ConfigurationError(
                f"{name} has {form.rate} Hz, {form.channels} channel(s) and {8 * form.width} bit{kind}. Realtime audio "
                f"has {SAMPLE_RATE} Hz, 1 channel and 16 bit. To convert it: pip install 'wiro-async[audio]'"
            ) from error
        self._convert = Converter(form.rate, form.channels, form.width, is_float=form.is_float)
        return file, form


class _Writer:
    """A WAV file that is written in threads. A thread that is late finds it closed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._lock = threading.Lock()
        self._closed = False
        self._opened: BinaryIO | None = None
        self._file: wave.Wave_write | None = None
        self._pending = bytearray()
        self._written = 0
        self._is_new = False
        self._keeps_untouched = False

    @property
    def waiting(self) -> int:
        """Bytes that are not written yet."""
        return len(self._pending)

    @property
    def seconds(self) -> float:
        return self._written / BYTES_PER_SECOND

    def open(self) -> None:
        """Create the file, or open it as it is."""
        with self._lock:
            if not self._closed:
                self._is_new = not Path(self._path).exists()
                self._opened = open(self._path, "xb" if self._is_new else "r+b")  # noqa: SIM115, PTH123 - see `close`

    def add(self, chunk: memoryview) -> None:
        """Collect audio of any size."""
        self._pending += chunk

    def write(self) -> None:
        """Write the whole samples that were collected."""
        with self._lock:
            if self._opened is not None and not self._closed:
                if self._file is None:
                    self._opened.truncate(0)
                    self._file = wave.open(self._opened, "wb")  # noqa: SIM115 - closed by `close`
                    self._file.setparams((1, SAMPLE_BYTES, SAMPLE_RATE, 0, "NONE", "not compressed"))
                whole = bytes(self._pending[: self.waiting // SAMPLE_BYTES * SAMPLE_BYTES])
                del self._pending[: len(whole)]
                self._file.writeframesraw(whole)
                self._written += len(whole)

    def keep_untouched(self) -> None:
        """Have `close` leave a file alone to which nothing was written."""
        self._keeps_untouched = True

    def close(self) -> None:
        """Write the rest and the final header."""
        is_untouched = self._keeps_untouched and self._file is None and not self._pending
        try:
            if not is_untouched:
                self.write()
        finally:
            with self._lock:
                self._closed = True
                if self._opened is not None:
                    with self._opened:
                        if self._file is not None:
                            self._file.close()
                    if is_untouched and self._is_new:
                        Path(self._path).unlink()
