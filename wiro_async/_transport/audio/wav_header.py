"""WAV files whose format is "extensible". The standard library reads them from Python 3.12 on only."""

from __future__ import annotations

import struct
from typing import BinaryIO, cast

EXTENSIBLE, PLAIN = struct.pack("<H", 0xFFFE), struct.pack("<H", 1)
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
FIRST_CHUNK = 12  # after the header of the file
GUID_OFFSET = 24  # within the format chunk


def as_plain(file: BinaryIO) -> BinaryIO:
    """The file, from its beginning. If its format is extensible PCM, it reads as plain PCM."""
    place = FIRST_CHUNK
    while True:
        file.seek(place)
        header = file.read(8)
        if len(header) < 8:
            break
        name, size = struct.unpack("<4sI", header)
        place += len(header)
        if name == b"fmt ":
            form = file.read(GUID_OFFSET + len(PCM_GUID))
            if form.startswith(EXTENSIBLE) and form[GUID_OFFSET:] == PCM_GUID:
                file.seek(0)
                return cast("BinaryIO", _Retagged(file, place))
            break
        place += size + size % 2  # chunks begin at even places
    file.seek(0)
    return file


class _Retagged:
    """A file that has another tag in one place."""

    def __init__(self, file: BinaryIO, place: int) -> None:
        self._file = file
        self._place = place
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        at = self._place - self._file.tell()
        data = self._file.read(size)
        return data[:at] + PLAIN + data[at + len(PLAIN) :] if 0 <= at <= len(data) - len(PLAIN) else data
