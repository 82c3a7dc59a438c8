"""Stops tasks that nobody waits for any more, so that no GPU runs on unwatched."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from wiro_async._engine.nursery import Nursery
from wiro_async._engine.task_calls import TaskCalls, TaskRef
from wiro_async._errors import (
    APIError,
    DecodingError,
    RateLimitError,
    ServerError,
    TaskTimeoutError,
    TransportError,
    WiroError,
)
from wiro_async._types import OnCancel

logger = logging.getLogger("wiro_async")
STOP_SECONDS = 5.0
TRY_AGAIN = 0.25


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
            return task.was_cancelled
        await anyio.sleep(TRY_AGAIN)


async def _stop_in_spite_of_faults(calls: TaskCalls, ref: TaskRef) -> None:
    while True:
        try:
            await stop_task(calls, ref)
        except (TransportError, DecodingError, RateLimitError, ServerError) as error:
            logger.debug("task %s: not stopped yet: %s", ref.task_id, error)
            await anyio.sleep(TRY_AGAIN)
        else:
            return


class Stopper:
    """Knows which tasks a session must not leave behind, and stops them in the background."""

    def __init__(self, nursery: Nursery) -> None:
        self._nursery = nursery
        self._owned: dict[TaskRef, TaskCalls] = {}
        self._stopping = 0
        self._idle = anyio.Event()

    def __len__(self) -> int:
        return len(self._owned) + self._stopping

    def own(self, calls: TaskCalls, ref: TaskRef) -> None:
        """Have the task stopped when the session is closed, until it is disowned."""
        self._owned[ref] = calls

    def disown(self, ref: TaskRef) -> bool:
        """Let go of a task. Whether it was still owned: otherwise it is being stopped already."""
        return self._owned.pop(ref, None) is not None

    @asynccontextmanager
    async def owning(self, calls: TaskCalls, ref: TaskRef, on_cancel: OnCancel) -> AsyncGenerator[None]:
        """Whoever leaves by an error that is not the task's own (cancelled, out of time, …) stops it on the way out."""
        if on_cancel == "leave":
            yield
            return
        self.own(calls, ref)
        try:
            yield
        except BaseException as error:
            told = isinstance(error, WiroError) and not isinstance(error, TaskTimeoutError)
            if not told and self.disown(ref):
                await self.stop(calls, ref)
            raise
        finally:
            self.disown(ref)

    async def stop(self, calls: TaskCalls, ref: TaskRef) -> None:
        """Stop a task, shielded, in at most `STOP_SECONDS`; it goes on in the background if this is cancelled."""
        done = anyio.Event()
        self._stopping += 1
        self._nursery.start(self._stop, calls, ref, done)
        with anyio.CancelScope(shield=True):
            await done.wait()

    async def aclose(self) -> None:
        """Stop all that is owned, and wait for what is being stopped."""
        async with anyio.create_task_group() as group:
            while self._owned:
                ref, calls = self._owned.popitem()
                group.start_soon(self.stop, calls, ref)
        while self._stopping:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def _stop(self, calls: TaskCalls, ref: TaskRef, done: anyio.Event) -> None:
        try:
            with anyio.move_on_after(STOP_SECONDS) as scope:
                await _stop_in_spite_of_faults(calls, ref)
            if scope.cancelled_caught:
                logger.warning("task %s could not be stopped within %s s", ref.task_id, STOP_SECONDS)
        except WiroError as error:
            logger.warning("task %s could not be stopped: %s", ref.task_id, error)
        finally:
            self._stopping -= 1
            self._idle.set()
            done.set()
