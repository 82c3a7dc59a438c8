"""One item of a batch, from its request to its end.

Three things can decide what an item comes to: the service, the journal of an earlier process, and the budget. The
journal comes first: an ended task needs no request, a submitted one is followed, an undecided one is searched for.
Only what is left after that is sent. Money is reserved before, and accounted for whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from time import monotonic
from typing import Literal, TypeAlias, assert_never

import anyio
import attrs

from wiro_async._api.batch.batch_inputs import TakenInput
from wiro_async._api.batch.batch_journal import BatchJournal
from wiro_async._api.batch.batch_options import CheckedBatchOptions
from wiro_async._api.batch.budget import Budget, Reserve
from wiro_async._api.batch.item_runs import Runs
from wiro_async._api.batch.workers import Halted, Worker, Workers
from wiro_async._api.batch_report.counters import Counters
from wiro_async._api.keys.key_log import KeyLog
from wiro_async._api.keys.key_requests import KeyRequest
from wiro_async._api.keys.keyed_runs import KeyMade
from wiro_async._api.results.batch_items import BatchItem, Outcome
from wiro_async._api.results.task_result import TaskResult
from wiro_async._engine.background.user_callback import call_user
from wiro_async._engine.submission.submission import Became
from wiro_async._engine.tracking.tracked_task import TrackedTask
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
from wiro_async._errors.clean_tracebacks import without_frames
from wiro_async._protocol.journal.record import Record
from wiro_async._protocol.journal.rules import FollowTask, ReplayEnd
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._transport.user_code import uncancelled
from wiro_async._types import OnCancel

# How far the present attempt has come: not sent; sent, or about to be; its task is known.
Attempted: TypeAlias = Literal["nothing", "sent", "task known"]


class SetAside(Exception):  # noqa: N818 - no error
    """An earlier process has sent the item, and its task is not known: it is searched for beside the other items."""


@attrs.frozen(eq=False)
class BatchContext:
    """What all items of a batch share."""

    runs: Runs
    options: CheckedBatchOptions
    counters: Counters
    workers: Workers
    budget: Budget | None
    journal: BatchJournal | None


@attrs.frozen(eq=False)
class EndedItem:
    """An ended item, and what only the batch needs to know of it."""

    item: BatchItem
    record: Record | None
    began: float | None  # the time at which it was sent or resumed; None if it was neither
    ended: float  # the time of its end
    is_skipped: bool  # whether it was not tried because the budget was used up


@attrs.define(eq=False)
class ItemRun:
    """Submits, retries and follows one item. It is the `RunLog` of its attempts."""

    _context: BatchContext
    _taken: TakenInput
    _worker: Worker | None = attrs.field(default=None, init=False)
    _named: KeyRequest | None = attrs.field(default=None, init=False)
    _record: Record | None = attrs.field(default=None, init=False)
    _replayed: bool = attrs.field(default=False, init=False)
    _attempts: int = attrs.field(default=0, init=False)
    _former_attempts: int = attrs.field(default=0, init=False)  # these do not count as it is run again
    _began: float | None = attrs.field(default=None, init=False)
    _source: Literal["service", "journal", "budget"] = attrs.field(default="service", init=False)  # of its end
    _attempted: Attempted = attrs.field(default="nothing", init=False)
    _reserve: Reserve | None = attrs.field(default=None, init=False)
    _log: KeyLog | None = attrs.field(default=None, init=False)
    _start: float = attrs.field(default=0.0, init=False)  # the loop time from which the timeouts of an attempt count

    async def run(self, worker: Worker) -> EndedItem | None:
        """See the item to its end. None: it was dropped before it was sent.

        Raises:
            SetAside: call `find`, then this again.
            JournalError: the journal failed, or belongs to other requests. Other errors come with the item.
        """
        self._worker = worker
        outcome: Outcome | None
        try:
            if self._context.journal is not None and self._named is None:
                self._named = await self._context.journal.name(self._taken.index, self._taken.request)
        except JournalError:
            raise
        except Exception as error:
            outcome = Outcome(None, error)
        else:
            outcome = await self._outcome()
        return self._end(outcome)

    async def find(self, is_last_look: Callable[[bool], bool]) -> EndedItem | None:
        """Search for the task of an item that was set aside. None: run it now, as it is clear whether there is a task.

        Raises:
            JournalError: the journal failed.
        """
        runs, request, budget, journal = (
            self._context.runs,
            self._taken.request,
            self._context.budget,
            self._context.journal,
        )
        assert journal is not None
        assert self._named is not None
        self._begin()
        reserve = None if budget is None else await budget.resume_run(request)
        error: Exception | None = None
        try:
            intent = (await runs.plan(request)).intent
            grace = self._context.options.journal_grace
            await journal.runs.find(self._named.key, intent, runs.calls(request), runs.on_unknown, is_last_look, grace)
        except JournalError:
            raise
        except Exception as raised:
            error = raised
        finally:
            if reserve is not None and budget is not None:
                if error is None:
                    budget.settle(reserve, False, None)
                else:
                    budget.lose(reserve)
        return None if error is None else self._end(Outcome(None, error))

    def _end(self, outcome: Outcome | None) -> EndedItem | None:
        counters, was_sent, request = self._context.counters, self._began is not None, self._taken.request
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
        index, key = self._taken.index, request.key
        if key is None:
            key = str(index) if self._named is None else self._named.key
        item = BatchItem(index, key, request, outcome.result, outcome.error, self._attempts, replayed=self._replayed)
        return EndedItem(item, self._record, self._began, monotonic(), self._source == "budget")

    # The log of its attempts

    async def intend(self, intent: Intent) -> None:
        """The run is about to be sent. Raises `Halted` if it must not be."""
        self._context.workers.check_running()
        self._begin()
        if self._log is not None:
            await self._log.intend(intent)

    async def check(self) -> None:
        """Raise an error if it must not be sent any more."""
        if self._log is not None:
            await self._log.check()

    async def claimed(self) -> Collection[str] | None:
        """Return the ids of tasks that look like its own but are others'."""
        return () if self._log is None else await self._log.claimed()

    async def note(self, ref: TaskRef) -> None:
        """The task of the run is known."""
        self._attempted = "task known"
        if self._log is not None:
            await self._log.note(ref)

    async def settle(self, became: Became, error: BaseException | None) -> None:
        """Nothing of the run is in flight."""
        if self._log is not None:
            await self._log.settle(became, error)

    # Its attempts

    async def _outcome(self) -> Outcome | None:
        """Return the outcome of the last attempt; None if nothing was sent, and nothing will be."""
        options = self._context.options
        last: Outcome | None = None
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
                last = await self._attempt(keeps_failures=last is None and not self._taken.is_rerun)
        except BudgetExceededError as error:
            if last is not None:
                return last
            self._source = "budget"
            return Outcome(None, error)
        except Halted:
            return last

    async def _attempt(self, keeps_failures: bool) -> Outcome | None:
        """Bring one attempt to its end, then settle its reserve and its record. None: it has to be sent again.

        Raises `Halted`, `SetAside`, `BudgetExceededError` or `JournalError`.
        """
        budget = self._context.budget
        self._attempted, self._replayed = "nothing", False
        result: TaskResult | None = None
        error: Exception | None = None
        try:
            result = await self._result(keeps_failures)
        except (JournalError, SetAside, BudgetExceededError):
            raise
        except Exception as raised:
            error = without_frames(raised)
        finally:
            reserve, self._reserve = self._reserve, None
            if reserve is not None and budget is not None:
                if error is not None and may_be_billed(error, self._attempted, self._context.options.on_exit):
                    budget.lose(reserve)
                else:
                    budget.settle(reserve, result is not None, None if result is None else result.cost)
        if isinstance(error, Halted):
            raise error
        if self._source == "service" and self._record is not None and self._context.journal is not None:
            match error:
                case None if result is not None:
                    self._context.journal.runs.end(self._record, result.info)
                case TaskFailedError() | TaskCancelledError() as ended:
                    self._context.journal.runs.end(self._record, ended.info, ended)
        if self._replayed and isinstance(error, TaskCancelledError):
            return None  # mostly the earlier process stopped it when it was left
        return Outcome(result, error)

    async def _result(self, keeps_failures: bool) -> TaskResult:
        runs, request, budget, journal = (
            self._context.runs,
            self._taken.request,
            self._context.budget,
            self._context.journal,
        )
        if journal is None:
            return await runs.ended(request, await self._send(), self._start)
        assert self._named is not None

        async def intent() -> Intent:
            return (await runs.plan(request)).intent

        step = await journal.runs.begin(
            self._named,
            runs.calls(request),
            intent,
            self._send_logged,
            runs.on_unknown,
            keeps_failures=keeps_failures,
            set_aside=self._set_aside,
        )
        self._record = step.record
        self._attempts = max(1, step.record.attempts)
        match step:
            case KeyMade(_, task):
                return await runs.ended(request, task, self._start)
            case ReplayEnd(_, info):
                self._source, self._replayed = "journal", True
                return runs.restored(info)
            case FollowTask(_, ref):
                self._begin()
                self._replayed = True
                self._reserve = None if budget is None else await budget.resume_run(request)
                self._attempted = "task known"
                return await runs.follow(request, ref)
            case _:
                assert_never(step)

    async def _send_logged(self, log: KeyLog) -> KeyMade[TrackedTask]:
        self._log = log
        if self._record is None and self._taken.is_rerun and log.seen is not None:
            self._former_attempts = log.seen.attempts
        try:
            task = await self._send()
        finally:
            if log.record is not None:
                self._record, self._attempts = log.record, max(1, log.record.attempts)
        return KeyMade(log.made, task)

    async def _send(self) -> TrackedTask:
        context, request = self._context, self._taken.request
        self._reserve = None if context.budget is None else await context.budget.reserve(request)
        self._attempts += 1
        self._start = anyio.current_time()
        try:
            return await context.runs.submit(request, self)
        except Halted:
            self._attempts -= 1
            raise

    def _set_aside(self) -> None:
        raise SetAside

    def _begin(self) -> None:
        if self._worker is not None:
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
        case TaskFailedError() | TaskCancelledError() | Halted():
            return False
        case TaskTimeoutError():
            return on_exit == "leave"  # otherwise it was stopped
        case SubmissionUnknownError():
            return True
        case APIError() | TransportError(sent=False):
            return attempted == "task known"  # otherwise the run was refused
        case _:
            return True
