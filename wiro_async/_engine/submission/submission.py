"""A run on its way to becoming a task."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, Protocol, TypeAlias

import anyio
import attrs

from wiro_async._engine.calls.limiter import Slot
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._errors import TaskTimeoutError
from wiro_async._protocol.http.requests import Request
from wiro_async._protocol.submission.decision import Action, Left, Sending
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._transport import clock
from wiro_async._types import OnCancel, OnUnknown, TimeoutPhase, UpdateMode

# What a request for a run has become: a task, certainly none, or perhaps one.
Became: TypeAlias = Literal["task", "nothing", "unknown"]


class RunLog(Protocol):
    """Records a run, so that it can be found again after the end of this process."""

    async def intend(self, intent: Intent) -> None:
        """Record that the run is about to be sent. It is sent after this returns; `submit` raises what this raises."""

    async def check(self) -> None:
        """Raise an error if the run must not be sent any more. Called right before its request is complete."""

    async def claimed(self) -> Collection[str] | None:
        """Return the ids of tasks that look like the run's but are others'. None if they cannot be known now."""

    async def note(self, ref: TaskRef) -> None:
        """Record the run's task. Nothing else happens before this returns."""

    async def settle(self, became: Became, error: BaseException | None) -> None:
        """Nothing of the present request is under way any more.

        Args:
            error: what `submit` raises; None if the run is sent again, or has become a task.
        """


@attrs.frozen
class RunPlan:
    """One intent to run a model.

    Attributes:
        on_cancel: what happens to the task if the caller leaves while it is submitted.
        on_unknown: "resubmit" sends the run again if its response was lost and its task is not found.
        mode: how the task is followed; "sse" makes the response an event stream.
        log: records the run.
    """

    request: Request
    intent: Intent
    on_cancel: OnCancel
    on_unknown: OnUnknown
    mode: UpdateMode = "auto"
    log: RunLog | None = None


@attrs.define(eq=False)
class Submission:
    """One run on its way, from its plan to its task. Each request for it begins with `begin`.

    Attributes:
        ref: the ids of its task, once they are known. They stay readable after the caller was cancelled.
        task: its task, once it is tracked.
        tries: how many requests were begun, without those that were refused because the account was full.
        is_abandoned: whether nobody wants the task any more.
        slot: the slot of the present request.
        sent_at: the moment of `clock.monotonic` at which the present request began.
        after_id: the largest task id that was seen before; None if none was.
        left: how much of the present request may have left this machine.
        action: what follows from the present request.
        scope: cancels the present request, but not the search after it.
        settled: set when the present request and all that follows from it in the background are over.
    """

    calls: TaskCalls
    plan: RunPlan
    ref: TaskRef | None = None
    task: TrackedTask | None = None
    tries: int = 0
    is_abandoned: bool = False
    slot: Slot = attrs.field(init=False)
    sent_at: float = attrs.field(init=False)
    after_id: int | None = attrs.field(init=False)
    left: Left = attrs.field(init=False)
    action: Action = attrs.field(init=False)
    scope: anyio.CancelScope = attrs.field(init=False)
    settled: anyio.Event = attrs.field(init=False)

    @property
    def group(self) -> tuple[str, str]:
        """Equal for runs of one account that look alike."""
        return self.calls.client.account, self.plan.intent.fingerprint

    def begin(self, slot: Slot, is_next_try: bool) -> None:
        """Begin the first or a further request."""
        self.slot = slot
        self.tries += is_next_try
        self.sent_at, self.after_id = clock.monotonic(), self.calls.client.seen_ids.largest
        self.left = "nothing"
        self.scope = anyio.CancelScope()
        self.settled = anyio.Event()

    def note_left(self, left: Left) -> None:
        """State how much of the request may have left by now."""
        self.left = left

    def abandon(self) -> None:
        """Nobody wants the task any more. A request of which a part is still here is stopped: it must not start one."""
        self.is_abandoned = True
        if self.left != "all":
            self.scope.cancel()

    def found(self, ref: TaskRef) -> None:
        """The run is the task with these ids."""
        self.ref = ref

    def made(self, ref: TaskRef) -> None:
        """The response names these ids."""
        self.calls.client.seen_ids.made(ref.task_id, self.after_id)

    def track(self, task: TrackedTask) -> None:
        """Its task is tracked from now on."""
        self.task = task

    def settle(self, action: Action) -> None:
        """Nothing of the present request is under way any more."""
        self.action = action
        self.settled.set()

    def sending(self, jitter: float) -> Sending:
        """The present request, as far as it matters for what follows."""
        plan, client = self.plan, self.calls.client
        return Sending(
            plan.intent.model,
            self.left,
            plan.request.is_replayable,
            self.tries,
            client.retry,
            plan.on_unknown,
            self.is_abandoned,
            client.timeout,
            jitter,
        )


def timed_out(submission: Submission | None, phase: TimeoutPhase, seconds: float | None) -> TaskTimeoutError:
    """The error for a timeout that ended a submit, or what comes before it."""
    ref = (submission and submission.ref) or TaskRef()
    return TaskTimeoutError(phase, seconds or 0.0, task_id=ref.task_id, token=ref.token)
