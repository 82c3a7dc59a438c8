"""Content codings of response bodies.

They are decoded here, not by httpx: it takes a compressed body that breaks off for a complete one, and it accepts more
codings where somebody has installed brotli or zstandard.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from wiro_async._errors import ConnectionFailedError

ACCEPTED: Final = "gzip, deflate"
PIECE: Final = 1024 * 1024  # most bytes that are decoded at a time, so that a small chunk cannot fill the memory
ZLIB_OR_GZIP: Final = 47
RAW_DEFLATE: Final = -15  # some servers send "deflate" without the zlib header that the standard asks for


class ContentDecoder:
    """Decodes one body; gzip allows several streams in a row.

    Raises:
        ConnectionFailedError: the coding is unknown, the data do not fit it, or they break off.
    """

    def __init__(self, coding: str) -> None:
        if coding.lower() not in ("gzip", "x-gzip", "deflate"):
            raise ConnectionFailedError(
                f"The response body has the content coding {coding!r}, which was not asked for.", permanent=True
            )
        self._stream = zlib.decompressobj(ZLIB_OR_GZIP)
        self._has_begun = False

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._stream.eof:
                self._stream = zlib.decompressobj(ZLIB_OR_GZIP)
            try:
                piece = self._stream.decompress(chunk, PIECE)
            except zlib.error as error:
                if self._has_begun:
                    raise ConnectionFailedError(f"The response body could not be decoded: {error}.") from error
                self._has_begun, self._stream = True, zlib.decompressobj(RAW_DEFLATE)
                continue
            self._has_begun = True
            chunk = self._stream.unconsumed_tail or self._stream.unused_data
            if piece:
                yield piece

    def finish(self) -> bytes:
        """The rest, once all chunks were decoded."""
        rest = self._stream.flush()
        if self._has_begun and not self._stream.eof:
            raise ConnectionFailedError("The response body broke off within its content coding.")
        return rest
