"""The inputs of a batch, taken one at a time, and the buffer that returns items in their order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import nullcontext
from enum import Enum
from functools import partial
from typing import Any, TypeAlias

import anyio
import attrs

from wiro_async._api.results.batch_items import BatchItem, RunRequest
from wiro_async._engine.background.change import Change
from wiro_async._engine.background.user_callback import call_user
from wiro_async._errors import InvalidInputError
from wiro_async._transport.user_code import uncancelled
from wiro_async._types import Input

BatchInput: TypeAlias = Input | RunRequest | BatchItem
Inputs: TypeAlias = Iterable[BatchInput] | AsyncIterable[BatchInput]


class _End(Enum):
    END = "end"


@attrs.frozen(eq=False)
class TakenInput:
    """One input."""

    index: int  # its place among the inputs, from 0
    request: RunRequest
    is_rerun: bool  # whether it is an item of an earlier batch that is run again


class ReorderBuffer:
    """Keeps ended items until it is their turn, and bounds how far inputs may be ahead.

    One slow item would otherwise pile up all that end after it. So inputs are taken only while fewer than `window` of
    them are ahead of the next item to return.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._early: dict[int, BatchItem] = {}
        self._taken = 0
        self._returned = 0
        self._changed = Change()

    async def reserve(self) -> None:
        """Wait for room for one more input."""
        await self._changed.until(lambda: self._taken < self._returned + self._window)
        self._taken += 1

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more input."""
        return self._taken >= self._returned + self._window

    def add(self, item: BatchItem) -> None:
        """Keep an item that has ended."""
        self._early[item.index] = item

    def pop_next(self) -> BatchItem | None:
        """Take out the next item, if it has ended."""
        item = self._early.pop(self._returned, None)
        if item is not None:
            self._returned += 1
            self._changed.notify()
        return item

    def pop_rest(self) -> BatchItem | None:
        """Take out the first of the remaining items, where some before it will never end."""
        return self._early.pop(min(self._early)) if self._early else None


class BatchInputs:
    """The inputs, taken one at a time by any number of workers.

    Args:
        model: the model of inputs that are mappings.
        has_journal: whether items without a key are named by their requests.
        buffer: bounds how many inputs may be taken ahead; None leaves that to the workers.
    """

    def __init__(self, model: str | None, inputs: Inputs, has_journal: bool, buffer: ReorderBuffer | None) -> None:
        self._model = model
        self._has_journal = has_journal
        self._buffer = buffer
        # An async iterator may be asked for one item at a time. A lock costs too much where none is needed.
        self._turn = anyio.Lock(fast_acquire=True) if isinstance(inputs, AsyncIterable) else nullcontext()
        self._closed = False
        self._count = 0
        self._advance: Callable[[], Awaitable[object] | object]
        iterator: object
        if isinstance(inputs, AsyncIterable):
            iterator = made = aiter(inputs)
            self._advance = partial(anext, made, _End.END)
            close = "aclose"
        else:
            iterator = it = iter(inputs)
            self._advance = partial(next, it, _End.END)
            close = "close"
        # A generator, or an iterator that was made here, would be left hanging. Other iterators belong to the user.
        is_ours = iterator is not inputs or isinstance(iterator, (Generator, AsyncGenerator))
        self._close_iterator: Callable[[], Any] | None = getattr(iterator, close, None) if is_ours else None

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def is_held_up(self) -> bool:
        """Whether no input is taken before an earlier item is over."""
        return self._buffer is not None and self._buffer.is_full

    def close(self) -> None:
        self._closed = True

    async def aclose(self) -> None:
        """Take no more inputs, and close the iterator if it is a generator or was made here."""
        self._closed = True
        if self._close_iterator is not None:
            with uncancelled("an iterator of inputs"):
                await call_user(self._close_iterator)

    async def next(self) -> TakenInput | None:
        """Take the next input; None if there is none. Raises what the iterable raises, which ends the inputs."""
        async with self._turn:
            try:
                if self._buffer is not None and not self._closed:
                    await self._buffer.reserve()
                index, self._count = self._count, self._count + 1
                with uncancelled("an iterator of inputs"):
                    given = _End.END if self.is_closed else await call_user(self._advance)
                if given is _End.END:
                    self._closed = True
                    return None
                return TakenInput(index, self._request(index, given), isinstance(given, BatchItem))
            except BaseException:
                self._closed = True
                raise

    def _request(self, index: int, given: object) -> RunRequest:
        match given:
            case RunRequest():
                return given
            case BatchItem():
                # In a journal an index is no name: items of two batches may have the same.
                is_index = given.request.key is None and given.key == str(given.index)
                is_unnamed = is_index and self._has_journal
                return given.request if is_unnamed else attrs.evolve(given.request, key=given.key)
            case Mapping() if self._model is not None:
                return RunRequest(self._model, given)
        wanted = "a RunRequest" if self._model is None else "a mapping of parameters or a RunRequest"
        raise InvalidInputError(message=f"item {index} of the batch is a {type(given).__name__}; give {wanted}")
