"""The workers of a batch, and how they are kept from sending more."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import anyio
import attrs

from wiro_async._api.batch.batch_inputs import Requests

# It waits for an input; has one of which nothing was sent; or sees to one that was sent, or has ended.
Stage: TypeAlias = Literal["taking", "holding", "busy"]


class Halted(Exception):  # noqa: N818 - no error
    """This item is not to be sent any more."""


@attrs.define(eq=False)
class Worker:
    """One that takes inputs and sees each to its end, one after the other."""

    scope: anyio.CancelScope
    stage: Stage = "taking"


class Crew:
    """All workers of a batch.

    Attributes:
        is_halted: whether nothing more is to be sent.
        size: how many were hired.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._workers: set[Worker] = set()
        self.is_halted = False
        self.size = 0

    @contextmanager
    def working(self) -> Generator[Worker]:
        """One worker's time."""
        with anyio.CancelScope() as scope:
            worker = Worker(scope)
            self._workers.add(worker)
            try:
                yield worker
            finally:
                self._workers.discard(worker)

    def halt(self) -> None:
        """Send nothing more: what was taken and not sent is dropped, the rest is seen to its end."""
        self.is_halted = True
        self._free("taking", "holding")

    def take_no_more(self) -> None:
        """Take no more inputs, also where one is being waited for."""
        self._free("taking")

    def _free(self, *stages: Stage) -> None:
        self._requests.close()
        for worker in self._workers:
            if worker.stage in stages:
                worker.scope.cancel()
