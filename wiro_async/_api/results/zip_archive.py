"""A zip archive as a stream: nothing is kept but the piece that is just being sent."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

import anyio.to_thread

from wiro_async._api.results.output import Output

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

Moment: TypeAlias = tuple[int, int, int, int, int, int]
LARGE = 2**31 - 1  # from here on a zip needs the 64-bit fields that the oldest readers do not know


async def zipped(entries: Iterable[tuple[str, Output]], made_at: Moment) -> AsyncGenerator[bytes, None]:
    """The bytes of an archive of some outputs, one after the other.

    Pictures, films and sound do not get smaller, so nothing is compressed; the entries are "deflated" all the same,
    in stored blocks, as readers that cannot seek refuse stored entries whose sizes come after them.
    """
    await anyio.to_thread.run_sync(import_module, "zipfile")
    from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

    sink = _Sink()
    with ZipFile(sink, "w") as archive:
        for name, output in entries:
            info = ZipInfo(name, made_at)
            info.compress_type = ZIP_DEFLATED
            setattr(info, "_compresslevel", 0)  # noqa: B010  # there is no public name for it before Python 3.13
            async with aclosing(_entry(archive, info, output, sink)) as pieces:
                async for piece in pieces:
                    yield piece
    yield sink.taken()


async def _entry(archive: ZipFile, info: ZipInfo, output: Output, sink: _Sink) -> AsyncGenerator[bytes, None]:
    is_large = output.size is None or output.size > LARGE
    async with output.stream() as chunks:
        with archive.open(info, "w", force_zip64=is_large) as entry:
            async for chunk in chunks:
                entry.write(chunk)
                yield sink.taken()


class _Sink(io.RawIOBase):
    """What an archive is written into, to be taken out again at once. It cannot seek, and says so."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
