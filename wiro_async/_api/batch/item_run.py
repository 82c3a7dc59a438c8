"""One item of a batch, from its request to its end.

Three things can decide what an item comes to: the service, the journal of an earlier process, and the budget. The
journal comes first: an ended task needs no request, a submitted one is followed, an undecided one is searched for.
Only what is left after that is sent. Money is reserved before, and accounted for whatever happens.
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import monotonic
from typing import Literal, TypeAlias, assert_never

import attrs

from wiro_async._api.batch import journal_log
from wiro_async._api.batch.batch_inputs import TakenInput
from wiro_async._api.batch.batch_options import CheckedBatchOptions
from wiro_async._api.batch.budget import Budget, Reserve
from wiro_async._api.batch.item_runs import Runs
from wiro_async._api.batch.workers import Halted, Worker, Workers
from wiro_async._api.batch_report.counters import Counters
from wiro_async._api.journal.journal_entries import Entry
from wiro_async._api.journal.journal_writer import JournalWriter
from wiro_async._api.results.batch_items import BatchItem, Outcome
from wiro_async._api.results.task_result import TaskResult
from wiro_async._engine.background.user_callback import call_user
from wiro_async._errors import (
    APIError,
    BudgetExceededError,
    JournalError,
    SubmissionUnknownError,
    TaskCancelledError,
    TaskFailedError,
    TaskTimeoutError,
    TransportError,
)
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._transport.user_code import uncancelled
from wiro_async._types import OnCancel

# How far the present attempt has come: not sent; sent, or about to be; its task is known.
Attempted: TypeAlias = Literal["nothing", "sent", "task known"]


class NeverSent(Exception):  # noqa: N818 - no error
    """An earlier process did not send the item."""


@attrs.frozen(eq=False)
class BatchContext:
    """What all items of a batch share."""

    runs: Runs
    options: CheckedBatchOptions
    counters: Counters
    workers: Workers
    budget: Budget | None
    journal: JournalWriter | None


@attrs.frozen(eq=False)
class EndedItem:
    """An ended item, and what only the batch needs to know of it."""

    item: BatchItem
    entry: Entry | None
    began: float | None  # the time at which it was sent or resumed; None if it was neither
    ended: float  # the time of its end
    is_skipped: bool  # whether it was not tried because the budget was used up


@attrs.define(eq=False)
class ItemRun:
    """Submits, retries and follows one item. It is the `RunLog` of its attempts."""

    _context: BatchContext
    _worker: Worker
    _taken: TakenInput
    _entry: Entry | None = attrs.field(default=None, init=False)
    _attempts: int = attrs.field(default=0, init=False)
    _former_attempts: int = attrs.field(default=0, init=False)  # these do not count as it is run again
    _began: float | None = attrs.field(default=None, init=False)
    _source: Literal["service", "journal", "budget"] = attrs.field(default="service", init=False)  # of its end
    _attempted: Attempted = attrs.field(default="nothing", init=False)
    _log: journal_log.ItemLog | None = attrs.field(default=None, init=False)

    async def run(self) -> EndedItem | None:
        """See the item to its end. None: it was dropped before it was sent.

        Raises:
            JournalError: the journal failed, or belongs to other requests. Other errors come with the item.
        """
        context, index, request = self._context, self._taken.index, self._taken.request
        outcome: Outcome | None
        try:
            if context.journal is not None:
                self._entry = await journal_log.look_up(context.journal, index, request)
        except JournalError:
            raise
        except Exception as error:
            outcome = Outcome(None, error)
        else:
            outcome = await self._outcome()
        counters, was_sent = context.counters, self._began is not None
        if outcome is None:
            counters.drop(was_sent)
            return None
        succeeded, cost = outcome.result is not None, None if outcome.result is None else outcome.result.cost
        match self._source:
            case "service":
                counters.end(was_sent, succeeded, cost)
            case "journal":
                counters.restore(succeeded, cost)
            case "budget":
                counters.skip(was_sent)
            case never:
                assert_never(never)
        entry = self._entry
        key = entry.key if entry is not None else str(index) if request.key is None else request.key
        item = BatchItem(index, key, request, outcome.result, outcome.error, self._attempts)
        return EndedItem(item, entry, self._began, monotonic(), self._source == "budget")

    async def intend(self, intent: Intent) -> None:
        """The run is about to be sent. Raises `Halted` if it must not be."""
        self._context.workers.check_running()
        self._begin()
        if self._log is not None:
            await self._log.intend(intent)

    async def note(self, ref: TaskRef) -> None:
        """The task of the run is known."""
        self._attempted = "task known"
        if self._log is not None:
            await self._log.record_task(ref)

    def settle(self) -> None:
        """Nothing of the run is in flight."""
        if self._log is not None:
            self._log.settle()

    async def _outcome(self) -> Outcome | None:
        """Return the outcome of the last attempt; None if nothing was sent, and nothing will be."""
        options, entry = self._context.options, self._entry
        last = None if entry is None or entry.state is None else await self._resume(entry)
        try:
            while True:
                if last is not None:
                    error, attempts = last.error, self._attempts - self._former_attempts
                    if not isinstance(error, TaskFailedError) or attempts > options.retries:
                        return last
                    try:
                        with uncancelled("retry_if"):
                            if options.retry_if is not None and not await call_user(options.retry_if, error):
                                return last
                    except Exception as raised:
                        raised.add_note(f"retry_if raised this after the failure of task {error.task_id}")
                        return Outcome(None, raised)
                last = await self._send()
        except BudgetExceededError as error:
            if last is not None:
                return last
            self._source = "budget"
            return Outcome(None, error)
        except Halted:
            return last

    async def _resume(self, entry: Entry) -> Outcome | None:
        """Return what an item of an earlier process came to; None if it must be sent, for the first time or again."""
        budget, journal = self._context.budget, self._context.journal
        assert journal is not None
        self._attempts = max(1, entry.attempts)
        if entry.task is not None and entry.state in ("succeeded", "failed"):
            if entry.state == "failed" and self._taken.is_rerun:
                self._former_attempts = self._attempts
                return None
            self._source = "journal"
            try:
                return Outcome(self._context.runs.restored(entry.task), None)
            except TaskFailedError as error:
                return Outcome(None, error)
        if entry.is_over:
            return None
        self._begin()
        reserve = None if budget is None else await budget.resume_run(self._taken.request)
        self._log = journal_log.ItemLog(journal, entry, self._taken.request)
        outcome = await self._finish(self._follow(journal, entry), reserve)
        # Cancelled tasks are not billed. Mostly the earlier process stopped them when it was left: they run again.
        return None if isinstance(outcome.error, (TaskCancelledError, NeverSent)) else outcome

    async def _follow(self, journal: JournalWriter, entry: Entry) -> TaskResult:
        runs, request = self._context.runs, self._taken.request
        if entry.state == "undecided":
            await journal_log.seek(journal, runs, entry, request, self._context.options.journal_grace)
        if entry.ref is None:
            raise NeverSent
        self._attempted = "task known"
        return await runs.follow(request, entry.ref)

    async def _send(self) -> Outcome:
        context, entry, request = self._context, self._entry, self._taken.request
        reserve = None if context.budget is None else await context.budget.reserve(request)
        self._attempted = "nothing"
        if entry is not None and context.journal is not None:
            self._log = journal_log.ItemLog(context.journal, entry, request)
        self._attempts += 1
        try:
            return await self._finish(context.runs.run(request, self), reserve)
        except Halted:
            self._attempts -= 1
            raise
        finally:
            if entry is not None:
                self._attempts = max(1, entry.attempts)

    async def _finish(self, run: Awaitable[TaskResult], reserve: Reserve | None) -> Outcome:
        """Wait for a run, then settle its reserve and its journal entry. Raises `Halted`, or `JournalError`."""
        budget = self._context.budget
        result: TaskResult | None = None
        error: Exception | None = None
        try:
            result = await run
        except JournalError:
            raise
        except Exception as raised:
            error = raised
        finally:
            if reserve is not None and budget is not None:
                if error is not None and may_be_billed(error, self._attempted, self._context.options.on_exit):
                    budget.lose(reserve)
                else:
                    budget.settle(reserve, result is not None, None if result is None else result.cost)
        outcome = Outcome(result, error)
        if self._log is not None:
            self._log.end(outcome)
        if isinstance(error, Halted):
            raise error
        return outcome

    def _begin(self) -> None:
        self._worker.enter("committed")
        self._source, self._attempted = "service", "sent"
        if self._began is None:
            self._began = monotonic()
            self._context.counters.send()


def may_be_billed(error: Exception, attempted: Attempted, on_exit: OnCancel) -> bool:
    """Return whether a run that ended with an error may cost money that nobody will hear of."""
    match error:
        case _ if attempted == "nothing":
            return False
        case TaskFailedError() | TaskCancelledError() | NeverSent() | Halted():
            return False
        case TaskTimeoutError():
            return on_exit == "leave"  # otherwise it was stopped
        case SubmissionUnknownError():
            return True
        case APIError() | TransportError(sent=False):
            return attempted == "task known"  # otherwise the run was refused
        case _:
            return True
