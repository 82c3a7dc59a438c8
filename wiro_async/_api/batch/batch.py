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

from wiro_async._api.batch.batch_inputs import Inputs, Requests, Taken
from wiro_async._api.batch.batch_items import BatchItem
from wiro_async._api.batch.batch_options import BatchOptions
from wiro_async._api.batch.bounded_queue import Outbox
from wiro_async._api.batch.budget import Budget, Estimator
from wiro_async._api.batch.carrier import Carried, Carrier
from wiro_async._api.batch.counters import BatchStats, Tally
from wiro_async._api.batch.item_run import Means
from wiro_async._api.batch.item_runs import Runs
from wiro_async._api.batch.output_saver import DOWNLOADS, Saver
from wiro_async._api.batch.reorder_buffer import Ordering
from wiro_async._api.batch.workers import Crew, Worker
from wiro_async._api.batch_report.batch_history import History
from wiro_async._api.batch_report.live_progress import Progress
from wiro_async._api.journal import JournalWriter
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._errors import SessionClosedError, WiroError
from wiro_async._public import public


@public
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
        background: BackgroundTasks,
        ready: Callable[[], Awaitable[None]],
        model: str | None,
        inputs: Inputs,
        options: BatchOptions,
        estimator: Estimator,
    ) -> None:
        self._background = background
        self._ready = ready
        self._options = options
        self._ordering = None if options.window is None else Ordering(options.window)
        self._requests = Requests(model, inputs, options.journal is not None, self._ordering)
        total = len(inputs) if isinstance(inputs, Sized) else None
        self._is_endless = total is None
        self._tally = Tally(total, options.budget, runs.queued)
        self._journal = None if options.journal is None else JournalWriter(options.journal)
        self._budget = None if options.budget is None else Budget(options.budget, estimator)
        self._crew = Crew(self._requests)
        self._carrier = Carrier(Means(runs, options, self._tally, self._crew, self._budget, self._journal))
        self._saver = None if options.save_to is None else Saver(options.save_to, self._journal)
        self._history = History()
        self._ready_items: Outbox[BatchItem] = Outbox(options.workers)
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
        self._entered = True
        self._scope = anyio.CancelScope()
        try:
            await self._begin()
        except BaseException as error:
            self._failure = error if isinstance(error, Exception) else SessionClosedError("this batch was not begun")
            await self._wind_up()
            raise
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
        ordering = self._ordering
        while True:
            if ordering is not None and (due := ordering.due()) is not None:
                return due
            try:
                item = await self._ready_items.get()
            except anyio.EndOfStream:
                return await self._last()
            if ordering is None:
                return item
            ordering.add(item)

    async def _last(self) -> BatchItem:
        await self._finished.wait()
        item = None if self._ordering is None else self._ordering.rest()
        if item is not None:
            return item
        if self._failure is not None:
            raise self._failure from None
        raise StopAsyncIteration from None

    async def results(self) -> list[BatchItem]:
        """All remaining items, in a list. Cancelled, it drops those it had: iterate where they must not be lost."""
        return [item async for item in self]

    async def write_report(self, path: str | os.PathLike[str]) -> Path:
        """Write one HTML page that shows how the batch went, and return where it lies. It needs no network to be read.

        It has totals, costs, a timeline of the items, tasks in flight over time, a histogram of durations, failures
        by reason, and the pictures that were saved. Of very many items the timeline and the gallery show some.
        Needs the extra "report": `pip install "wiro-async[report]"`. Cancelling leaves no half page.

        Raises:
            ConfigurationError: that extra is not installed.
        """
        from wiro_async._api.batch_report.html_report import write_report

        return await write_report(Path(path), self.stats, self._history)

    async def _begin(self) -> None:
        await self._ready()
        if self._journal is not None:
            await self._journal.open()
            if self._budget is not None:
                self._budget.resume(self._journal.spendings)
        self._tally.begin()
        self._history.begin()
        self._background.start(self._host)

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
        self._tally.give()
        await self._ready_items.put(carried.item)

    def _hire(self, group: TaskGroup, give: Callable[[Carried], Awaitable[None]]) -> None:
        self._crew.size += 1
        group.start_soon(self._work, group, give)

    async def _work(self, group: TaskGroup, give: Callable[[Carried], Awaitable[None]]) -> None:
        with self._crew.working() as worker:
            while (taken := await self._taken(worker)) is not None:
                if self._crew.size < self._options.workers:
                    self._hire(group, give)
                carried = await self._carried(worker, taken)
                if carried is not None:
                    await give(carried)

    async def _taken(self, worker: Worker) -> Taken | None:
        worker.stage = "taking"
        try:
            return await self._requests.next()
        except Exception as error:
            self._requests.close()
            self._failure = self._failure or error
            return None

    async def _carried(self, worker: Worker, taken: Taken) -> Carried | None:
        worker.stage = "holding"
        try:
            carried = await self._carrier.carry(worker, taken)
        except Exception as error:
            self._failure = self._failure or error
            self._halt()
            return None
        worker.stage = "busy"
        if carried is None or carried.item.error is None:
            return carried
        if carried.is_skipped:
            self._end_of_budget()
        elif self._options.stop_on_error:
            self._halt()
        return carried

    def _halt(self) -> None:
        self._tally.stop()
        self._crew.halt()

    def _end_of_budget(self) -> None:
        """What is left is skipped, if it is known that there is an end to it."""
        if self._is_endless:
            self._tally.stop()
            self._crew.take_no_more()
