"""Carries one item of a batch from its request to its end."""

from __future__ import annotations

from time import monotonic

import attrs

from wiro_async._api.batch import journal_log as ledger
from wiro_async._api.batch.batch_inputs import Taken
from wiro_async._api.batch.batch_items import BatchItem, Outcome
from wiro_async._api.batch.item_run import Means, Work
from wiro_async._api.batch.workers import Worker
from wiro_async._api.journal import Entry
from wiro_async._errors import JournalError


@attrs.define(eq=False)
class Carried:
    """An ended item, and what only the batch wants to know.

    Attributes:
        began: the loop time at which it was sent; None if that was in an earlier process, or never.
        ended: the loop time of its end.
        is_skipped: whether it was not tried, for want of budget.
    """

    item: BatchItem
    entry: Entry | None
    began: float | None
    ended: float
    is_skipped: bool


@attrs.frozen
class Carrier:
    """Submits, retries and follows items, with the journal and the budget if there are any."""

    means: Means

    async def carry(self, worker: Worker, taken: Taken) -> Carried | None:
        """See one item to its end; None if it is dropped. Raises `JournalError`; other errors come with the item."""
        means = self.means
        work = Work(means, worker, taken.request, taken.is_again)
        outcome: Outcome | None
        try:
            if means.journal is not None:
                work.entry = await ledger.enter(means.journal, taken.place, taken.request)
        except JournalError:
            raise
        except Exception as error:
            outcome = Outcome(None, error)
        else:
            outcome = await work.outcome()
        self._count(work, outcome)
        if outcome is None:
            return None
        request, entry = taken.request, work.entry
        key = entry.key if entry is not None else str(taken.place) if request.key is None else request.key
        item = BatchItem(taken.place, key, request, outcome.result, outcome.error, work.attempts)
        return Carried(item, entry, work.began, monotonic(), work.is_skipped)

    def _count(self, work: Work, outcome: Outcome | None) -> None:
        tally = self.means.tally
        if outcome is None or work.is_skipped:
            tally.skipped += work.is_skipped
            tally.submitted -= work.began is not None
            return
        cost = None if outcome.result is None else outcome.result.cost
        if work.is_restored:
            tally.restore(outcome.result is not None, cost)
            return
        tally.submitted += work.began is None
        tally.end(outcome.result is not None, cost)
