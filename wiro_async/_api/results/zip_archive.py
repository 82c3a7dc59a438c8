"""Make a zip archive as a stream: no more than one chunk of it is in memory.

Outputs are pictures, films and sound, which do not get smaller, so nothing is compressed. The entries are marked as
"deflated" all the same, in stored blocks: the size of an entry is known only after its bytes, and readers that cannot
seek refuse such an entry if it is marked as stored.
"""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Iterable
from importlib import import_module
from typing import TypeAlias

from wiro_async._api.results.output import Output
from wiro_async._transport import threads

Moment: TypeAlias = tuple[int, int, int, int, int, int]
LARGE = 2**31 - 1  # from here on an entry needs the 64-bit fields that the oldest readers do not know


async def zipped(entries: Iterable[tuple[str, Output]], made_at: Moment) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of an archive of some outputs, which are downloaded one after the other."""
    await threads.run(import_module, "zipfile")
    from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

    sink = _Sink()
    with ZipFile(sink, "w") as archive:
        for name, output in entries:
            info = ZipInfo(name, made_at)
            info.compress_type = ZIP_DEFLATED
            setattr(info, "_compresslevel", 0)  # noqa: B010  # there is no public name for it before Python 3.13
            is_large = output.size is None or output.size > LARGE
            async with output.stream() as chunks:
                with archive.open(info, "w", force_zip64=is_large) as entry:
                    async for chunk in chunks:
                        entry.write(chunk)
                        yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """What the archive is written into. It cannot seek, and `ZipFile` notices that."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
