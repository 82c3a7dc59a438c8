"""Audio of any shape as 16-bit mono at 24 kHz, the only place that knows numpy and soxr (the extra `audio`)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from wiro_async._protocol.conversations.realtime_audio import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

soxr = import_module("soxr")  # it has no types
FULL = 2.0**31


class Converter:
    """Converts a stream of PCM, piece by piece.

    Args:
        rate: samples a second.
        channels: how many; their mean is taken.
        width: bytes of a sample: 1 (unsigned), or 2, 3 or 4 (signed, little-endian).
    """

    def __init__(self, rate: int, channels: int, width: int) -> None:
        self._channels = channels
        self._width = width
        self._stream = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def __call__(self, pcm: bytes, *, last: bool) -> bytes:
        """The audio of a piece, which may come out with a later one."""
        samples = self._samples(pcm).reshape(-1, self._channels).mean(axis=1, dtype=np.float32)
        if self._stream is not None:
            samples = self._stream.resample_chunk(samples, last=last)
        scaled = np.rint(samples * 32768.0)
        return bytes(np.clip(scaled, -32768, 32767).astype("<i2").tobytes())

    def _samples(self, pcm: bytes) -> NDArray[np.float32]:
        """The samples of all channels, from -1 to 1: each as the high bytes of a 32-bit number."""
        pcm = pcm[: len(pcm) // (self._width * self._channels) * self._width * self._channels]
        raw = np.frombuffer(pcm, np.uint8).reshape(-1, self._width)
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 4 - self._width :] = raw ^ 0x80 if self._width == 1 else raw
        return (wide.view("<i4")[:, 0] / FULL).astype(np.float32)
