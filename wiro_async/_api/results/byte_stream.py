"""Bytes as they come, for `async for`, and for `async with` where somebody may leave early."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Self

from wiro_async._api.results.async_items import Items
from wiro_async._public import public


@public
class ByteStream(Items[bytes]):
    """Bytes as they come: an async iterator, and an async context manager that begins and frees it.

    `async with` tells before the first byte whether there will be any. A loop over it without `async with` does as
    well: its connection is freed at the end, by `aclose()`, or, after a `break`, once nobody holds it any more.
    """

    def __init__(self, pieces: AsyncGenerator[bytes, None]) -> None:
        super().__init__(pieces)
        self._first: bytes | None = None
        self._has_begun = False

    async def __aenter__(self) -> Self:
        if not self._has_begun:
            self._has_begun = True
            self._first = await anext(self._items, None)
        return self

    async def __anext__(self) -> bytes:
        self._has_begun = True
        piece, self._first = self._first, None
        while not piece:  # an empty one only tells that it has begun
            piece = await anext(self._items)
        return piece

    async def aclose(self) -> None:
        """Leave it, and free its connection. Harmless to say twice."""
        self._first = None
        await super().aclose()
