"""Many runs at once, a bounded number in flight, items returned as they end.

A batch is a pipeline: workers take inputs and see each to its end, savers download outputs, and the user reads items.
Bounded queues between the stages let a slow reader slow everything before it down to the inputs, so that a batch holds
some items for each worker, whatever the number of inputs. The pipeline runs in the session's background, as the user's
block may be busy with other things, and ends before the block is left.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sized
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import anyio
import attrs

from wiro_async._api.batch.batch_inputs import BatchInputs, Inputs, ReorderBuffer, TakenInput
from wiro_async._api.batch.batch_journal import BatchJournal
from wiro_async._api.batch.batch_options import CheckedBatchOptions
from wiro_async._api.batch.budget import Budget, Estimator
from wiro_async._api.batch.item_run import BatchContext, EndedItem, ItemRun, SetAside
from wiro_async._api.batch.item_runs import Runs
from wiro_async._api.batch.output_saver import OutputSaver
from wiro_async._api.batch.workers import Worker, Workers
from wiro_async._api.batch_report.batch_history import History
from wiro_async._api.batch_report.counters import BatchStats, Counters
from wiro_async._api.batch_report.live_progress import LiveProgress
from wiro_async._api.results.batch_items import BatchItem
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.background.bounded_queue import BoundedQueue
from wiro_async._engine.background.change import Change
from wiro_async._errors import SessionClosedError, UsageError
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._public import public
from wiro_async._tuning import Tuning


@cuts_frames
@public
class Batch:
    """An async context manager and async iterator of `BatchItem`s.

    It takes inputs as there is room for them, and keeps ended items until they are read. Leaving it early stops what
    runs.

    Raises:
        JournalError: on entering, that the journal is in use, damaged, or another file; while iterating, that it
            was made for other requests, or cannot be written any more. Runs in flight have ended then.
    """

    def __init__(
        self,
        runs: Runs,
        background: BackgroundTasks,
        ready: Callable[[], Awaitable[None]],
        model: str | None,
        inputs: Inputs,
        options: CheckedBatchOptions,
        journal: BatchJournal | None,
        estimator: Estimator,
        tuning: Tuning,
    ) -> None:
        workers = tuning.batch_workers if options.concurrency == "auto" else options.concurrency
        total = len(inputs) if isinstance(inputs, Sized) else None
        self._background = background
        self._ready = ready
        self._options = options
        self._tuning = tuning
        self._is_endless = total is None
        self._buffer = (
            ReorderBuffer(options.window or workers * tuning.batch_window) if options.order == "input" else None
        )
        self._inputs = BatchInputs(model, inputs, journal is not None, self._buffer)
        self._counters = Counters(total, options.budget, runs.queued)
        self._journal = journal
        self._budget = None if options.budget is None else Budget(options.budget, estimator)
        self._workers = Workers(self._inputs, workers, self._counters, self._abort)
        self._context = BatchContext(runs, options, self._counters, self._workers, self._budget, self._journal)
        self._saver = (
            None
            if options.save_to is None
            else OutputSaver(options.save_to, None if journal is None else journal.runs.store)
        )
        self._history = History()
        self._unsaved: BoundedQueue[EndedItem] = BoundedQueue(workers)
        self._items: BoundedQueue[BatchItem] = BoundedQueue(workers)
        self._scope: anyio.CancelScope
        self._state: Literal["new", "running", "over"] = "new"
        self._changed = Change()
        self._failure: BaseException | None = None
        self._has_raised = False

    @property
    def stats(self) -> BatchStats:
        """How far it has come."""
        return self._counters.stats()

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise UsageError("this batch was entered before, and a batch runs once; make a new one")
        self._state = "running"
        self._scope = anyio.CancelScope()
        try:
            await self._ready()
            if self._journal is not None:
                spendings = await self._journal.open()
                if self._budget is not None:
                    self._budget.resume(spendings)
            self._counters.begin()
            self._history.begin()
            self._background.start(self._run)
        except BaseException as error:
            self._failure = error if isinstance(error, Exception) else SessionClosedError("this batch did not begin")
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._over()
        if error is None and not isinstance(self._failure, (Exception, type(None))) and not self._has_raised:
            raise self._failure  # nobody read as far as this

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BatchItem:
        if self._state == "new":
            raise UsageError("this batch was not entered; use `async with wiro.batch(…) as batch`")
        buffer = self._buffer
        while True:
            if buffer is not None and (item := buffer.pop_next()) is not None:
                return item
            try:
                item = await self._items.get()
            except anyio.EndOfStream:
                break
            if buffer is None:
                return item
            buffer.add(item)
        await self._over()
        if buffer is not None and (item := buffer.pop_rest()) is not None:
            return item
        if self._failure is not None:
            self._has_raised = True
            raise self._failure from None
        raise StopAsyncIteration

    async def results(self) -> list[BatchItem]:
        """Return all remaining items. Cancelling drops those that were read: iterate where they must not be lost."""
        return [item async for item in self]

    async def write_report(self, path: str | os.PathLike[str]) -> Path:
        """Write one HTML page that shows how the batch went, and return its path. Reading it needs no network.

        It has totals, costs, a timeline of the items, tasks in flight over time, a histogram of durations, failures
        by reason, and the pictures that were saved. Of very many items the timeline and the gallery show some.
        Needs the extra "report": `pip install "wiro-async[report]"`. Cancelling leaves no half page.

        Raises:
            ConfigurationError: that extra is not installed.
        """
        from wiro_async._api.batch_report.html_report import write_report

        return await write_report(Path(path), self.stats, self._history)

    async def _over(self) -> None:
        await self._changed.until(lambda: self._state == "over")

    async def _run(self) -> None:
        try:
            with self._scope:
                progress = LiveProgress(self._counters.stats, self._options.progress, self._tuning, self._abort)
                async with progress:
                    await self._pipeline()
            if self._failure is not None:
                for ended, _ in self._unsaved.snapshot():  # nobody saves them any more, and they may be paid for
                    await self._deliver(ended)
            self._failure = self._failure or self._workers.failure
            if self._scope.cancelled_caught:
                self._failure = self._failure or SessionClosedError("this batch was left before its end")
        except Exception as error:
            self._failure = self._failure or error
        except BaseException:
            self._failure = self._failure or SessionClosedError("the session was closed while this batch ran")
            raise
        finally:
            await self._end()

    def _abort(self, error: BaseException) -> None:
        """Code of the user has ended the program, as `sys.exit` does. It is raised where the batch is read, or left.

        Running tasks are stopped, or left, as when the batch is left. Ended items can still be read.
        """
        self._failure = self._failure or error
        for queue in (self._items, self._unsaved):
            queue.set_limit(sys.maxsize)  # items that wait for room enter first
        asyncio.get_running_loop().call_soon(self._scope.cancel)

    async def _end(self) -> None:
        self._counters.finish()
        self._items.close()
        try:
            with anyio.CancelScope(shield=True):
                async with AsyncExitStack() as stack:
                    if self._journal is not None:
                        stack.push_async_callback(self._journal.aclose)
                    await self._inputs.aclose()
        except BaseException as error:
            self._failure = self._failure or error
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._state = "over"
            self._changed.notify()

    async def _pipeline(self) -> None:
        async with anyio.create_task_group() as savers:
            if self._saver is not None:
                for _ in range(self._tuning.batch_downloads):
                    savers.start_soon(self._save, self._saver)
            await self._workers.run(self._process)
            self._unsaved.close()

    async def _process(self, worker: Worker, taken: TakenInput) -> None:
        await self._run_item(ItemRun(self._context, taken), worker)

    async def _run_item(self, item: ItemRun, worker: Worker) -> None:
        try:
            ended = await item.run(worker)
        except SetAside:
            # The other items go on: only tasks that were made later can prove that this one has none.
            self._workers.set_aside(partial(self._find, item))
            return
        worker.enter("committed")  # an item that waits for its reader is not dropped any more
        if ended is not None:
            await self._ended(ended)

    async def _find(self, item: ItemRun) -> None:
        ended = await item.find(self._is_last_look)
        if ended is None:
            self._workers.put_back(partial(self._run_item, item))
        else:
            await self._ended(ended)

    def _is_last_look(self, has_waited: bool) -> bool:
        assert self._journal is not None
        return has_waited and self._workers.take_no_more and not self._journal.runs.sending

    async def _ended(self, ended: EndedItem) -> None:
        if ended.is_skipped:
            if self._is_endless:  # endless inputs that are skipped one by one would never end
                self._workers.close_inputs()
        elif ended.item.error is not None and self._options.on_error == "stop":
            self._workers.halt()
        if self._saver is None:
            await self._deliver(ended)
        else:
            await self._unsaved.put(ended)

    async def _save(self, saver: OutputSaver) -> None:
        with suppress(anyio.EndOfStream):
            while True:
                ended = await self._unsaved.get()
                try:
                    ended = attrs.evolve(ended, item=await saver.save(ended.item, ended.record))
                finally:
                    await self._deliver(ended)  # also if it could not be saved: it may be paid for

    async def _deliver(self, ended: EndedItem) -> None:
        self._history.add(ended.item, ended.began, ended.ended)
        self._counters.ready()
        await self._items.put(ended.item)
