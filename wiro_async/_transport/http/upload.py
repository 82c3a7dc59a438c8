"""A request body that is streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Self

import anyio

from wiro_async._transport.http.deadline import Deadline


class Upload:
    """Iterates over a body for a transport, perhaps in a task of the transport's own.

    Args:
        deadline: does not run while the source is asked for a piece, and restarts with each piece.
        length: how many bytes were announced; None for a chunked body.

    Attributes:
        is_unseen: whether no piece was asked for yet.
        error: what the source raised, if it did.
    """

    def __init__(self, source: AsyncIterator[bytes], deadline: Deadline, length: int | None) -> None:
        self.is_unseen = True
        self.error: Exception | None = None
        self._source = source
        self._deadline = deadline
        self._missing = length
        self._is_over = False
        self._reading = anyio.Lock()

    @property
    def is_incomplete(self) -> bool:
        """Whether its end was not handed over: the last announced byte, or the end of the chunks."""
        return not self._is_over and (self._missing is None or self._missing > 0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self.is_unseen = False
        async with self._reading:
            try:
                with self._deadline.paused():
                    piece = await anext(self._source)
            except StopAsyncIteration:
                self._is_over = True
                raise
            except Exception as error:
                self.error = error
                raise
            if self._missing is not None:
                self._missing -= len(piece)
            return piece

    async def settled(self) -> None:
        """Wait until nobody reads the source: a generator that is being read cannot be closed."""
        with anyio.CancelScope(shield=True):
            async with self._reading:
                pass
