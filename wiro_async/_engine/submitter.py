"""Sends runs, once each, and never loses one: not by a fault, not by cancellation, not by closing the session."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import anyio
import attrs

from wiro_async._engine.event_runs import EventRuns
from wiro_async._engine.limiter import Limiter, Slot
from wiro_async._engine.nursery import Nursery
from wiro_async._engine.reconciler import ANSWERED_GRACE, Attempt, Reconciler, unknown
from wiro_async._engine.running import Running
from wiro_async._engine.stopping import Stopper
from wiro_async._engine.task_calls import TaskCalls, TaskRef
from wiro_async._errors import (
    ConcurrencyLimitError,
    DecodingError,
    RateLimitError,
    ServerError,
    SessionClosedError,
    TransportError,
    WiroError,
)
from wiro_async._protocol.entities import Submitted
from wiro_async._protocol.matching import Intent
from wiro_async._protocol.requests import Request
from wiro_async._types import OnCancel, OnUnknown, ProgressMode

ANSWER_SECONDS = 5.0
MAX_AT_ONCE = 60  # runs being sent; fewer than the connections, so that none waits inside the HTTP pool


class RunLog(Protocol):
    """Who writes a run down, so that it can be found again after the end of this process."""

    async def intend(self, intent: Intent) -> None:
        """It is about to be sent, and is not before this returns."""

    async def note(self, ref: TaskRef) -> None:
        """Its task is known; nothing else happens before this returns."""

    def settle(self) -> None:
        """Nothing of it is under way any more."""


@attrs.frozen
class RunPlan:
    """One intent to run a model.

    Attributes:
        on_cancel: what becomes of its task if the caller goes away while it is submitted.
        on_unknown: "resubmit" sends it again if its answer was lost and its task is nowhere to be found.
        mode: how it is followed; "sse" makes its answer an event stream.
        log: who writes it down.
    """

    request: Request
    intent: Intent
    on_cancel: OnCancel
    on_unknown: OnUnknown
    mode: ProgressMode = "auto"
    log: RunLog | None = None


@attrs.define(eq=False)
class _Sending:
    plan: RunPlan
    calls: TaskCalls
    slot: Slot
    attempt: Attempt
    ref: TaskRef | None = None
    error: Exception | None = None
    abandoned: bool = False
    settled: anyio.Event = attrs.field(factory=anyio.Event)


class Submitter:
    """Sends every run in a task of the session, so that the end of the caller's task does not tear it.

    Attributes:
        on_made: told of the callback URL and the ids of every task that was made.
    """

    def __init__(
        self, nursery: Nursery, stopper: Stopper, limiter: Limiter, running: Running, event_runs: EventRuns
    ) -> None:
        self._nursery = nursery
        self._stopper = stopper
        self._limiter = limiter
        self._running = running
        self._event_runs = event_runs
        self._reconciler = Reconciler()
        self._gate = anyio.Semaphore(MAX_AT_ONCE, fast_acquire=True)
        self._under_way: set[_Sending] = set()
        self._closed = False
        self.on_made: Callable[[str | None, TaskRef], None] = lambda callback_url, ref: None

    def __len__(self) -> int:
        return len(self._under_way)

    async def submit(self, calls: TaskCalls, plan: RunPlan) -> TaskRef:
        """Start a run, as soon as the limiter allows it.

        Cancelling waits, shielded, up to `ANSWER_SECONDS` for an answer that is under way, and stops its task.

        Raises:
            SubmissionUnknownError: the answer was lost, and so is the task, if there is one.
            WiroError: the run was refused, or never left.
        """
        tries = 1
        refused = False
        while True:
            slot = await self._limiter.acquire(refused=refused)
            try:
                ref = await self._send_once(calls, plan, slot)
            except ConcurrencyLimitError as error:
                self._limiter.refuse(slot, error.limit)
                refused = True
            except WiroError as error:
                refused = False
                if isinstance(error, RateLimitError):
                    self._limiter.slow_down(slot)
                if not calls.sender.may_repeat(plan.request, error, tries):
                    raise
                await calls.sender.pause(plan.request, error, tries)
                tries += 1
            else:
                if ref is not None:
                    return ref

    async def seek(
        self, calls: TaskCalls, intent: Intent, began: float, grace: float, known: Collection[str], most: int
    ) -> TaskRef | None:
        """The task of a run that an earlier process may have sent; None if it is not listed after `grace` seconds.

        Args:
            began: unix time before it was sent.
            known: ids of tasks that look like it but are not.
            most: how many unknown tasks that look like it may be claimed; with more it cannot be told.

        Raises:
            SubmissionUnknownError: there are several it could be, or the service's list could not be had.
        """
        return await self._reconciler.seek(calls, intent, began, grace, known, most)

    async def aclose(self) -> None:
        """Give up all that is under way, stopping what was made, and begin nothing more."""
        self._closed = True
        self._limiter.open_wide()
        answered = [sending for sending in self._under_way if sending.settled.is_set()]
        for sending in self._under_way:
            sending.abandoned = True
        with anyio.move_on_after(ANSWER_SECONDS):
            for sending in list(self._under_way):
                await sending.settled.wait()
        for sending in answered:  # their callers have not woken up yet, so the tasks are nobody's
            await self._drop(sending)

    async def _send_once(self, calls: TaskCalls, plan: RunPlan, slot: Slot) -> TaskRef | None:
        try:
            await self._gate.acquire()
        except BaseException:
            self._limiter.end(slot)
            raise
        if self._closed:
            self._gate.release()
            self._limiter.end(slot)
            raise SessionClosedError("the session was closed before the run was sent")
        sending = _Sending(plan, calls, slot, self._reconciler.begin(plan.intent))
        self._under_way.add(sending)
        self._nursery.start(self._send, sending)
        try:
            await sending.settled.wait()
        except anyio.get_cancelled_exc_class():
            await self._see_off(sending)
            raise
        self._under_way.discard(sending)
        if sending.error is not None:
            raise sending.error
        if sending.abandoned:
            closed = SessionClosedError("the session was closed while the run was being submitted")
            raise closed.with_task(sending.ref.task_id, sending.ref.token) if sending.ref else closed
        return sending.ref

    async def _see_off(self, sending: _Sending) -> None:
        with anyio.CancelScope(shield=True):
            if sending.settled.is_set():  # the answer came while the caller was being cancelled
                self._under_way.discard(sending)
                if not sending.abandoned:
                    await self._drop(sending)
                return
            sending.abandoned = True
            with anyio.move_on_after(ANSWER_SECONDS):
                await sending.settled.wait()

    async def _send(self, sending: _Sending) -> None:
        try:
            sending.ref = await self._answered(sending)
            if sending.ref is not None and sending.plan.log is not None:
                await sending.plan.log.note(sending.ref)
        except anyio.get_cancelled_exc_class():
            sending.error = SessionClosedError("the session was closed while the run was being submitted")
            raise
        except Exception as error:
            sending.error = error
        finally:
            await self._settle(sending)

    async def _settle(self, sending: _Sending) -> None:
        self._reconciler.end(sending.attempt, sending.ref.task_id if sending.ref else None)
        if sending.ref is not None:
            self.on_made(sending.plan.intent.callback_url, sending.ref)
            self._running.begin(sending.calls, sending.ref, sending.slot, sending.plan.mode)
        elif sending.abandoned or not isinstance(sending.error, (ConcurrencyLimitError, RateLimitError)):
            self._limiter.end(sending.slot)
        unwritten = sending.ref is not None and sending.error is not None
        try:
            if sending.abandoned or unwritten:
                await self._drop(sending)
        finally:
            if sending.plan.log is not None:
                sending.plan.log.settle()
            if sending.abandoned:
                self._under_way.discard(sending)
            sending.settled.set()

    async def _drop(self, sending: _Sending) -> None:
        if sending.ref is None:
            self._limiter.end(sending.slot)
        elif sending.plan.on_cancel == "stop":
            await self._stopper.stop(sending.calls, sending.ref)

    async def _answered(self, sending: _Sending) -> TaskRef | None:
        try:
            return await self._asked(sending)
        except (TransportError, ServerError, DecodingError) as error:
            if isinstance(error, TransportError) and not error.sent:
                raise
            return await self._find(sending, error)

    async def _asked(self, sending: _Sending) -> TaskRef:
        try:
            if sending.plan.log is not None:
                await sending.plan.log.intend(sending.plan.intent)
            if sending.plan.mode == "sse":
                return await self._event_runs.start(sending.calls, sending.plan.request)
            answer = await sending.calls.sender.attempt(sending.plan.request)
        finally:
            self._gate.release()
        submitted = Submitted.from_wire(answer)
        if submitted is None:
            raise DecodingError("the answer holds no task id", 200)
        return TaskRef(submitted.task_id or None, submitted.token)

    async def _find(self, sending: _Sending, error: WiroError) -> TaskRef | None:
        grace = ANSWERED_GRACE
        if isinstance(error, TransportError):
            grace += sending.calls.sender.timeout or 0.0
        ref = await self._reconciler.find(sending.calls, sending.attempt, grace, error)
        if ref is None and sending.plan.on_unknown == "raise":
            raise unknown(sending.plan.intent, error) from error
        return ref
