"""The workers of a batch, and how they are kept from sending more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import anyio
import attrs
from anyio.abc import TaskGroup

from wiro_async._api.batch.batch_inputs import BatchInputs, TakenInput
from wiro_async._api.batch_report.counters import Counters
from wiro_async._transport.user_code import uncancelled

# A worker waits for an input; has one of which nothing was sent; or has one that was sent, or has ended.
Stage: TypeAlias = Literal["taking", "holding", "committed"]


class Halted(Exception):  # noqa: N818 - no error
    """The item must not be sent any more."""


@attrs.define(eq=False)
class Worker:
    """Takes inputs and sees each to its end, one after the other."""

    scope: anyio.CancelScope
    stage: Stage = "taking"

    def enter(self, stage: Stage) -> None:
        """Enter the next stage of an item."""
        self.stage = stage


Process: TypeAlias = Callable[[Worker, TakenInput], Awaitable[None]]


class Workers:
    """All workers of a batch. There is one more than inputs in work, up to a limit.

    Stopping early must neither lose an item that may be billed nor wait for one that is not: workers are cancelled by
    their stage, and committed ones finish.

    Args:
        abort: ends the batch at once, with an error that is none of an item.
    """

    def __init__(
        self, inputs: BatchInputs, limit: int, counters: Counters, abort: Callable[[BaseException], None]
    ) -> None:
        self._inputs = inputs
        self._limit = limit
        self._counters = counters
        self._abort = abort
        self._workers: set[Worker] = set()
        self._hired = 0
        self._turns = anyio.Semaphore(limit, fast_acquire=True)
        self._group: TaskGroup
        self._halted = False
        self.failure: Exception | None = None  # the first error that ended the batch: of the inputs, or of the journal

    async def run(self, process: Process) -> None:
        """Process all inputs, and wait for the end of the last one."""
        async with anyio.create_task_group() as group:
            self._group = group
            self._hire(process)

    def set_aside(self, search: Callable[[], Awaitable[None]]) -> None:
        """Search for the task of an item that an earlier process has sent, while the workers go on."""
        self._group.start_soon(self._aside, lambda _: search())

    def put_back(self, process: Callable[[Worker], Awaitable[None]]) -> None:
        """Process an item that was set aside, as soon as a worker would be free."""
        self._group.start_soon(self._in_turn, process)

    @property
    def take_no_more(self) -> bool:
        """Whether no further input is sent before an item that was set aside is over."""
        return self._halted or self._inputs.is_closed or self._inputs.is_held_up

    def check_running(self) -> None:
        """Raise `Halted` if nothing more is to be sent."""
        if self._halted:
            raise Halted

    def halt(self) -> None:
        """Send nothing more: items that were not sent are dropped, the others are seen to their end."""
        self._halted = True
        self._stop("taking", "holding")

    def close_inputs(self) -> None:
        """Take no more inputs, also where a worker waits for one."""
        self._stop("taking")

    def _hire(self, process: Process) -> None:
        self._hired += 1
        self._group.start_soon(self._work, process)

    async def _work(self, process: Process) -> None:
        with self._employed("taking") as worker:
            while (taken := await self._inputs.next()) is not None:
                if self._hired < self._limit:
                    self._hire(process)
                worker.enter("holding")
                async with self._turns:
                    with uncancelled("code of a run"):
                        await process(worker, taken)
                worker.enter("taking")

    async def _in_turn(self, process: Callable[[Worker], Awaitable[None]]) -> None:
        async with self._turns:
            await self._aside(process)

    async def _aside(self, process: Callable[[Worker], Awaitable[None]]) -> None:
        with self._employed("committed") as worker, uncancelled("code of a run"):
            await process(worker)

    @contextmanager
    def _employed(self, stage: Stage) -> Generator[Worker]:
        with anyio.CancelScope() as scope:
            worker = Worker(scope, stage)
            self._workers.add(worker)
            try:
                yield worker
            except Exception as error:
                self.failure = self.failure or error
                if worker.stage != "taking":  # inputs that fail have ended; what was taken from them goes on
                    self.halt()
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # code of the user ends the program
                self._abort(error)
            finally:
                self._workers.discard(worker)

    def _stop(self, *stages: Stage) -> None:
        self._counters.stop()
        self._inputs.close()
        for worker in self._workers:
            if worker.stage in stages:
                worker.scope.cancel()
