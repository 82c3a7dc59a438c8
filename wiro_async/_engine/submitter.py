"""Sends runs, and never loses one that was sent: not by cancellation, not by closing the session."""

from __future__ import annotations

import anyio
import attrs

from wiro_async._engine.nursery import Nursery
from wiro_async._engine.stopping import Stopper
from wiro_async._engine.task_calls import TaskCalls, TaskRef
from wiro_async._errors import (
    DecodingError,
    ServerError,
    SessionClosedError,
    SubmissionUnknownError,
    TransportError,
    WiroError,
)
from wiro_async._protocol.entities import Submitted
from wiro_async._protocol.requests import Request
from wiro_async._types import OnCancel

ANSWER_SECONDS = 5.0


@attrs.define(eq=False)
class Submission:
    """One intent to run a model, on its way.

    Attributes:
        on_cancel: what becomes of its task if the caller goes away meanwhile.
        abandoned: whether the caller has gone.
    """

    request: Request
    model: str
    on_cancel: OnCancel
    ref: TaskRef | None = None
    error: Exception | None = None
    abandoned: bool = False
    answered: anyio.Event = attrs.field(factory=anyio.Event)
    settled: anyio.Event = attrs.field(factory=anyio.Event)


class Submitter:
    """Runs every submission in a task of the session, so that the caller's end does not tear it."""

    def __init__(self, nursery: Nursery, stopper: Stopper) -> None:
        self._nursery = nursery
        self._stopper = stopper
        self._under_way: set[Submission] = set()

    def __len__(self) -> int:
        return len(self._under_way)

    async def submit(self, calls: TaskCalls, request: Request, model: str, on_cancel: OnCancel) -> TaskRef:
        """Start a run.

        Cancelling waits, shielded, up to `ANSWER_SECONDS` for the answer and then stops the task that was made.

        Raises:
            SubmissionUnknownError: the answer was lost, so the task may or may not exist.
            WiroError: the run was refused, or never left.
        """
        submission = Submission(request, model, on_cancel)
        self._under_way.add(submission)
        self._nursery.start(self._send, calls, submission)
        try:
            await submission.answered.wait()
        except anyio.get_cancelled_exc_class():
            submission.abandoned = True
            await self._see_off(calls, submission)
            raise
        if submission.error is not None:
            raise submission.error
        assert submission.ref is not None
        return submission.ref

    async def aclose(self) -> None:
        """Give up all that is under way, stopping what was made."""
        for submission in self._under_way:
            submission.abandoned = True
        with anyio.move_on_after(ANSWER_SECONDS):
            for submission in list(self._under_way):
                await submission.settled.wait()

    async def _see_off(self, calls: TaskCalls, submission: Submission) -> None:
        with anyio.CancelScope(shield=True):
            if submission.ref is not None and submission.settled.is_set():
                await self._drop(calls, submission)  # the answer came while the caller was being cancelled
                return
            with anyio.move_on_after(ANSWER_SECONDS):
                await submission.settled.wait()

    async def _send(self, calls: TaskCalls, submission: Submission) -> None:
        try:
            submission.ref = await self._answer(calls, submission)
        except anyio.get_cancelled_exc_class():
            submission.error = SessionClosedError("the session was closed while the run was being submitted")
            raise
        except Exception as error:
            submission.error = error
        finally:
            submission.answered.set()
            if submission.abandoned:
                await self._drop(calls, submission)
            self._under_way.discard(submission)
            submission.settled.set()

    async def _drop(self, calls: TaskCalls, submission: Submission) -> None:
        if submission.ref is not None and submission.on_cancel == "stop":
            await self._stopper.stop(calls, submission.ref)

    async def _answer(self, calls: TaskCalls, submission: Submission) -> TaskRef:
        try:
            answer = await calls.sender.call(submission.request)
        except (TransportError, ServerError, DecodingError) as error:
            if isinstance(error, TransportError) and not error.sent:
                raise
            raise _unknown(submission, error) from error
        submitted = Submitted.from_wire(answer)
        if submitted is None:
            raise _unknown(submission, DecodingError("the answer holds no task id"))
        return TaskRef(submitted.task_id or None, submitted.token)


def _unknown(submission: Submission, error: WiroError) -> SubmissionUnknownError:
    return SubmissionUnknownError(
        f"the run of {submission.model} was sent but its answer was lost ({error}); it may exist and be billed, "
        "so it was not sent again: look for it in Task/List before you submit it anew",
        submission.model,
    )
