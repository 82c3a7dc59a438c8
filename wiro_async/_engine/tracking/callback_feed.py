"""What callbacks claim: believed only once Task/Detail says it, and then told to those who wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

import anyio
import attrs

from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import WebhookVerificationError
from wiro_async._protocol.submission.intent import intent_of
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._protocol.tasks.task_ref import TaskRef

PATIENCE = 10  # how often Task/Detail is asked until it agrees with a callback,
AGREEMENT = 0.5  # with so many seconds between
MAX_KNOWN = 10_000


class Owner(Protocol):
    """Who takes callbacks."""

    def owns(self, url: str) -> bool:
        """Whether a callback URL is its own."""
        ...


@attrs.frozen
class Noted:
    """A task that was made here, and how it can be asked about: by the account that made it. None if not told."""

    ref: TaskRef
    calls: TaskCalls | None


class Callbacks:
    """Knows which runs will report by a callback that comes to this process.

    Attributes:
        owners: those who take callbacks, as long as somebody else holds them.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.owners: WeakSet[Owner] = WeakSet()
        self._tracker = tracker
        self._noted: dict[str, Noted] = {}

    def expects(self, url: str | None) -> bool:
        """Whether calls of this URL come here."""
        return url is not None and any(owner.owns(url) for owner in self.owners)

    def note(self, url: str | None, ref: TaskRef, calls: TaskCalls | None = None) -> None:
        """A task was made that will call this URL, if that is one of ours."""
        intent_id = intent_of(url or "")
        if intent_id and self.expects(url):
            self._tracker.expect(ref)
            self._noted[intent_id] = Noted(ref, calls)
            if len(self._noted) > MAX_KNOWN:
                del self._noted[next(iter(self._noted))]

    def noted(self, intent_id: str) -> Noted | None:
        """The task whose callback URL carries this id; None if it was made elsewhere or long ago."""
        return self._noted.get(intent_id)

    async def confirmed(self, calls: TaskCalls, ref: TaskRef, is_about: Callable[[TaskInfo], bool]) -> TaskInfo | None:
        """The task, if Task/Detail agrees that it is over; then whoever waits for it has been told.

        Args:
            is_about: whether the callback may speak of a task.

        Raises:
            WebhookVerificationError: it may not.
            WiroError: Task/Detail could not be asked, or knows no such task.
        """
        for left in reversed(range(PATIENCE)):
            task = await calls.detail(ref)
            if task is not None and not is_about(task):
                raise WebhookVerificationError("a callback names a task that was given another address")
            if task is not None and _is_settled(task, patient=left > 0):
                self._tracker.told(task)
                calls.on_over(TaskRef(task.id or None, task.token))
                return task
            if left:
                await anyio.sleep(AGREEMENT)
        return None


def _is_settled(task: TaskInfo, patient: bool) -> bool:
    """Whether nothing more will change: the exit code of a finished task may follow a little later."""
    return task.is_over and (task.was_cancelled or task.exit_code is not None or not patient)
