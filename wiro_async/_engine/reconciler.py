"""Finds the task of a run whose answer was lost, so that nothing is sent, and billed, twice."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Collection
from datetime import UTC, datetime

import anyio
import attrs

from wiro_async._engine.task_calls import TaskCalls, TaskRef
from wiro_async._errors import SubmissionUnknownError, WiroError
from wiro_async._protocol.entities import Task
from wiro_async._protocol.matching import Intent
from wiro_async._transport import clock

ANSWERED_GRACE = 5.0  # seconds to look for it where something answered: what the service took is listed soon
SKEW = 2.0  # seconds by which whole-second times may be off
FIRST_LOOK, LOOK_CAP = 0.5, 5.0
PAGE = 100
MAX_KNOWN = 10_000


@attrs.define(eq=False)
class Attempt:
    """One sending of a run.

    Attributes:
        began: unix time, by our clock.
        most: how many unknown tasks that look like it may be claimed, if not as many as are looked for.
        ended: set when it was answered, or is known to be undecided.
    """

    intent: Intent
    began: float = attrs.field(factory=clock.now)
    most: int | None = None
    ended: anyio.Event = attrs.field(factory=anyio.Event)


class Reconciler:
    """Knows the tasks of this session and the runs under way, which tells its own tasks from lost ones."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()
        self._under_way: dict[str, set[Attempt]] = defaultdict(set)
        self._undecided: dict[str, set[Attempt]] = defaultdict(set)
        self._locks: dict[str, anyio.Lock] = {}

    def begin(self, intent: Intent) -> Attempt:
        """A run is being sent."""
        attempt = Attempt(intent)
        self._under_way[intent.fingerprint].add(attempt)
        return attempt

    def end(self, attempt: Attempt, task_id: str | None) -> None:
        """It was answered, with a task or with a refusal."""
        if task_id:
            self._know(task_id)
        _discard(self._under_way, attempt)
        attempt.ended.set()

    async def find(self, calls: TaskCalls, attempt: Attempt, grace: float, error: WiroError) -> TaskRef | None:
        """The task that a lost run made; None if it is not there after `grace` seconds.

        Raises:
            SubmissionUnknownError: there are several it could be, or the service's list could not be had.
        """
        key = attempt.intent.fingerprint
        deadline = anyio.current_time() + grace
        pause = FIRST_LOOK
        self._undecided[key].add(attempt)
        self.end(attempt, None)
        try:
            while True:
                listed = await self._look(calls, attempt, error)
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
            if key not in self._undecided:
                self._locks.pop(key, None)

    async def seek(
        self, calls: TaskCalls, intent: Intent, began: float, grace: float, known: Collection[str], most: int
    ) -> TaskRef | None:
        """As `find`, for a run that an earlier process may have sent; `Submitter.seek` tells the arguments."""
        for task_id in known:
            self._know(task_id)
        attempt = Attempt(intent, began, most)
        return await self.find(calls, attempt, grace, WiroError("the program ended before it came"))

    async def _look(self, calls: TaskCalls, attempt: Attempt, error: WiroError) -> TaskRef | bool:
        key = attempt.intent.fingerprint
        async with self._locks.setdefault(key, anyio.Lock()):
            try:
                listed = await self._listed(calls, attempt)
            except WiroError:
                return False
            for other in list(self._under_way.get(key, ())):
                await other.ended.wait()  # its task may be in the list without being known yet
            unclaimed = [task for task in listed if task.id not in self._known]
            allowed = len(self._undecided[key]) if attempt.most is None else attempt.most
            if len(unclaimed) > allowed:
                raise unknown(attempt.intent, error, unclaimed)
            if not unclaimed:
                return True
            task = min(unclaimed, key=_age)  # an equal that was sent later may only have made the newer ones
            self._know(task.id)
            return TaskRef(task.id, task.token)

    async def _listed(self, calls: TaskCalls, attempt: Attempt) -> list[Task]:
        found: dict[str, Task] = {}
        seen: set[str] = set()
        while True:
            page = await calls.page(len(seen), PAGE)
            since = datetime.fromtimestamp(attempt.began + calls.sender.pace.offset - SKEW, UTC)
            recent = [task for task in page if task.created_at is None or task.created_at >= since]
            new = {task.id: task for task in recent if task.id not in seen}
            strangers = [task for task in new.values() if task.id not in self._known]
            found |= {task.id: task for task in strangers if attempt.intent.matches(await _whole(calls, task))}
            seen |= new.keys()
            if len(recent) < len(page) or not new:  # not for a short page: the service may give fewer than asked for
                return list(found.values())

    def _know(self, task_id: str) -> None:
        self._known[task_id] = None
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)


def unknown(intent: Intent, error: WiroError, candidates: list[Task] | None = None) -> SubmissionUnknownError:
    """The error for a run of which nobody knows whether it was made."""
    found = f"{len(candidates)} tasks could be it" if candidates else "no task of it was found"
    return SubmissionUnknownError(
        f"the run of {intent.model} was sent but its answer was lost ({error}); {found}. It may exist and be billed, "
        "so it was not sent again: look through your tasks before you submit it anew",
        intent.model,
        candidates or (),
    )


def _age(task: Task) -> tuple[datetime, int, str]:
    """Sorts tasks from old to new, those of unknown age last; ids are running numbers."""
    return task.created_at or datetime.max.replace(tzinfo=UTC), len(task.id), task.id


async def _whole(calls: TaskCalls, task: Task) -> Task:
    if task.model and "parameters" in task.raw:
        return task
    return await calls.detail(TaskRef(task.id or None, task.token)) or task


def _discard(attempts: dict[str, set[Attempt]], attempt: Attempt) -> None:
    key = attempt.intent.fingerprint
    group = attempts.get(key)
    if group is not None:
        group.discard(attempt)
        if not group:
            del attempts[key]
