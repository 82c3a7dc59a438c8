"""Stops tasks that nobody waits for any more, so that no GPU runs on unwatched."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._errors import (
    APIError,
    DecodingError,
    SessionClosedError,
    TaskCancelledError,
    TaskFailedError,
    TransportError,
    WiroError,
)
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._types import OnCancel

logger = logging.getLogger("wiro_async")
STOP_SECONDS = 5.0  # so long is it waited for; then it goes on in the background
CALL_SECONDS = 1.5  # for one call, so that a second one is still in time
TRY_AGAIN, TRY_AGAIN_CAP = 0.25, 5.0
GIVE_UP_SECONDS = 600.0
PASSING = (APIError, TransportError, DecodingError)  # one odd answer, a refusal too, must not leave a GPU running


async def stop_task(calls: TaskCalls, ref: TaskRef) -> bool:
    """Cancel the task if it is queued, else kill it. False if it was over already.

    A task between the two refuses both for a moment, so this goes on until one works or the task is over.
    """
    while True:
        for act in (calls.cancel, calls.kill):
            try:
                await act(ref)
            except APIError as error:
                logger.debug("task %s: not stopped yet: %s", ref.task_id, error)
            else:
                return True
        task = await calls.detail(ref)
        if task is not None and task.is_over:
            calls.on_over(TaskRef(ref.task_id or task.id, ref.token or task.token))
            return task.was_cancelled
        await anyio.sleep(TRY_AGAIN)


async def _stop_in_spite_of_faults(calls: TaskCalls, ref: TaskRef) -> None:
    """The same by short calls that wait for nothing else, each of which may fail."""
    calls = calls.urgent(CALL_SECONDS)
    pause = TRY_AGAIN
    while not (
        await _has_worked(calls.cancel, ref) or await _has_worked(calls.kill, ref) or await _is_over(calls, ref)
    ):
        await anyio.sleep(pause)
        pause = min(TRY_AGAIN_CAP, 1.5 * pause)


async def _has_worked(act: Callable[[TaskRef], Awaitable[None]], ref: TaskRef) -> bool:
    try:
        await act(ref)
    except PASSING as error:
        logger.debug("task %s: not stopped yet: %s", ref.task_id, error)
        return False
    return True


async def _is_over(calls: TaskCalls, ref: TaskRef) -> bool:
    try:
        task = await calls.detail(ref)
    except PASSING as error:
        logger.debug("task %s: not stopped yet: %s", ref.task_id, error)
        return False
    if task is None or not task.is_over:
        return False
    calls.on_over(TaskRef(ref.task_id or task.id, ref.token or task.token))
    return True


class Stopper:
    """Knows which tasks a session must not leave behind, and stops them in the background."""

    def __init__(self, background: BackgroundTasks) -> None:
        self._background = background
        self._owned: dict[TaskRef, TaskCalls] = {}
        self._stopping: dict[anyio.Event, TaskRef] = {}

    def __len__(self) -> int:
        return len(self._owned) + len(self._stopping)

    def own(self, calls: TaskCalls, ref: TaskRef) -> None:
        """Have the task stopped when the session is closed, until it is disowned."""
        self._owned[ref] = calls

    def disown(self, ref: TaskRef) -> bool:
        """Let go of a task. Whether it was still owned: otherwise it is being stopped already."""
        return self._owned.pop(ref, None) is not None

    @asynccontextmanager
    async def owning(self, calls: TaskCalls, ref: TaskRef, on_cancel: OnCancel) -> AsyncGenerator[None]:
        """Whoever leaves by an error that is not the task's own end (cancelled, out of time, …) stops it on the way."""
        if on_cancel == "leave":
            yield
            return
        self.own(calls, ref)
        try:
            yield
        except BaseException as error:
            if not _tells_the_end(error, ref) and self.disown(ref):
                await self.stop(calls, ref)
            raise
        finally:
            self.disown(ref)

    async def stop(self, calls: TaskCalls, ref: TaskRef) -> None:
        """Stop a task, shielded, in at most `STOP_SECONDS`; it goes on in the background if that is not enough."""
        if (done := self._begin(calls, ref)) is None:
            return
        with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_SECONDS):
            await done.wait()
        self._warn_of(done)

    async def aclose(self) -> None:
        """Stop all that is owned, and wait for what is being stopped, in at most `STOP_SECONDS`."""
        while self._owned:
            ref, calls = self._owned.popitem()
            self._begin(calls, ref)
        with anyio.move_on_after(STOP_SECONDS):
            while self._stopping:
                await next(iter(self._stopping)).wait()
        for done in self._stopping:
            self._warn_of(done)

    def _begin(self, calls: TaskCalls, ref: TaskRef) -> anyio.Event | None:
        """Stop a task in the background, and tell when that is done. None if it is too late for it."""
        done = anyio.Event()
        self._stopping[done] = ref
        try:
            self._background.start(self._stop, calls, ref, done)
        except SessionClosedError:
            del self._stopping[done]
            logger.warning("task %s was not stopped: the session is closed", ref.task_id)
            return None
        return done

    async def _stop(self, calls: TaskCalls, ref: TaskRef, done: anyio.Event) -> None:
        try:
            with anyio.move_on_after(GIVE_UP_SECONDS):
                await self._stop_in_spite_of_cancelling(calls, ref)
        except WiroError as error:
            logger.warning("task %s could not be stopped: %s", ref.task_id, error)
        finally:
            del self._stopping[done]
            done.set()

    def _warn_of(self, done: anyio.Event) -> None:
        if done in self._stopping:
            logger.warning("task %s could not be stopped within %s s", self._stopping[done].task_id, STOP_SECONDS)

    async def _stop_in_spite_of_cancelling(self, calls: TaskCalls, ref: TaskRef) -> None:
        """Somebody who cancels all tasks of the loop does not mean this one, which is what that is to lead to."""
        try:
            await _stop_in_spite_of_faults(calls, ref)
        except anyio.get_cancelled_exc_class():
            if self._background.has_ended:
                raise
            await _stop_in_spite_of_faults(calls, ref)


def _tells_the_end(error: BaseException, ref: TaskRef) -> bool:
    """Whether it says that this very task is over."""
    if not isinstance(error, (TaskFailedError, TaskCancelledError)):
        return False
    return bool({error.task_id, error.token} & {ref.task_id, ref.token} - {None})
