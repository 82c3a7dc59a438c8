"""The feed of callbacks: the service calls a URL when a run ends.

Nobody knows who calls that URL, so a callback proves nothing. It is a reason to read Task/Detail, and those who wait
for the task hear of its end once Task/Detail agrees. A callback may come before anybody waits, even before the response
to the run that it is about: so each fact that arrives first is remembered until the other one arrives.
https://wiro.ai/docs/callbacks
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakMethod

import anyio
import attrs

from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.tracking.id_memory import IdFact, IdMemory, MadeTask
from wiro_async._errors import NotFoundError, WebhookVerificationError
from wiro_async._protocol.submission.intent import intent_of
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo
from wiro_async._tuning import Tuning


@attrs.frozen
class _Receiver:
    """The methods of a receiver that the session calls, as long as somebody else keeps the receiver alive."""

    owns: WeakMethod[Callable[[str], bool]]
    made: WeakMethod[Callable[[str, MadeTask], None]]


class CallbackFeed:
    """Knows which runs report their end to this process.

    Args:
        ended: takes the final state of a task.
    """

    def __init__(self, tuning: Tuning, memory: IdMemory, ended: Callable[[TaskCalls, TaskInfo], None]) -> None:
        self._tuning = tuning
        self._memory = memory
        self._ended = ended
        self._unread = IdMemory(tuning.callback_max_done)  # anybody may fill it: it must not displace what is certain
        self._receivers: list[_Receiver] = []

    def add(self, owns: Callable[[str], bool], made: Callable[[str, MadeTask], None]) -> None:
        """Runs with a URL that belongs to a receiver report here, as long as somebody else keeps the receiver alive.

        Args:
            owns: a method of the receiver, which says whether a URL belongs to it.
            made: a method of the receiver, which is called with the id in a URL of its own and the task that was made.
        """
        self._receivers = [receiver for receiver in self._receivers if receiver.owns() is not None]
        self._receivers.append(_Receiver(WeakMethod(owns), WeakMethod(made)))

    def expect(self, ref: TaskRef) -> None:
        """A callback will report the end of this task."""
        self._memory.add(IdFact.EXPECTS_CALLBACK, ref.task_id, ref.token)

    def submitted(self, url: str | None, ref: TaskRef, calls: TaskCalls) -> None:
        """A task was made that calls this URL, which may lead elsewhere."""
        intent_id = intent_of(url or "")
        if not (url and intent_id):
            return
        task = MadeTask(ref, calls)
        for receiver in self._receivers:
            owns, made = receiver.owns(), receiver.made()
            if owns is not None and made is not None and owns(url):
                self.expect(ref)
                self._memory.add_callback(intent_id, task)
                made(intent_id, task)

    def is_expected(self, ref: TaskRef) -> bool:
        """Whether a callback will report the end of this task."""
        return self._memory.has(IdFact.EXPECTS_CALLBACK, ref.token, ref.task_id)

    def task_of(self, intent_id: str) -> MadeTask | None:
        """The task whose callback URL carries this id; None if it was made elsewhere, or long ago."""
        return self._memory.callback(intent_id)

    def remember_unread(self, ref: TaskRef) -> None:
        """Somebody claims that a task is over which nobody waits for. Whoever waits for it later reads it at once."""
        self._unread.add(IdFact.REPORTED, ref.task_id, ref.token)

    def take_report(self, ref: TaskRef) -> bool:
        """Whether a callback has reported the end of a task before anybody followed it; the report is forgotten."""
        reports = [memory.take(IdFact.REPORTED, ref.task_id, ref.token) for memory in (self._memory, self._unread)]
        return any(reports)

    async def confirm(
        self, calls: TaskCalls, ref: TaskRef, is_about: Callable[[TaskInfo], bool], unlisted: int
    ) -> TaskInfo | None:
        """The final state of a task that was reported over; None if Task/Detail does not agree for some seconds.

        Args:
            is_about: whether the callback may speak of a task.
            unlisted: how many reads may find no such task.

        Raises:
            WebhookVerificationError: it may not.
            NotFoundError: there is no such task.
            WiroError: Task/Detail could not be read.
        """
        for left in reversed(range(self._tuning.callback_confirmations)):
            info = await calls.detail(ref)
            unlisted -= info is None
            if unlisted <= 0:
                raise NotFoundError(message="Task/Detail does not list the task that a callback names")
            if info is not None and not is_about(info):
                raise WebhookVerificationError("a callback names a task that was given another URL")
            # The exit code of a finished task may follow a little later.
            if info is not None and info.is_over and (info.was_cancelled or info.exit_code is not None or not left):
                self._ended(calls, info)
                return info
            if left:
                await anyio.sleep(self._tuning.callback_confirm)
        return None
