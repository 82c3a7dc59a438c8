"""Finds out what became of runs whose response nobody has seen, as their process ended or lost its connection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import anyio
import attrs

from wiro_async._api.journal.journal_store import JournalStore
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.engine import Engine
from wiro_async._errors import WiroError
from wiro_async._protocol.journal import rules
from wiro_async._protocol.journal.absence import Absent, Adopt, Listing, Others, Unproven, judge
from wiro_async._protocol.journal.record import Record
from wiro_async._protocol.journal.rules import MakeRefused, MakeSubmitted, MakeUnknown
from wiro_async._protocol.submission.decision import unknown
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.submission.seen_ids import number_of
from wiro_async._protocol.submission.task_matching import is_complete
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo
from wiro_async._types import OnUnknown

LOST = "its program ended or lost the connection before it came"


class LostRuns:
    """Searches for the tasks of lost runs. Runs that look alike take turns: each must know what the others have found.

    Args:
        store: of their journal.
    """

    def __init__(self, store: JournalStore, engine: Engine) -> None:
        self._store = store
        self._engine = engine
        self._tuning = engine.tuning
        self._turns: defaultdict[bytes, anyio.Lock] = defaultdict(anyio.Lock)  # by fingerprint

    async def find(
        self,
        record: Record,
        intent: Intent,
        calls: TaskCalls,
        on_unknown: OnUnknown,
        is_last_look: Callable[[bool], bool],
        grace: float | None = None,
    ) -> None:
        """Take a record over, search for its task, and write what is found. Returns if others have changed it.

        Args:
            intent: of the request; the callback URL is the record's own.
            is_last_look: called with whether the grace has passed; whether looking again can tell nothing more.
            grace: seconds after which a task that is missing in the list was never made.

        Raises:
            SubmissionUnknownError: it cannot be known. The record is unknown.
        """
        intent = attrs.evolve(intent, callback_url=record.intention.callback_url)
        taken = await self._store.take_over(record)
        if taken is None:
            return
        try:
            deadline = anyio.current_time() + (self._tuning.journal_grace if grace is None else grace)
            step = await self._search(taken, intent, calls, on_unknown, is_last_look, deadline)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._store.park(taken, (), "the search for its task was interrupted")
            raise
        if isinstance(step, MakeUnknown):
            reason, candidates = step.verdict.reason, step.verdict.candidates
            await self._store.park(taken, [task.id for task in candidates], reason)
            raise unknown(intent.model, f"{LOST}; {reason}", candidates)

    async def _search(
        self,
        record: Record,
        intent: Intent,
        calls: TaskCalls,
        on_unknown: OnUnknown,
        is_last_look: Callable[[bool], bool],
        deadline: float,
    ) -> MakeSubmitted | MakeRefused | MakeUnknown:
        pause, details = self._tuning.search_pause, dict[str, TaskInfo]()
        while True:
            has_waited = anyio.current_time() >= deadline
            async with self._turns[record.intention.fingerprint]:
                verdict = await self._look(record, intent, calls, details)
                is_certain = isinstance(verdict, Adopt) or (has_waited and isinstance(verdict, Absent))
                if is_certain or (isinstance(verdict, Unproven) and is_last_look(has_waited)):
                    step = rules.after_search(verdict, on_unknown)
                    match step:
                        case MakeSubmitted(ref):
                            self._engine.tracker.remember(ref.task_id, ref.token)
                            await self._store.record_task(record, ref)
                        case MakeRefused():
                            await self._store.refuse(record)
                        case MakeUnknown():
                            pass
                    return step
            await anyio.sleep(pause if has_waited else min(pause, max(0.0, deadline - anyio.current_time())))
            pause = min(self._tuning.search_max_pause, 2 * pause)

    async def _look(
        self, record: Record, intent: Intent, calls: TaskCalls, details: dict[str, TaskInfo]
    ) -> Adopt | Absent | Unproven:
        """Look once. The order counts: what was made before the list was read is in it, and is claimed after it."""
        bound = record.intention.last_id_seen
        witnesses = await self._store.witnesses(record.intention.shape, record.position)
        try:
            listing = await self._engine.list_reader.read(calls, bound or 0)
            wanted = {witness.ref.task_id for witness in witnesses}
            listing = await self._completed(listing, bound or 0, wanted, calls, details)
        except WiroError as error:
            return Unproven(f"the service's list of tasks could not be read ({error})")
        alike = await self._store.look_alikes(record.intention.fingerprint)
        rivals = await self._store.read([key for key in alike.rivals if key != record.key])
        are_settled = not self._engine.submitter.is_sending(calls, intent) and not any(
            rival.ref is not None or rival.state not in ("undecided", "unknown") or rival.lease > 0
            for rival in rivals.values()
        )
        own = {row.id for row in listing.rows if self._engine.tracker.knows(row.id, row.token)}
        others = Others(
            own.union(alike.task_ids),
            witnesses,
            len(rivals) + 1,
            alike.is_one_request,
            are_settled,
            await self._ids_run_upward(calls),
        )
        return judge(intent, bound, listing, others)

    async def _ids_run_upward(self, calls: TaskCalls) -> bool | None:
        """Hold the order of ids against the tasks of the session and of the journal. One exception disproves it."""
        shown = {calls.client.seen_ids.run_upward, await self._store.ids_run_upward()} - {None}
        return None if not shown else shown == {True}

    async def _completed(
        self, listing: Listing, bound: int, wanted: set[str | None], calls: TaskCalls, details: dict[str, TaskInfo]
    ) -> Listing:
        """Read tasks one by one of which the list holds too little, up to a limit."""
        rows: list[TaskInfo] = []
        for row in listing.rows:
            number, task = number_of(row.id), details.get(row.id, row)
            is_new = number is None or number > bound
            is_needed = row.id in wanted or not self._engine.tracker.knows(row.id, row.token)
            if is_new and is_needed and not is_complete(task) and len(details) < self._tuning.search_max_details:
                task = await calls.detail(TaskRef(row.id or None, row.token)) or row
                details[row.id] = task
            rows.append(task)
        return attrs.evolve(listing, rows=tuple(rows))
