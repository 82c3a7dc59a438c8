"""Async iterators that may be left early."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from wiro_async._public import public

T = TypeVar("T")


class AsyncCloseable(ABC):
    """What `async with` leaves by its `aclose()`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    async def aclose(self) -> None:
        """Free what it holds."""


@public
class Items(AsyncCloseable, AsyncIterator[T], Generic[T]):
    """What comes one after the other: `async for item in items`, which may be left at any time.

    Whatever it holds is freed at once by `async with items: …`, or by `aclose()`; else when it is collected as garbage.
    """

    def __init__(self, items: AsyncGenerator[T, None]) -> None:
        self._items = items

    async def __anext__(self) -> T:
        return await anext(self._items)

    async def aclose(self) -> None:
        """Free what it holds; it gives nothing more. Doing it twice is harmless."""
        await self._items.aclose()
