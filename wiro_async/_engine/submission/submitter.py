"""Sends runs and never loses one: not by a fault, not by cancellation, not by closing the session.

The problem: between the request and its response nobody knows whether there is a task, and that is just when callers
are cancelled, sessions closed and connections lost. So a background task of the session makes each request. It outlives
its caller, and it hands over exactly one thing: the action that follows, as `_protocol.submission.decision` decides.
The caller's side is a short loop that waits for a slot, has a request made, and carries out the action. A task that
nobody waits for any more is stopped by whichever side notices it last.
"""

from __future__ import annotations

import logging
from typing import assert_never

import anyio

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.limiter import Limiter, Slot
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.submission.reconciler import Reconciler
from wiro_async._engine.submission.submission import Became, Submission
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import (
    APIError,
    ConcurrencyLimitError,
    DecodingError,
    RateLimitError,
    SessionClosedError,
    SubmissionUnknownError,
    TransportError,
)
from wiro_async._protocol.submission.decision import (
    Action,
    Fail,
    GivenUp,
    Made,
    Retry,
    Search,
    SlowDown,
    WaitForSlot,
    decide,
    decide_after_search,
)
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.tasks.records import Submitted
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._tuning import Tuning

logger = logging.getLogger("wiro_async")


class Submitter:
    """Turns runs into tasks. At most `tuning.max_submissions` requests are in flight at once."""

    def __init__(self, tuning: Tuning, background: BackgroundTasks, limiter: Limiter, tracker: Tracker) -> None:
        self._tuning = tuning
        self._background = background
        self._limiter = limiter
        self._tracker = tracker
        self._reconciler = Reconciler(tuning, tracker)
        self._gate = anyio.Semaphore(tuning.max_submissions, fast_acquire=True)
        self._in_flight: set[Submission] = set()
        self._closed = False
        self._unclaimed: list[Submission] = []  # settled before the session closed, but their callers did not wake up

    def __len__(self) -> int:
        return len(self._in_flight)

    async def submit(self, submission: Submission) -> TrackedTask:
        """Start a run, as soon as the limiter allows it.

        Cancelling waits, shielded, up to 5 s for a response that is on its way, or else for a search for the task, and
        stops the task. What takes longer goes on in the background.

        Raises:
            SubmissionUnknownError: the response was lost, and so is the task, if there is one.
            WiroError: the run was refused, or never left.
        """
        throttle = submission.calls.client.throttle
        refused: Slot | None = None
        while True:
            slot = await self._limiter.acquire(instead_of=refused)
            submission.begin(slot, is_next_try=refused is None)
            refused = None
            await self._start(submission)
            try:
                await submission.settled.wait()
            except anyio.get_cancelled_exc_class():
                await self._see_off(submission)
                raise
            self._in_flight.discard(submission)
            match submission.action:
                case Made(ref):
                    if submission.is_abandoned:
                        closed = SessionClosedError("the session was closed while the run was being submitted")
                        raise closed.with_task(ref.task_id, ref.token)
                    assert submission.task is not None
                    return submission.task
                case WaitForSlot():
                    refused = slot
                case SlowDown(delay):
                    logger.info("Run: too many requests; again in %.2f s", delay)
                    throttle.hold(delay)  # it holds the whole session; this run takes no slot meanwhile
                    await throttle.wait()
                case Retry(delay):
                    logger.info("Run: not sent; again in %.2f s", delay)
                    await throttle.pause(delay)
                case Fail(error, None):
                    raise error
                case Fail(error, cause):
                    raise error from cause
                case _:
                    assert_never(submission.action)

    def is_sending(self, calls: TaskCalls, intent: Intent) -> bool:
        """Whether a run that looks like this one waits for its response."""
        return self._reconciler.is_sending(calls, intent)

    def give_up(self) -> None:
        """Begin nothing more, and abandon what is in flight."""
        if not self._closed:
            self._closed = True
            self._limiter.open_wide()
            self._unclaimed = [submission for submission in self._in_flight if submission.settled.is_set()]
            for submission in self._in_flight:
                submission.abandon()

    async def aclose(self) -> None:
        """Own the tasks of runs in flight, so that the tracker stops them next."""
        self.give_up()
        await self._all_settled()
        for submission in self._in_flight:
            submission.scope.cancel()
        await self._all_settled()
        while self._unclaimed:
            submission = self._unclaimed.pop()
            if submission.task is not None and submission.plan.on_cancel != "leave":
                submission.task.own()

    async def _all_settled(self) -> None:
        with anyio.move_on_after(self._tuning.submit_answer_wait):
            for submission in list(self._in_flight):
                await submission.settled.wait()

    async def _start(self, submission: Submission) -> None:
        """Have a request made in the background, as soon as the service and the number of requests allow it."""
        try:
            await submission.calls.client.throttle.wait()
            await self._gate.acquire()
        except BaseException:
            self._limiter.end(submission.slot)
            raise
        try:
            if self._closed:
                raise SessionClosedError("the session was closed before the run was sent")
            self._in_flight.add(submission)
            self._reconciler.begin(submission)
            self._background.start(self._send, submission)  # where tasks are eager, much of it happens right here
        except BaseException:
            self._in_flight.discard(submission)
            self._reconciler.end(submission)
            self._gate.release()
            self._limiter.end(submission.slot)
            raise

    async def _see_off(self, submission: Submission) -> None:
        """The caller was cancelled: give the request a little time, so that its task is stopped first."""
        with anyio.CancelScope(shield=True):
            if submission.settled.is_set():  # the response came while the caller was being cancelled
                self._in_flight.discard(submission)
                if not submission.is_abandoned:
                    await self._drop(submission)
                return
            submission.abandon()
            with anyio.move_on_after(self._tuning.submit_answer_wait if submission.left == "all" else 0.0):
                await submission.settled.wait()
                return
            submission.scope.cancel()
            with anyio.move_on_after(self._tuning.submit_search_wait):
                await submission.settled.wait()

    async def _send(self, submission: Submission) -> None:  # noqa: C901
        """Make one request and find out what follows from it; runs in the background."""
        action: Action = Fail(SessionClosedError("the session was closed while the run was being submitted"))
        became: Became = "unknown"
        try:
            outcome = await self._outcome(submission)
            if isinstance(outcome, TaskRef):
                submission.made(outcome)
            decision = decide(outcome, submission.sending(self._tuning.random()), self._tuning)
            # Beside refusals only what was stopped on this side is certain to have made no task.
            is_certain = submission.left != "all" or isinstance(outcome, (APIError, TransportError))
            if is_certain and not isinstance(decision, (Search, Made)):
                became = "nothing"
            if isinstance(decision, Search):
                found = await self._reconciler.find(submission, decision.grace)
                decision = decide_after_search(decision, found, submission.plan.intent.model)
            if isinstance(decision, Made):
                submission.found(decision.ref)
                if submission.plan.log is not None:
                    await submission.plan.log.note(decision.ref)
                became = "task"
            action = decision
        except anyio.get_cancelled_exc_class():
            # Either the session has ended, or somebody cancels every task of the loop, as asyncio.run does. Then the
            # response will not be heard, but the task that it was to name must still be stopped.
            if not self._background.has_ended:
                submission.abandon()
                if submission.left != "nothing" and submission.ref is None:
                    with anyio.move_on_after(self._tuning.submit_answer_wait, shield=True):
                        found = await self._reconciler.find(submission, self._tuning.submit_answer_wait)
                        if isinstance(found, TaskRef):
                            submission.found(found)
            raise
        except BaseException as error:  # the log could not record the task, or the source of an upload ends the program
            action = Fail(error)
        finally:
            if submission.left == "nothing" and submission.ref is None:
                became = "nothing"
            await self._settle(submission, action, became)

    async def _outcome(self, submission: Submission) -> TaskRef | GivenUp | Exception:
        plan, client = submission.plan, submission.calls.client
        try:
            with submission.scope:
                # The intent is on the disk before the first byte leaves, so that the next process knows of it.
                if plan.log is not None:
                    await plan.log.intend(plan.intent)
                check = None if plan.log is None else plan.log.check
                if plan.mode == "sse":
                    return await self._tracker.event_streams.start(
                        submission.calls, plan.request, submission.note_left, check
                    )
                submitted = Submitted.from_wire(await client.post(plan.request, submission.note_left, check))
                if submitted is None:
                    return DecodingError("the response holds no task id", http_status=200)
                return TaskRef(submitted.task_id or None, submitted.token)
        except Exception as error:
            return error
        finally:
            self._gate.release()
        return GivenUp()  # the scope was cancelled

    async def _settle(self, submission: Submission, action: Action, became: Became) -> None:
        """Pass the outcome on to all who count on it. The caller wakes up last."""
        self._reconciler.end(submission)
        if submission.ref is not None:
            plan = submission.plan
            task = self._tracker.submitted(
                submission.calls,
                submission.ref,
                model=plan.intent.model,
                slot=submission.slot,
                mode=plan.mode,
                callback_url=plan.intent.callback_url,
            )
            submission.track(task)
        else:
            # A refusal shows how many tasks or requests the account allows, even if this run is not sent again.
            match action:
                case WaitForSlot(limit) | Fail(ConcurrencyLimitError(limit=limit)):
                    self._limiter.refuse(submission.slot, limit)
                case SlowDown() | Fail(RateLimitError()):
                    self._limiter.slow_down(submission.slot)
                case _:
                    self._limiter.end(submission.slot)
        if submission.is_abandoned and isinstance(action, Fail) and isinstance(action.error, SubmissionUnknownError):
            logger.warning("a run was abandoned before its response came, and may run on: %s", action.error)
        try:
            # A task that its log does not know would be lost at the next start: it is stopped, too.
            if submission.is_abandoned or not isinstance(action, Made):
                await self._drop(submission)
        finally:
            if submission.plan.log is not None:
                with anyio.CancelScope(shield=True):
                    await submission.plan.log.settle(became, action.error if isinstance(action, Fail) else None)
            if submission.is_abandoned:
                self._in_flight.discard(submission)
            submission.settle(action)

    async def _drop(self, submission: Submission) -> None:
        if submission.task is not None and submission.plan.on_cancel != "leave":
            await submission.task.stop()
