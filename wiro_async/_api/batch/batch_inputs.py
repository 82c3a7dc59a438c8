"""The inputs of a batch, taken one at a time."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from inspect import isawaitable
from typing import NamedTuple, TypeAlias

import anyio
import attrs

from wiro_async._api.batch.batch_items import BatchItem, RunRequest
from wiro_async._api.batch.reorder_buffer import Ordering
from wiro_async._errors import InvalidInputError
from wiro_async._types import Input

InputView: TypeAlias = Input | RunRequest | BatchItem
Inputs: TypeAlias = Iterable[InputView] | AsyncIterable[InputView]


class Taken(NamedTuple):
    """One input.

    Attributes:
        place: its index.
        is_again: whether it is an item of an earlier batch, to be run anew.
    """

    place: int
    request: RunRequest
    is_again: bool = False


class Requests:
    """The inputs, taken one at a time, whoever asks.

    Args:
        has_journal: whether items are told apart by what they ask for, if nobody named them.
        ordering: says how many inputs may be taken; None if that is left to those who ask.

    Attributes:
        taken: how many were.
    """

    def __init__(self, model: str | None, inputs: Inputs, has_journal: bool, ordering: Ordering | None) -> None:
        self._model = model
        self._has_journal = has_journal
        self._ordering = ordering
        self._lock = anyio.Lock(fast_acquire=True)
        self._closed = False
        self.taken = 0
        self._items: Iterator[InputView] | None = None
        self._awaited: AsyncIterator[InputView] | None = None
        if isinstance(inputs, AsyncIterable):
            self._awaited = aiter(inputs)
        else:
            self._items = iter(inputs)
        source = self._items if self._awaited is None else self._awaited
        self._to_end = source if source is not inputs or isinstance(source, (Generator, AsyncGenerator)) else None

    def close(self) -> None:
        """Give no more."""
        self._closed = True

    async def aclose(self) -> None:
        """Give no more, and end a generator, or an iterator that was made here: it would be left hanging."""
        self._closed = True
        close = getattr(self._to_end, "close" if self._awaited is None else "aclose", None)
        if close is not None:
            answer = close()
            if isawaitable(answer):
                await answer

    async def next(self) -> Taken | None:
        """The next input; None if there is none. Raises what the iterable raises, and ends with it."""
        if self._closed:
            return None
        try:
            if self._awaited is not None:
                return await self._next_awaited(self._awaited)
            if self._ordering is not None:
                await self._room(self._ordering)
            return None if self._is_closed() or self._items is None else self._taken(next(self._items))
        except (StopIteration, StopAsyncIteration):
            self._closed = True
            return None
        except BaseException:
            self._closed = True
            raise

    async def _next_awaited(self, awaited: AsyncIterator[InputView]) -> Taken | None:
        async with self._lock:
            if self._ordering is not None:
                await self._room(self._ordering)
            return None if self._is_closed() else self._taken(await anext(awaited))

    async def _room(self, ordering: Ordering) -> None:
        while self.taken >= ordering.most:
            await ordering.moved()

    def _is_closed(self) -> bool:
        return self._closed

    def _taken(self, given: object) -> Taken:
        request = self._request(given)
        self.taken += 1
        return Taken(self.taken - 1, request, isinstance(given, BatchItem))

    def _request(self, given: object) -> RunRequest:
        if isinstance(given, RunRequest):
            return given
        if isinstance(given, BatchItem):
            return self._request_of(given)
        if self._model is not None and isinstance(given, Mapping):
            return RunRequest(self._model, given)
        wanted = "a RunRequest" if self._model is None else "a mapping of parameters or a RunRequest"
        raise InvalidInputError(message=f"item {self.taken} of the batch is a {type(given).__name__}; give {wanted}")

    def _request_of(self, item: BatchItem) -> RunRequest:
        """In a journal, a place among other inputs is no name: the items of two batches may have the same."""
        is_place = item.request.key is None and item.key == str(item.index)
        return item.request if is_place and self._has_journal else attrs.evolve(item.request, key=item.key)
