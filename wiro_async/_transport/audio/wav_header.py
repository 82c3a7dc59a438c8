"""WAV files whose format is "extensible", which the standard library reads from Python 3.12 on only."""

from __future__ import annotations

import struct
from typing import BinaryIO, cast

EXTENSIBLE, PLAIN = struct.pack("<H", 0xFFFE), struct.pack("<H", 1)
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
GUID_PLACE = 24  # within the format chunk


def as_plain(file: BinaryIO) -> BinaryIO:
    """The file, from its beginning; one whose extensible format is PCM as one that says so plainly."""
    place = _place_of_tag(file)
    file.seek(0)
    return file if place is None else cast("BinaryIO", _Retagged(file, place))


def _place_of_tag(file: BinaryIO) -> int | None:
    """Where such a file tells its format."""
    place = 12
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return None
        name, size = struct.unpack("<4sI", head)
        place += len(head)
        if name == b"fmt ":
            form = file.read(GUID_PLACE + len(PCM_GUID))
            return place if form.startswith(EXTENSIBLE) and form[GUID_PLACE:] == PCM_GUID else None
        place += size + size % 2


class _Retagged:
    """A file that has another tag in one place."""

    def __init__(self, file: BinaryIO, place: int) -> None:
        self._file = file
        self._place = place
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        """As of every file."""
        at = self._place - self._file.tell()
        data = self._file.read(size)
        return data[:at] + PLAIN + data[at + len(PLAIN) :] if 0 <= at <= len(data) - len(PLAIN) else data
