"""Sends runs, once each, and never loses one: not by a fault, not by cancellation, not by closing the session."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Protocol

import anyio
import attrs

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.sender import Departure
from wiro_async._engine.calls.task_calls import TaskCalls, TaskRef
from wiro_async._engine.submission.limiter import Limiter, Slot
from wiro_async._engine.submission.reconciler import ANSWERED_GRACE, Attempt, Reconciler, unknown
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import (
    APIError,
    ConcurrencyLimitError,
    ConnectionFailedError,
    DecodingError,
    RateLimitError,
    SessionClosedError,
    SubmissionUnknownError,
    TaskTimeoutError,
    TransportError,
    WiroError,
)
from wiro_async._protocol.http.requests import Request
from wiro_async._protocol.http.retry import is_refusal
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.tasks.records import Submitted
from wiro_async._types import OnCancel, OnUnknown, TimeoutPhase, UpdateMode

logger = logging.getLogger("wiro_async")
ANSWER_SECONDS = 4.0  # so long the answer to a run is awaited that nobody wants any more; then its task is looked for
FIND_SECONDS = 1.0  # and so long that is waited for, before it goes on in the background
MAX_AT_ONCE = 60  # runs being sent; fewer than the connections, so that none waits inside the HTTP pool


class RunLog(Protocol):
    """Who writes a run down, so that it can be found again after the end of this process."""

    async def intend(self, intent: Intent) -> None:
        """It is about to be sent, and is not before this returns. What this raises is raised by `submit`."""

    async def note(self, ref: TaskRef) -> None:
        """Its task is known; nothing else happens before this returns."""

    def settle(self) -> None:
        """Nothing of it is under way any more."""


@attrs.define
class Trace:
    """What became known of a run whose submitting was ended from outside."""

    ref: TaskRef | None = None

    def timed_out(self, phase: TimeoutPhase, seconds: float | None) -> TaskTimeoutError:
        """The error for a time-out that ended it."""
        ref = self.ref or TaskRef()
        return TaskTimeoutError(phase, seconds or 0.0, task_id=ref.task_id, token=ref.token)


@attrs.frozen
class RunPlan:
    """One intent to run a model.

    Attributes:
        on_cancel: what becomes of its task if the caller goes away while it is submitted.
        on_unknown: "resubmit" sends it again if its answer was lost and its task is nowhere to be found.
        mode: how it is followed; "sse" makes its answer an event stream.
        log: who writes it down.
        trace: told of its task, whoever hears of it.
    """

    request: Request
    intent: Intent
    on_cancel: OnCancel
    on_unknown: OnUnknown
    mode: UpdateMode = "auto"
    log: RunLog | None = None
    trace: Trace = attrs.field(factory=Trace)


@attrs.define(eq=False)
class _Sending:
    plan: RunPlan
    calls: TaskCalls
    slot: Slot
    attempt: Attempt
    departure: Departure
    is_last: bool
    ref: TaskRef | None = None
    task: TrackedTask | None = None
    error: Exception | None = None
    abandoned: bool = False
    call: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    settled: anyio.Event = attrs.field(factory=anyio.Event)

    def given_up(self, why: str) -> ConnectionFailedError:
        """The error for an answer that is not waited for any more."""
        return ConnectionFailedError(why, sent=self.departure.has_begun, incomplete=not self.departure.is_complete)

    def abandon(self) -> None:
        """Nobody wants it any more. What has not left completely does not have to."""
        self.abandoned = True
        if not self.departure.is_complete:
            self.call.cancel()


class Submitter:
    """Sends every run in a task of the session, so that the end of the caller's task does not tear it."""

    def __init__(self, background: BackgroundTasks, limiter: Limiter, tracker: Tracker) -> None:
        self._background = background
        self._limiter = limiter
        self._tracker = tracker
        self._reconciler = Reconciler(tracker)
        self._gate = anyio.Semaphore(MAX_AT_ONCE, fast_acquire=True)
        self._under_way: set[_Sending] = set()
        self._closed = False
        self._nobodys: list[_Sending] = []  # answered before the end, but their callers have not woken up yet

    def __len__(self) -> int:
        return len(self._under_way)

    async def submit(self, calls: TaskCalls, plan: RunPlan) -> TrackedTask:
        """Start a run, as soon as the limiter allows it.

        Cancelling waits, shielded, up to 5 s for an answer that is under way, or else for its task to be found, and
        stops the task. That goes on in the background if it takes longer.

        Raises:
            SubmissionUnknownError: the answer was lost, and so is the task, if there is one.
            WiroError: the run was refused, or never left.
        """
        tries = 1
        refused = False
        while True:
            slot = await self._limiter.acquire(refused=refused)
            refused = False
            departure = Departure()
            is_last = plan.on_unknown != "resubmit" or tries >= calls.sender.retry.attempts
            try:
                ref = await self._send_once(calls, plan, slot, departure, is_last)
            except ConcurrencyLimitError as error:
                self._limiter.refuse(slot, error.limit)
                if departure.spends(plan.request):
                    raise
                refused = True
            except WiroError as error:
                if isinstance(error, RateLimitError):
                    self._limiter.slow_down(slot)
                if not calls.sender.may_repeat(plan.request, error, tries):
                    raise
                await calls.sender.pause(plan.request, error, tries)
                tries += 1
            else:
                if ref is not None:
                    return ref
                tries += 1

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

    def give_up(self) -> None:
        """Begin nothing more, and let nobody have what is under way."""
        if not self._closed:
            self._closed = True
            self._limiter.open_wide()
            self._nobodys = [sending for sending in self._under_way if sending.settled.is_set()]
            for sending in self._under_way:
                sending.abandon()

    async def aclose(self) -> None:
        """Leave what is made by runs under way to the stopper, which is closed next."""
        self.give_up()
        await self._all_settled(ANSWER_SECONDS)
        for sending in self._under_way:
            sending.call.cancel()
        await self._all_settled(ANSWER_SECONDS)
        while self._nobodys:
            sending = self._nobodys.pop()
            if sending.task is not None and sending.plan.on_cancel != "leave":
                sending.task.own()

    async def _all_settled(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            for sending in list(self._under_way):
                await sending.settled.wait()

    async def _send_once(
        self, calls: TaskCalls, plan: RunPlan, slot: Slot, departure: Departure, is_last: bool
    ) -> TrackedTask | None:
        sending = await self._begun(calls, plan, slot, departure, is_last)
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
        return sending.task

    async def _begun(
        self, calls: TaskCalls, plan: RunPlan, slot: Slot, departure: Departure, is_last: bool
    ) -> _Sending:
        try:
            await calls.sender.pace.wait()
            await self._gate.acquire()
        except BaseException:
            self._limiter.end(slot)
            raise
        try:
            if self._closed:
                raise SessionClosedError("the session was closed before the run was sent")
            attempt = self._reconciler.begin(calls, plan.intent)
            sending = _Sending(plan, calls, slot, attempt, departure, is_last)
            self._background.start(self._send, sending)
        except BaseException:
            self._gate.release()
            self._limiter.end(slot)
            raise
        self._under_way.add(sending)
        return sending

    async def _see_off(self, sending: _Sending) -> None:
        with anyio.CancelScope(shield=True):
            if sending.settled.is_set():  # the answer came while the caller was being cancelled
                self._under_way.discard(sending)
                if not sending.abandoned:
                    await self._drop(sending)
                return
            sending.abandon()
            with anyio.move_on_after(ANSWER_SECONDS if sending.departure.is_complete else 0.0):
                await sending.settled.wait()
                return
            sending.call.cancel()
            with anyio.move_on_after(FIND_SECONDS):
                await sending.settled.wait()

    async def _send(self, sending: _Sending) -> None:
        try:
            await self._note(sending, await self._answered(sending))
        except anyio.get_cancelled_exc_class():
            sending.error = SessionClosedError("the session was closed while the run was being submitted")
            if not self._background.has_ended:  # somebody cancels every task there is: the answer will not be heard
                await self._find_in_time(sending)
            raise
        except Exception as error:
            sending.error = error
            if sending.abandoned and isinstance(error, SubmissionUnknownError):
                logger.warning("a run was given up before its answer came, and may run on: %s", error)
        finally:
            await self._settle(sending)

    async def _note(self, sending: _Sending, ref: TaskRef | None) -> None:
        sending.ref = sending.plan.trace.ref = ref
        if ref is not None and sending.plan.log is not None:
            await sending.plan.log.note(ref)

    async def _find_in_time(self, sending: _Sending) -> None:
        sending.abandoned = True
        lost = sending.given_up("its task was cancelled")
        if lost.sent and sending.ref is None:
            with anyio.move_on_after(ANSWER_SECONDS, shield=True):
                sending.ref = await self._reconciler.find(sending.calls, sending.attempt, ANSWER_SECONDS, lost)

    async def _settle(self, sending: _Sending) -> None:
        self._reconciler.end(sending.attempt, sending.ref)
        if sending.ref is not None:
            sending.task = self._tracker.submitted(
                sending.calls,
                sending.ref,
                model=sending.plan.intent.model,
                slot=sending.slot,
                mode=sending.plan.mode,
                callback_url=sending.plan.intent.callback_url,
            )
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
        elif sending.plan.on_cancel != "leave":
            assert sending.task is not None
            await sending.task.stop()

    async def _answered(self, sending: _Sending) -> TaskRef | None:
        try:
            with sending.call:
                return await self._asked(sending)
            doubt: WiroError = sending.given_up("it was not waited for any longer")
        except APIError as error:
            if is_refusal(error):
                raise
            doubt = error
        except (TransportError, DecodingError) as error:
            doubt = error
        if isinstance(doubt, TransportError) and not doubt.sent:
            raise doubt
        return await self._find(sending, doubt)

    async def _asked(self, sending: _Sending) -> TaskRef:
        plan, departure = sending.plan, sending.departure
        try:
            if plan.log is not None:
                await plan.log.intend(plan.intent)
            if plan.mode == "sse":
                return await self._tracker.event_streams.start(sending.calls, plan.request, departure)
            answer = await sending.calls.sender.submit(plan.request, departure)
        finally:
            self._gate.release()
        submitted = Submitted.from_wire(answer)
        if submitted is None:
            raise DecodingError("the answer holds no task id", http_status=200)
        return TaskRef(submitted.task_id or None, submitted.token)

    async def _find(self, sending: _Sending, doubt: WiroError) -> TaskRef | None:
        grace = ANSWERED_GRACE
        half = isinstance(doubt, TransportError) and doubt.incomplete
        if isinstance(doubt, TransportError):
            grace = 0.0 if half else grace + (sending.calls.sender.timeout or 0.0)
        ref = await self._reconciler.find(sending.calls, sending.attempt, grace, doubt)
        if ref is None and half:
            raise doubt
        is_last = sending.is_last or sending.abandoned or sending.departure.spends(sending.plan.request)
        if ref is None and is_last:
            raise unknown(sending.plan.intent, doubt) from doubt
        return ref
