"""Finds the task of a run whose answer was lost, so that nothing is sent, and billed, twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime

import anyio
import attrs

from wiro_async._engine.calls.task_calls import TaskCalls, TaskRef
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import SubmissionUnknownError, WiroError
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._transport import clock

ANSWERED_GRACE = 5.0  # seconds to look for it where something answered: what the service took is listed soon
SKEW = 2.0  # seconds by which whole-second times may be off
FIRST_LOOK, LOOK_CAP = 0.5, 5.0
PAGE, MAX_PAGES = 100, 100
MAX_ASKED = 50  # listed tasks that tell too little and are asked about one by one


@attrs.define(eq=False)
class Attempt:
    """One sending of a run.

    Attributes:
        account: whose run it is.
        began: unix time, by our clock.
        most: how many unknown tasks that look like it may be claimed, if not as many as are looked for.
        ended: set when it was answered, or is known to be undecided.
        asked: tasks that were asked about because the list told too little of them.
    """

    intent: Intent
    account: str = attrs.field(repr=False)
    began: float = attrs.field(factory=clock.now)
    most: int | None = None
    ended: anyio.Event = attrs.field(factory=anyio.Event)
    asked: dict[str, TaskInfo] = attrs.field(factory=dict[str, TaskInfo], repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """Equal for runs of one account that cannot be told apart."""
        return self.account, self.intent.fingerprint


Group = defaultdict[tuple[str, str], set[Attempt]]


class Reconciler:
    """Knows the tasks of this session and the runs under way, which tells its own tasks from lost ones."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._under_way: Group = defaultdict(set)
        self._undecided: Group = defaultdict(set)
        self._locks: dict[tuple[str, str], anyio.Lock] = {}

    def begin(self, calls: TaskCalls, intent: Intent) -> Attempt:
        """A run is being sent."""
        attempt = Attempt(intent, calls.sender.account)
        self._under_way[attempt.key].add(attempt)
        return attempt

    def end(self, attempt: Attempt, ref: TaskRef | None) -> None:
        """It was answered, with a task or with a refusal."""
        if ref is not None:
            self._tracker.remember(ref.task_id, ref.token)
        _discard(self._under_way, attempt)
        attempt.ended.set()

    async def find(self, calls: TaskCalls, attempt: Attempt, grace: float, error: WiroError) -> TaskRef | None:
        """The task that a lost run made; None if it is not there after `grace` seconds.

        Raises:
            SubmissionUnknownError: there are several it could be, or the service's list could not be had.
        """
        deadline = anyio.current_time() + grace
        pause = FIRST_LOOK
        self._undecided[attempt.key].add(attempt)
        self.end(attempt, None)
        try:
            while True:
                listed = await self._look(calls, attempt, deadline, error)
                if isinstance(listed, TaskRef):
                    return listed
                left = deadline - anyio.current_time()
                if left <= 0:
                    if not listed:
                        raise unknown(attempt.intent, error)
                    return None
                await anyio.sleep(min(pause, left))
                pause = min(LOOK_CAP, 2 * pause)
        finally:
            _discard(self._undecided, attempt)
            if attempt.key not in self._undecided:
                self._locks.pop(attempt.key, None)

    async def seek(
        self, calls: TaskCalls, intent: Intent, began: float, grace: float, known: Collection[str], most: int
    ) -> TaskRef | None:
        """As `find`, for a run that an earlier process may have sent; `Submitter.seek` tells the arguments."""
        for task_id in known:
            self._tracker.remember(task_id)
        lost = WiroError("the program ended before it came")
        if began > clock.now() + SKEW:
            raise unknown(intent, WiroError(f"{lost}, and this machine's clock was set back since"))
        return await self.find(calls, Attempt(intent, calls.sender.account, began, most), grace, lost)

    async def _look(self, calls: TaskCalls, attempt: Attempt, deadline: float, error: WiroError) -> TaskRef | bool:
        """The task, or whether the service could be asked for it."""
        async with self._locks.setdefault(attempt.key, anyio.Lock()):
            try:
                listed = await self._listed(calls, attempt)
            except WiroError:
                return False
            if not await self._equals_answered(attempt, deadline):
                return False
            unclaimed = [task for task in listed if not self._tracker.knows(task.id, task.token)]
            allowed = len(self._undecided[attempt.key]) if attempt.most is None else attempt.most
            if len(unclaimed) > allowed or any(_began(task) is None for task in unclaimed):
                raise unknown(attempt.intent, error, unclaimed)
            if not unclaimed:
                return True
            task = min(unclaimed, key=_age)  # an equal that was sent later may only have made the newer ones
            self._tracker.remember(task.id, task.token)
            return TaskRef(task.id or None, task.token)

    async def _equals_answered(self, attempt: Attempt, deadline: float) -> bool:
        """Wait for equal runs under way: their tasks may be in the list without being known yet.

        They have a grace of their own, for the deadline of this one may come just when others are sent.
        """
        with anyio.CancelScope(deadline=max(deadline, anyio.current_time() + ANSWERED_GRACE)) as scope:
            for other in list(self._under_way.get(attempt.key, ())):
                await other.ended.wait()
        return not scope.cancelled_caught

    async def _listed(self, calls: TaskCalls, attempt: Attempt) -> list[TaskInfo]:
        """The tasks that look like it and were made since, or may have been."""
        since = datetime.fromtimestamp(attempt.began + calls.sender.pace.offset - SKEW, UTC)
        found: dict[str, TaskInfo] = {}
        seen: set[str] = set()
        for _ in range(MAX_PAGES):
            page = await calls.page(len(seen), PAGE)
            new = {_name(task): task for task in page if _name(task) not in seen}
            recent = {name: task for name, task in new.items() if not _is_older(task, since)}
            for name, task in recent.items():
                whole = None if self._tracker.knows(task.id, task.token) else await self._whole(calls, attempt, task)
                if whole and attempt.intent.matches(whole) and not _is_older(whole, since):
                    found[name] = whole
            seen |= new.keys()
            if len(recent) < len(new) or not new:  # not for a short page: the service may give fewer than asked for
                break
        return list(found.values())

    async def _whole(self, calls: TaskCalls, attempt: Attempt, task: TaskInfo) -> TaskInfo | None:
        """The task as far as it is needed to tell it; None for one too many that the list tells too little of."""
        if task.model and "parameters" in task.raw and _began(task) is not None:
            return task
        name = _name(task)
        if name not in attempt.asked:
            if len(attempt.asked) >= MAX_ASKED:
                return None
            attempt.asked[name] = await calls.detail(TaskRef(task.id or None, task.token)) or task
        return attempt.asked[name]


def unknown(intent: Intent, error: WiroError, candidates: list[TaskInfo] | None = None) -> SubmissionUnknownError:
    """The error for a run of which nobody knows whether it was made."""
    found = f"{len(candidates)} tasks could be it" if candidates else "no task of it was found"
    return SubmissionUnknownError(
        f"the run of {intent.model} was sent but its answer was lost ({error}); {found}. It may exist and be billed, "
        "so it was not sent again: look through your tasks before you submit it anew",
        model=intent.model,
        candidates=candidates or (),
    )


def _name(task: TaskInfo) -> str:
    return task.id or task.token or ""


def _began(task: TaskInfo) -> datetime | None:
    return task.created_at or task.started_at


def _is_older(task: TaskInfo, since: datetime) -> bool:
    began = _began(task)
    return began is not None and began < since


def _age(task: TaskInfo) -> tuple[datetime, int, str]:
    """Sorts tasks from old to new; ids are running numbers."""
    return _began(task) or datetime.max.replace(tzinfo=UTC), len(task.id), task.id


def _discard(attempts: Group, attempt: Attempt) -> None:
    group = attempts.get(attempt.key)
    if group is not None:
        group.discard(attempt)
        if not group:
            del attempts[attempt.key]
