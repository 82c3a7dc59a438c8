"""Many runs at once, a bounded number in flight, results as they end."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sized
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import attrs
from anyio.abc import TaskGroup

from wiro_async._api.batch.budget import Budget, Estimator
from wiro_async._api.batch.carrier import Carried, Carrier
from wiro_async._api.batch.history import History
from wiro_async._api.batch.items import BatchItem
from wiro_async._api.batch.options import BatchOptions
from wiro_async._api.batch.outbox import Outbox
from wiro_async._api.batch.progress import Progress
from wiro_async._api.batch.requests import Inputs, Requests
from wiro_async._api.batch.runs import Runs
from wiro_async._api.batch.saving import DOWNLOADS, Saver
from wiro_async._api.batch.stats import BatchStats, Tally
from wiro_async._api.journal import JournalWriter
from wiro_async._engine.nursery import Nursery
from wiro_async._errors import SessionClosedError, WiroError


class Batch:
    """An async context manager and async iterator of `BatchItem`s.

    Inputs are taken as there is room for them, results wait until they are read: a batch holds some items for
    each of its `concurrency` workers, however many there are in all. Leaving it early stops what runs.

    Raises:
        JournalError: on entering, that the journal is in use, damaged, or something else; while iterating, that it
            was made for other requests, or cannot be written any more. What was in flight has been dealt with then.
    """

    def __init__(
        self,
        runs: Runs,
        nursery: Nursery,
        ready: Callable[[], Awaitable[None]],
        model: str | None,
        inputs: Inputs,
        options: BatchOptions,
        estimator: Estimator,
    ) -> None:
        self._nursery = nursery
        self._ready = ready
        self._requests = Requests(model, inputs)
        self._options = options
        self._tally = Tally(len(inputs) if isinstance(inputs, Sized) else None, options.budget, runs.queued)
        self._journal = None if options.journal is None else JournalWriter(options.journal)
        self._budget = None if options.budget is None else Budget(options.budget, estimator)
        self._carrier = Carrier(runs, options, self._tally, self._budget, self._journal)
        self._saver = None if options.save_to is None else Saver(options.save_to, self._journal)
        self._history = History()
        self._workers = 0
        self._given = 0
        self._ready_items: Outbox[BatchItem] = Outbox(options.workers)
        self._early: dict[int, BatchItem] = {}
        self._moved = anyio.Event()
        self._scope: anyio.CancelScope
        self._finished = anyio.Event()
        self._failure: BaseException | None = None
        self._entered = False

    @property
    def stats(self) -> BatchStats:
        """How it stands."""
        return self._tally.stats()

    async def __aenter__(self) -> Self:
        if self._entered:
            raise WiroError("this batch was entered before; make a new one")
        await self._ready()
        if self._journal is not None:
            await self._journal.open()
            if self._budget is not None:
                self._budget.spent = self._journal.spent
        self._entered = True
        self._scope = anyio.CancelScope()
        self._tally.begin()
        self._history.begin()
        self._nursery.start(self._host)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._finished.wait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BatchItem:
        if not self._entered:
            raise WiroError("this batch was not entered: async with wiro.batch(…) as batch")
        while (item := self._due()) is None:
            try:
                item = await self._ready_items.get()
            except anyio.EndOfStream:
                await self._finished.wait()
                if self._failure is not None:
                    raise self._failure from None
                raise StopAsyncIteration from None
            if self._options.window is None:
                break
            self._early[item.index] = item
        self._given += 1
        if self._options.window is not None:
            moved, self._moved = self._moved, anyio.Event()
            moved.set()
        return item

    async def results(self) -> list[BatchItem]:
        """All remaining items, in a list."""
        return [item async for item in self]

    async def write_report(self, path: str | os.PathLike[str]) -> Path:
        """Write one HTML page that shows how the batch went, and return where it lies. It needs no network to be read.

        It has totals, costs, a timeline of the items, tasks in flight over time, a histogram of durations, failures
        by reason, and the pictures that were saved. Of very many items the timeline and the gallery show some.
        Needs the extra "report": `pip install "wiro-async[report]"`. Cancelling leaves no half page.

        Raises:
            ConfigurationError: that extra is not installed.
        """
        from wiro_async._api.batch.report import write_report

        return await write_report(Path(path), self.stats, self._history)

    def _due(self) -> BatchItem | None:
        return self._early.pop(self._given, None)

    async def _host(self) -> None:
        try:
            with self._scope:
                async with Progress(self._tally.stats, self._options.progress):
                    await self._stages()
            if self._scope.cancelled_caught:
                self._failure = SessionClosedError("this batch was left")
        except BaseException as error:
            self._failure = SessionClosedError("the session was closed while this batch ran")
            if isinstance(error, Exception):
                self._failure = error
            else:
                raise
        finally:
            await self._wind_up()

    async def _wind_up(self) -> None:
        self._tally.finish()
        self._ready_items.close()
        try:
            with anyio.CancelScope(shield=True):
                async with AsyncExitStack() as stack:
                    if self._journal is not None:
                        stack.push_async_callback(self._journal.aclose)
                    await self._requests.aclose()
        except Exception as error:
            self._failure = self._failure or error
        finally:
            self._finished.set()

    async def _stages(self) -> None:
        if self._saver is None:
            async with anyio.create_task_group() as group:
                self._hire(group, self._give)
            return
        ended: Outbox[Carried] = Outbox(self._options.workers)
        async with anyio.create_task_group() as savers:
            for _ in range(DOWNLOADS):
                savers.start_soon(self._save, self._saver, ended)
            async with anyio.create_task_group() as group:
                self._hire(group, ended.put)
            ended.close()

    async def _save(self, saver: Saver, ended: Outbox[Carried]) -> None:
        with suppress(anyio.EndOfStream):
            while True:
                carried = await ended.get()
                item = await saver.save(carried.item, carried.entry)
                await self._give(attrs.evolve(carried, item=item))

    async def _give(self, carried: Carried) -> None:
        self._history.add(carried.item, carried.began, carried.ended)
        await self._ready_items.put(carried.item)

    def _hire(self, group: TaskGroup, give: Callable[[Carried], Awaitable[None]]) -> None:
        self._workers += 1
        group.start_soon(self._work, group, give)

    async def _work(self, group: TaskGroup, give: Callable[[Carried], Awaitable[None]]) -> None:
        while True:
            if self._options.window is not None:
                await self._room(self._options.window)
            try:
                taken = await self._requests.next()
                if taken is None:
                    return
                if self._workers < self._options.workers:
                    self._hire(group, give)
                carried = await self._carrier.carry(*taken)
            except Exception as error:
                self._requests.close()
                self._failure = self._failure or error
                return
            if carried.item.error is not None and self._options.stop_on_error:
                self._requests.close()
            await give(carried)

    async def _room(self, window: int) -> None:
        while self._requests.taken - self._given >= window:
            await self._moved.wait()
