"""Content codings of files, undone here: libraries take one that breaks off for whole."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

from wiro_async._errors import ConnectionFailedError

PIECE: Final = 1024 * 1024  # bytes that are unpacked at a time, however small they were
ZLIB_OR_GZIP: Final = 47
BARE: Final = -15  # some servers call a stream "deflate" that has no zlib head around it


@asynccontextmanager
async def undone(chunks: AsyncIterator[bytes], coding: str) -> AsyncGenerator[AsyncIterator[bytes], None]:
    """The body itself.

    Raises:
        ConnectionFailedError: while iterating: it is not whole, or coded in a way that its head does not say, or that
            is not known here.
    """
    if coding.lower() in ("", "identity"):
        yield chunks
        return
    async with aclosing(_unpacked(chunks, coding)) as unpacked:
        yield unpacked


async def _unpacked(chunks: AsyncIterator[bytes], coding: str) -> AsyncGenerator[bytes, None]:
    if coding.lower() not in ("gzip", "x-gzip", "deflate"):
        raise ConnectionFailedError(f"the body comes in the coding {coding!r}, which nobody asked for", permanent=True)
    unpacker = _Unpacker()
    async for chunk in chunks:
        while chunk:
            piece, chunk = unpacker.take(chunk)
            if piece:
                yield piece
    if rest := unpacker.rest():
        yield rest


class _Unpacker:
    """One stream after the other, as gzip allows."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(ZLIB_OR_GZIP)
        self._has_begun = False

    def take(self, chunk: bytes) -> tuple[bytes, bytes]:
        """Some of what is in a chunk, and what is left of the chunk."""
        if self._stream.eof:
            self._stream = zlib.decompressobj(ZLIB_OR_GZIP)
        try:
            piece = self._stream.decompress(chunk, PIECE)
        except zlib.error as error:
            if self._has_begun:
                raise ConnectionFailedError(f"the body cannot be unpacked: {error}") from error
            self._has_begun, self._stream = True, zlib.decompressobj(BARE)
            return b"", chunk
        self._has_begun = True
        return piece, self._stream.unconsumed_tail or self._stream.unused_data

    def rest(self) -> bytes:
        """What is left at the end."""
        rest = self._stream.flush()
        if self._has_begun and not self._stream.eof:
            raise ConnectionFailedError("the body broke off within its content coding")
        return rest
