"""Read the header of a WAV file the way recorders write it.

The standard library's `wave` refuses floating point, and believes a size that is not true. A recorder that streams
writes the header before it knows the size: it says 0 or the largest number, and so does one that was switched off.
Files over 4 GiB keep their size elsewhere (RF64, EBU Tech 3306), and some writers forget the padding byte of chunks
with an odd size. So the file is read from its beginning to its end without a seek, which suits pipes, too.
"""

from __future__ import annotations

import struct
from io import BufferedReader

import attrs

PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # of an extensible format whose first two bytes are a tag
GUID = slice(24, 40)  # within the format chunk
UNKNOWN_SIZE = 0xFFFF_FFFF
WIDTHS = {PCM: (1, 2, 3, 4), FLOAT: (4, 8)}  # bytes of a sample
CODECS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x11: "ADPCM", 0x31: "GSM", 0x50: "MPEG", 0x55: "MP3", 0xFF: "AAC"}
# They show where a chunk begins, if the one before has an odd size.
CHUNKS = frozenset(
    b"fmt |data|fact|LIST|JUNK|junk|PAD |FLLR|bext|cue |smpl|inst|id3 |ID3 |iXML|axml|chna|PEAK|levl|ds64".split(b"|")
)
BLOCK = 64 * 1024


@attrs.frozen
class WavFormat:
    """How the samples of a WAV file are stored.

    Attributes:
        width: bytes of a sample: 1 (unsigned), 2, 3 or 4 (signed), as floating point 4 or 8; little-endian.
        size: bytes of all samples; None if they go on to the end of the file.
    """

    rate: int
    channels: int
    width: int
    is_float: bool
    size: int | None = None

    @property
    def frame(self) -> int:
        """Bytes of one sample of each channel."""
        return self.channels * self.width


def read_header(file: BufferedReader) -> WavFormat:
    """Read a file up to its first sample. Raises ValueError with the reason if there is none that can be read."""
    riff, _, wave = struct.unpack("<4sI4s", _exactly(file, 12))
    if riff == b"RIFX":
        raise ValueError("its numbers are big-endian (RIFX)")
    if riff not in (b"RIFF", b"RF64", b"BW64") or wave != b"WAVE":
        raise ValueError("it does not begin like one")
    found: WavFormat | None = None
    large_size = 0
    while True:
        name, size = struct.unpack("<4sI", _exactly(file, 8))
        if name == b"data":
            if found is None:
                raise ValueError("its format does not come before its samples")
            return attrs.evolve(found, size=_size_of_samples(file, size, large_size))
        kept = file.read(min(size, BLOCK))
        if name == b"fmt ":
            found = _parse_format(kept)
        elif name == b"ds64" and len(kept) >= 16:
            (large_size,) = struct.unpack_from("<Q", kept, 8)
        _skip(file, size - len(kept))
        # A chunk of an odd size is padded. Some writers forget that, and then the next one begins at once.
        if size % 2 and file.peek(4)[:4] not in CHUNKS:
            _skip(file, 1)


def _size_of_samples(file: BufferedReader, size: int, large_size: int) -> int | None:
    if size == UNKNOWN_SIZE:
        return large_size if 0 < large_size < 2**63 else None
    if size == 0 and file.peek(4)[:4] not in CHUNKS:
        return None  # nobody wrote it down in the end
    return size


def _parse_format(data: bytes) -> WavFormat:
    if len(data) < 16:
        raise ValueError("its format is cut off")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", data)
    guid = data[GUID]
    if tag == EXTENSIBLE and guid[2:] == GUID_TAIL:
        (tag,) = struct.unpack_from("<H", guid)
    if tag not in WIDTHS:
        raise ValueError(f"its samples are compressed ({CODECS.get(tag, hex(tag))}); save it as 16-bit PCM")
    if not channels or not rate:
        raise ValueError(f"its format says {channels} channels and {rate} Hz")
    # 20 bits may lie in three bytes or in four: the size of a block of all channels tells.
    width = block // channels if block % channels == 0 and block * 8 >= channels * bits else -(-bits // 8)
    if width not in WIDTHS[tag]:
        raise ValueError(f"its samples have {bits} bits in {width} bytes; save it as 16-bit PCM")
    return WavFormat(rate, channels, width, tag == FLOAT)


def _exactly(file: BufferedReader, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise ValueError("it ends before its samples begin")
    return data


def _skip(file: BufferedReader, size: int) -> None:
    while size > 0 and (skipped := file.read(min(size, BLOCK))):
        size -= len(skipped)
