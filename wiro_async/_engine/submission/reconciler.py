"""Finds the task of a run whose response was lost, so that nothing is sent, and billed, twice.

The service gives a run no name of ours, so a lost task is recognised by its echo in the account's list: the model and
the parameters. Equal runs look alike. What tells them apart is bookkeeping: a task that this session knows belongs to
another run, an equal run that still waits for its response may have made one that nobody knows yet, and of several
equal lost runs it does not matter which one takes which task. So equal searches take turns, each waits for the equal
runs in flight, and a task is claimed as soon as it is found.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

import anyio
import attrs

from wiro_async._engine.background.change import Change
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.submission.submission import RunLog, Submission
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import WiroError
from wiro_async._protocol.submission.decision import Ambiguous
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.submission.task_matching import SendTime, choose, is_complete, name_of
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo
from wiro_async._tuning import Tuning

T = TypeVar("T")
Group: TypeAlias = tuple[str, str]  # equal for runs of one account that look alike


@attrs.frozen(eq=False)
class TaskSearch:
    """The search for the task of one lost run.

    Attributes:
        sent_at: the moment of `clock.monotonic` before which it was not sent.
        after_id: the largest task id that was seen before that; None if none was.
        log: knows which tasks belong to runs of other processes, if the run is recorded.
        details: tasks that were read one by one, because the list holds too little of them.
    """

    calls: TaskCalls
    intent: Intent
    sent_at: float
    after_id: int | None
    log: RunLog | None = None
    details: dict[str, TaskInfo] = attrs.field(factory=dict[str, TaskInfo], repr=False)

    @property
    def group(self) -> Group:
        """Equal for searches that may find each other's tasks."""
        return self.calls.client.account, self.intent.fingerprint

    def send_time(self, skew: float) -> SendTime:
        """When the run was sent, by what the service has shown so far: its list may be the first response of all.

        Args:
            skew: seconds by which its times may be rounded.
        """
        client = self.calls.client
        since = client.server_clock.at(self.sent_at)
        return SendTime(
            self.after_id,
            client.seen_ids.run_upward,
            None if since is None else datetime.fromtimestamp(since - skew, UTC),
        )


class Reconciler:
    """Knows the runs in flight, and finds the tasks of lost runs."""

    def __init__(self, tuning: Tuning, tracker: Tracker) -> None:
        self._tuning = tuning
        self._tracker = tracker
        self._in_flight: defaultdict[Group, set[Submission]] = defaultdict(set)
        self._ended = Change()  # notified when a run in flight has got its response, or is known to be lost
        self._searches: defaultdict[Group, set[TaskSearch]] = defaultdict(set)
        self._turns: dict[Group, anyio.Lock] = {}

    def begin(self, submission: Submission) -> None:
        """A run is being sent."""
        self._in_flight[submission.group].add(submission)

    def end(self, submission: Submission) -> None:
        """Its response has come, or is lost. Calling it twice is harmless."""
        _discard(self._in_flight, submission.group, submission)
        self._ended.notify()

    async def find(self, submission: Submission, grace: float) -> TaskRef | Ambiguous | None:
        """Find the task of a run whose response was lost; None if it is not listed after `grace` seconds."""
        calls, intent = submission.calls, submission.plan.intent
        search = TaskSearch(calls, intent, submission.sent_at, submission.after_id, submission.plan.log)
        self._searches[search.group].add(search)  # before it ends in flight: equal searches count it from now on
        self.end(submission)
        return await self._run(search, grace)

    def is_sending(self, calls: TaskCalls, intent: Intent) -> bool:
        """Whether a run that looks like this one waits for its response, or is searched for."""
        group = calls.client.account, intent.fingerprint
        return group in self._in_flight or group in self._searches

    async def _run(self, search: TaskSearch, grace: float) -> TaskRef | Ambiguous | None:
        """Search again and again, for `grace` seconds. Absence is believed only if the last search proved it."""
        deadline = anyio.current_time() + grace
        pause = self._tuning.search_pause
        group = search.group
        try:
            while True:
                async with self._turns.setdefault(group, anyio.Lock()):
                    proves_absence, unread = False, None
                    try:
                        matches = await self._matches(search)
                        proves_absence = await self._equals_have_ended(search, deadline)
                        if matches and search.log is not None:
                            claimed = await search.log.claimed()
                            self._tracker.remember(*(claimed or ()))
                            proves_absence = proves_absence and claimed is not None
                    except WiroError as error:  # the list, or the log, could not be read; perhaps the next time
                        matches, unread, proves_absence = [], error, False
                    if proves_absence:
                        unclaimed = [task for task in matches if not self._tracker.knows(task.id, task.token)]
                        sent = search.send_time(self._tuning.clock_skew)
                        found = choose(unclaimed, sent, len(self._searches[group]))
                        if isinstance(found, TaskRef):
                            self._tracker.remember(found.task_id, found.token)
                        if found is not None:
                            return found
                left = deadline - anyio.current_time()
                if left <= 0:
                    return None if proves_absence else Ambiguous(unread=unread)
                await anyio.sleep(min(pause, left))
                pause = min(self._tuning.search_max_pause, 2 * pause)
        finally:
            _discard(self._searches, group, search)
            if group not in self._searches:
                self._turns.pop(group, None)

    async def _equals_have_ended(self, search: TaskSearch, deadline: float) -> bool:
        """Wait for the equal runs that are in flight now: their tasks may be listed without being known yet.

        They have a grace of their own, because the deadline of this search may come just after they were sent.
        """
        equals = set(self._in_flight.get(search.group, ()))
        deadline = max(deadline, anyio.current_time() + self._tuning.search_grace)
        with anyio.CancelScope(deadline=deadline) as scope:
            await self._ended.until(lambda: equals.isdisjoint(self._in_flight.get(search.group, ())))
        return not scope.cancelled_caught

    async def _matches(self, search: TaskSearch) -> list[TaskInfo]:
        """Read the list down to the first task that is too old, and return those that look like it."""
        matches: dict[str, TaskInfo] = {}
        seen: set[str] = set()
        for _ in range(self._tuning.search_max_pages):
            page = await search.calls.page(len(seen), self._tuning.search_page)
            sent = search.send_time(self._tuning.clock_skew)
            new = {name_of(task): task for task in page if name_of(task) not in seen}
            for name, row in new.items():
                if sent.age_of(row) == "older" or self._tracker.knows(row.id, row.token):
                    continue
                task: TaskInfo | None = row
                if not is_complete(row):
                    # A service that lists a thousand rows without a model must not cost a thousand requests.
                    if name not in search.details and len(search.details) < self._tuning.search_max_details:
                        detail = await search.calls.detail(TaskRef(row.id or None, row.token))
                        search.details[name] = detail or row
                    task = search.details.get(name)
                if task is not None and search.intent.matches(task) and sent.age_of(task) != "older":
                    matches[name] = task
            seen |= new.keys()
            # Not at a short page: the service may give fewer than asked for. Nor at any old row: it may list the oldest
            # first.
            if not new or sent.age_of(page[-1]) == "older":
                break
        return list(matches.values())


def _discard(groups: dict[Group, set[T]], group: Group, item: T) -> None:
    """Take an item out of its group, and the group away with its last item."""
    items = groups.get(group)
    if items is not None:
        items.discard(item)
        if not items:
            del groups[group]
