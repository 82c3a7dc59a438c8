"""Async iterators that may be left early."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._public import public

T = TypeVar("T")


class AsyncCloseable(ABC):
    """An async context manager that calls `aclose()` on leaving."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    async def aclose(self) -> None:
        """Free the resources that it holds."""


@cuts_frames
@public
class Items(AsyncCloseable, AsyncIterator[T], Generic[T]):
    """Items that arrive one after the other: `async for item in items`. The loop may be left at any time.

    `async with items: …` or `aclose()` frees its resources at once. Otherwise they are freed when it is collected as
    garbage.
    """

    def __init__(self, items: AsyncGenerator[T, None]) -> None:
        self._items = items

    async def __anext__(self) -> T:
        return await anext(self._items)

    async def aclose(self) -> None:
        """Free its resources, and end the iteration. Calling it again does nothing."""
        await self._items.aclose()
