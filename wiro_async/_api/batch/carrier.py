"""Carries one item of a batch from its request to its end."""

from __future__ import annotations

from collections.abc import Awaitable
from time import monotonic

import attrs

from wiro_async._api.batch import ledger
from wiro_async._api.batch.budget import Budget, Reserve
from wiro_async._api.batch.items import BatchItem, Outcome, RunRequest
from wiro_async._api.batch.options import BatchOptions
from wiro_async._api.batch.runs import Runs
from wiro_async._api.batch.stats import Tally
from wiro_async._api.journal import Entry, JournalWriter
from wiro_async._api.results import TaskResult
from wiro_async._engine.task_calls import TaskRef
from wiro_async._errors import BudgetExceededError, JournalError, TaskCancelledError, TaskFailedError


@attrs.define(eq=False)
class Carried:
    """An ended item, and what only the batch wants to know.

    Attributes:
        began: the loop time at which it was submitted; None if that was in an earlier process, or never.
        ended: the loop time of its end.
    """

    item: BatchItem
    entry: Entry | None
    began: float | None
    ended: float


@attrs.define(eq=False)
class Carrier:
    """Submits, retries and follows items, with the journal and the budget if there are any."""

    runs: Runs
    options: BatchOptions
    tally: Tally
    budget: Budget | None
    journal: JournalWriter | None

    async def carry(self, index: int, request: RunRequest) -> Carried:
        """See one item to its end. Raises `JournalError`; other errors come with the item."""
        work = _Work(self, request)
        try:
            if self.journal is not None:
                work.entry = await ledger.enter(self.journal, index, request)
        except JournalError:
            raise
        except Exception as error:
            self.tally.submitted += 1
            outcome = Outcome(None, error)
        else:
            outcome = await work.outcome()
        key = work.entry.key if work.entry is not None else request.key or str(index)
        self._count(work, outcome)
        item = BatchItem(index, key, request, outcome.result, outcome.error, work.attempts)
        return Carried(item, work.entry, work.began, monotonic())

    def _count(self, work: _Work, outcome: Outcome) -> None:
        if work.is_skipped:
            self.tally.skipped += 1
            self.tally.submitted -= work.began is not None
            return
        cost = None if outcome.result is None else outcome.result.cost
        count = self.tally.restore if work.is_restored else self.tally.end
        count(outcome.result is not None, cost)


@attrs.define(eq=False)
class _Work:
    """What happens to one item."""

    carrier: Carrier
    request: RunRequest
    entry: Entry | None = None
    attempts: int = 0
    began: float | None = None
    is_restored: bool = False
    is_skipped: bool = False

    async def outcome(self) -> Outcome:
        """Its last attempt's outcome."""
        last = None if self.entry is None or self.entry.state is None else await self._resumed(self.entry)
        while last is None or self._may_retry(last):
            try:
                last = await self._attempt()
            except BudgetExceededError as error:
                self.is_skipped = last is None
                return last or Outcome(None, error)
        return last

    def _may_retry(self, last: Outcome) -> bool:
        options = self.carrier.options
        if not isinstance(last.error, TaskFailedError) or self.attempts > options.retries:
            return False
        return options.retry_if(last.error)

    async def _attempt(self) -> Outcome:
        carrier, entry = self.carrier, self.entry
        reserve = None if carrier.budget is None else await carrier.budget.reserve(self.request)
        self._begin()
        if entry is None or carrier.journal is None:
            self.attempts += 1
            return await self._tried(carrier.runs.run(self.request), reserve)
        log = ledger.ItemLog(carrier.journal, entry, self.request)
        try:
            return await self._tried(carrier.runs.run(self.request, log), reserve, log)
        finally:
            self.attempts = max(1, entry.attempts)

    async def _resumed(self, entry: Entry) -> Outcome | None:
        """What an item that the journal knows came to; None if it is to be sent (again)."""
        self.attempts = max(1, entry.attempts)
        if entry.task is not None and entry.state in ("succeeded", "failed"):
            self.is_restored = True
            try:
                return Outcome(self.carrier.runs.restored(entry.task), None)
            except TaskFailedError as error:
                return Outcome(None, error)
        if entry.state == "undecided":
            self._begin()
            try:
                await self._seek(entry)
            except JournalError:
                raise
            except Exception as error:
                return Outcome(None, error)
        return None if entry.is_over or entry.ref is None else await self._followed(entry, entry.ref)

    async def _seek(self, entry: Entry) -> None:
        carrier = self.carrier
        assert carrier.journal is not None
        await ledger.seek(carrier.journal, carrier.runs, entry, self.request, carrier.options.journal_grace)

    async def _followed(self, entry: Entry, ref: TaskRef) -> Outcome | None:
        carrier = self.carrier
        assert carrier.journal is not None
        self._begin()
        reserve = None if carrier.budget is None else await carrier.budget.take_up(self.request)
        log = ledger.ItemLog(carrier.journal, entry, self.request)
        outcome = await self._tried(carrier.runs.follow(self.request, ref), reserve, log)
        # Cancelled tasks are not billed, and mostly it was the earlier process that stopped them when it was left.
        return None if isinstance(outcome.error, TaskCancelledError) else outcome

    async def _tried(
        self, run: Awaitable[TaskResult], reserve: Reserve | None, log: ledger.ItemLog | None = None
    ) -> Outcome:
        result: TaskResult | None = None
        try:
            result = await run
            outcome = Outcome(result, None)
        except JournalError:
            raise
        except Exception as error:
            outcome = Outcome(None, error)
        finally:
            if reserve is not None and self.carrier.budget is not None:
                self.carrier.budget.settle(reserve, result is not None, None if result is None else result.cost)
        if log is not None:
            log.end(outcome)
        return outcome

    def _begin(self) -> None:
        self.is_restored = False
        if self.began is None:
            self.began = monotonic()
            self.carrier.tally.submitted += 1
