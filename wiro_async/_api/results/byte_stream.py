"""Bytes that arrive over time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Self

from wiro_async._api.results.async_items import Items
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._public import public


@cuts_frames
@public
class ByteStream(Items[bytes]):
    """Bytes as they arrive: an async iterator, and an async context manager that starts it and frees its connection.

    `async with` raises an error that occurs before the first byte. A loop without `async with` works as well: its
    connection is freed at the end, by `aclose()`, or after a `break` once the stream is collected as garbage.
    """

    def __init__(self, pieces: AsyncGenerator[bytes, None]) -> None:
        super().__init__(pieces)
        self._first: bytes | None = None
        self._is_started = False

    async def __aenter__(self) -> Self:
        if not self._is_started:
            self._is_started = True
            self._first = await anext(self._items, None)
        return self

    async def __anext__(self) -> bytes:
        self._is_started = True
        piece, self._first = self._first, None
        while not piece:  # an empty one means only that the server has begun to respond
            piece = await anext(self._items)
        return piece

    async def aclose(self) -> None:
        """Stop reading, and free the connection. Calling it again does nothing."""
        self._first = None
        await super().aclose()
