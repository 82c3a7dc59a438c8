"""Conversion of audio to 16-bit mono at 24 kHz. The only file that imports numpy and soxr (the extra `audio`)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from wiro_async._protocol.conversations.realtime_audio import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

soxr = import_module("soxr")  # has no types
FULL = 2.0**31


class Converter:
    """Converts a stream of PCM, piece by piece.

    Args:
        rate: samples a second.
        channels: their number. The result is their mean.
        width: bytes of a sample: 1 (unsigned), or 2, 3 or 4 (signed, little-endian), as floating point 4 or 8.
        is_float: whether the samples are floating point, from -1 to 1.
    """

    def __init__(self, rate: int, channels: int, width: int, *, is_float: bool = False) -> None:
        self._channels = channels
        self._width = width
        self._is_float = is_float
        self._stream = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def __call__(self, pcm: bytes, *, last: bool) -> bytes:
        """The converted audio of a piece. Some of it may come with a later piece."""
        samples = self._samples(pcm).reshape(-1, self._channels).mean(axis=1, dtype=np.float32)
        if self._stream is not None:
            samples = self._stream.resample_chunk(samples, last=last)
        scaled = np.rint(samples * 32768.0)
        return bytes(np.clip(scaled, -32768, 32767).astype("<i2").tobytes())

    def _samples(self, pcm: bytes) -> NDArray[np.float32]:
        """The samples of all channels, from -1 to 1: each is taken as the high bytes of a 32-bit number."""
        pcm = pcm[: len(pcm) // (self._width * self._channels) * self._width * self._channels]
        if self._is_float:  # a recorder's NaN is silence
            values = np.frombuffer(pcm, np.dtype(f"<f{self._width}")).astype(np.float64)
            return np.nan_to_num(values).clip(-1.0, 1.0).astype(np.float32)
        raw = np.frombuffer(pcm, np.uint8).reshape(-1, self._width)
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 4 - self._width :] = raw ^ 0x80 if self._width == 1 else raw
        return (wide.view("<i4")[:, 0] / FULL).astype(np.float32)
