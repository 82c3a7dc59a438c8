"""What happens to one item of a batch: its attempts, and what an earlier process made of it."""

from __future__ import annotations

from collections.abc import Awaitable
from inspect import isawaitable
from time import monotonic

import attrs

from wiro_async._api.batch import journal_log as ledger
from wiro_async._api.batch.batch_items import Outcome, RunRequest
from wiro_async._api.batch.batch_options import BatchOptions
from wiro_async._api.batch.budget import Budget, Reserve
from wiro_async._api.batch.counters import Tally
from wiro_async._api.batch.item_runs import Runs
from wiro_async._api.batch.workers import Crew, Halted, Worker
from wiro_async._api.journal import Entry, JournalWriter
from wiro_async._api.results.task_result import TaskResult
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


class NeverMade(Exception):  # noqa: N818 - no error
    """An earlier process did not send this item."""


@attrs.define(eq=False)
class Means:
    """What a batch does its work with."""

    runs: Runs
    options: BatchOptions
    tally: Tally
    crew: Crew
    budget: Budget | None
    journal: JournalWriter | None


@attrs.define(eq=False)
class Work:
    """What happens to one item; a `RunLog` of its attempts.

    Attributes:
        former: how many of its attempts do not count, as it is to be run anew.
        log: writes the present attempt into the journal.
        is_sent: whether the present attempt was sent, or is about to be.
        ref: its task.
    """

    means: Means
    worker: Worker
    request: RunRequest
    is_again: bool
    entry: Entry | None = None
    attempts: int = 0
    former: int = 0
    began: float | None = None
    is_restored: bool = False
    is_skipped: bool = False
    log: ledger.ItemLog | None = None
    is_sent: bool = False
    ref: TaskRef | None = None
    doubt: Exception | None = None

    async def outcome(self) -> Outcome | None:
        """Its last attempt's outcome; None if nothing was sent, nor is to be."""
        last = None if self.entry is None or self.entry.state is None else await self._resumed(self.entry)
        try:
            while last is None or (last.error is not None and await self._is_to_retry(last.error)):
                last = await self._attempt()
        except BudgetExceededError as error:
            self.is_skipped = last is None
            return last or Outcome(None, error)
        except Halted:
            return last
        return last if self.doubt is None else Outcome(None, self.doubt)

    async def intend(self, intent: Intent) -> None:
        """It is about to be sent. Raises `Halted` if it is not to be any more."""
        if self.means.crew.is_halted:
            raise Halted
        self._begin()
        if self.log is not None:
            await self.log.intend(intent)

    async def note(self, ref: TaskRef) -> None:
        """Its task is known."""
        self.ref = ref
        if self.log is not None:
            await self.log.note(ref)

    def settle(self) -> None:
        """Nothing of it is under way."""
        if self.log is not None:
            self.log.settle()

    async def _is_to_retry(self, error: Exception) -> bool:
        options = self.means.options
        if not isinstance(error, TaskFailedError) or self.attempts - self.former > options.retries:
            return False
        try:
            answer = options.retry_if(error)
            return bool(await answer if isawaitable(answer) else answer)
        except Exception as doubt:
            self.doubt = doubt
            return False

    async def _attempt(self) -> Outcome:
        means, entry = self.means, self.entry
        reserve = None if means.budget is None else await means.budget.reserve(self.request)
        self.is_sent, self.ref = False, None
        self.log = self._item_log()
        self.attempts += 1
        try:
            return await self._tried(means.runs.run(self.request, self), reserve)
        except Halted:
            self.attempts -= 1
            raise
        finally:
            if entry is not None:
                self.attempts = max(1, entry.attempts)

    async def _resumed(self, entry: Entry) -> Outcome | None:
        """What an item that the journal knows came to; None if it is to be sent (again)."""
        self.attempts = max(1, entry.attempts)
        if entry.task is None or entry.state not in ("succeeded", "failed"):
            return None if entry.is_over else await self._taken_up(entry)
        if entry.state == "failed" and self.is_again:
            self.former = self.attempts
            return None
        self.is_restored = True
        try:
            return Outcome(self.means.runs.restored(entry.task), None)
        except TaskFailedError as error:
            return Outcome(None, error)

    async def _taken_up(self, entry: Entry) -> Outcome | None:
        self._begin()
        budget = self.means.budget
        reserve = None if budget is None else await budget.take_up(self.request)
        self.log = self._item_log()
        outcome = await self._tried(self._followed(entry), reserve)
        # Cancelled tasks are not billed, and mostly it was the earlier process that stopped them when it was left.
        return None if isinstance(outcome.error, (TaskCancelledError, NeverMade)) else outcome

    async def _followed(self, entry: Entry) -> TaskResult:
        means = self.means
        if entry.state == "undecided" and means.journal is not None:
            await ledger.seek(means.journal, means.runs, entry, self.request, means.options.journal_grace)
        if entry.ref is None:
            raise NeverMade
        self.ref = entry.ref
        return await means.runs.follow(self.request, entry.ref)

    async def _tried(self, run: Awaitable[TaskResult], reserve: Reserve | None) -> Outcome:
        ended: Outcome | None = None
        try:
            ended = outcome = await _outcome_of(run)
        finally:
            if reserve is not None and self.means.budget is not None:
                self._account(self.means.budget, reserve, ended)
        if self.log is not None:
            self.log.end(outcome)
        if isinstance(outcome.error, Halted):
            raise outcome.error
        return outcome

    def _account(self, budget: Budget, reserve: Reserve, outcome: Outcome | None) -> None:
        if outcome is not None and outcome.error is not None and self._may_be_billed(outcome.error):
            budget.lose(reserve)
        else:
            result = None if outcome is None else outcome.result
            budget.settle(reserve, result is not None, None if result is None else result.cost)

    def _may_be_billed(self, error: Exception) -> bool:
        match error:
            case _ if not self.is_sent:
                return False
            case TaskFailedError() | TaskCancelledError() | NeverMade() | Halted():
                return False
            case TaskTimeoutError():
                return self.means.options.on_exit == "leave"
            case SubmissionUnknownError():
                return True
            case APIError() | TransportError(sent=False):
                return self.ref is not None
            case _:
                return True

    def _item_log(self) -> ledger.ItemLog | None:
        journal, entry = self.means.journal, self.entry
        return None if entry is None or journal is None else ledger.ItemLog(journal, entry, self.request)

    def _begin(self) -> None:
        self.worker.stage = "busy"
        self.is_restored, self.is_sent = False, True
        if self.began is None:
            self.began = monotonic()
            self.means.tally.submitted += 1


async def _outcome_of(run: Awaitable[TaskResult]) -> Outcome:
    try:
        return Outcome(await run, None)
    except JournalError:
        raise
    except Exception as error:
        return Outcome(None, error)
