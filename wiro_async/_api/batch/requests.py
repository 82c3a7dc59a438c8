"""The inputs of a batch, taken one at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import TypeAlias

import anyio
import attrs

from wiro_async._api.batch.items import BatchItem, RunRequest
from wiro_async._errors import InvalidInputError
from wiro_async._types import Input

Given: TypeAlias = Input | RunRequest | BatchItem
Inputs: TypeAlias = Iterable[Given] | AsyncIterable[Given]


class Requests:
    """The inputs, taken one at a time, whoever asks.

    Attributes:
        taken: how many were.
    """

    def __init__(self, model: str | None, inputs: Inputs) -> None:
        self._model = model
        self._lock = anyio.Lock(fast_acquire=True)
        self._closed = False
        self.taken = 0
        self._source: AsyncIterator[Given] | Iterator[Given]
        self._source = aiter(inputs) if isinstance(inputs, AsyncIterable) else iter(inputs)

    def close(self) -> None:
        """Give no more."""
        self._closed = True

    async def aclose(self) -> None:
        """Give no more, and end an asynchronous generator, which would be left hanging."""
        self._closed = True
        if isinstance(self._source, AsyncGenerator):
            await self._source.aclose()

    async def next(self) -> tuple[int, RunRequest] | None:
        """The next input and its index; None if there is none. Raises what the iterable raises, and ends with it."""
        if self._closed:
            return None
        try:
            if isinstance(self._source, Iterator):
                return self._taken(next(self._source))
            async with self._lock:
                return None if self._is_closed() else self._taken(await anext(self._source))
        except (StopIteration, StopAsyncIteration):
            self._closed = True
            return None
        except BaseException:
            self._closed = True
            raise

    def _is_closed(self) -> bool:
        return self._closed

    def _taken(self, given: object) -> tuple[int, RunRequest]:
        request = self._request(given)
        self.taken += 1
        return self.taken - 1, request

    def _request(self, given: object) -> RunRequest:
        if isinstance(given, RunRequest):
            return given
        if isinstance(given, BatchItem):
            return attrs.evolve(given.request, key=given.key)
        if self._model is not None and isinstance(given, Mapping):
            return RunRequest(self._model, given)
        wanted = "a RunRequest" if self._model is None else "a mapping of parameters or a RunRequest"
        raise InvalidInputError(message=f"item {self.taken} of the batch is a {type(given).__name__}; give {wanted}")
