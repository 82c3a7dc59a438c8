"""Stopping a task on the service.

A queued task can only be cancelled and a running one only be killed, and a task between the two refuses both for a
moment. So both are tried in turn until one works, or the task turns out to be over.
"""

from __future__ import annotations

import logging

import anyio

from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._errors import APIError, DecodingError, TransportError, WiroError
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._tuning import Tuning

logger = logging.getLogger("wiro_async")
TRANSIENT = (APIError, TransportError, DecodingError)


async def stop_task(calls: TaskCalls, ref: TaskRef, tuning: Tuning, *, persist: bool = False) -> bool:
    """Cancel the task if it is queued, else kill it. Returns False if it was over before that.

    Cancelling this may leave the task running.

    Args:
        persist: go on through failures of any kind: one odd response must not leave a GPU running.

    Raises:
        WiroError: without `persist`, the service could not be reached, or does not know the task.
    """
    refusals: tuple[type[WiroError], ...] = TRANSIENT if persist else (APIError,)
    failures: tuple[type[WiroError], ...] = TRANSIENT if persist else ()
    pause = tuning.stop_pause
    while True:
        for act in (calls.cancel, calls.kill):
            try:
                await act(ref)
            except refusals as error:
                logger.debug("task %s: not stopped yet: %s", ref.task_id, error)
            else:
                return True
        try:
            task = await calls.detail(ref)
        except failures as error:
            logger.debug("task %s: not stopped yet: %s", ref.task_id, error)
        else:
            if task is not None and task.is_over:
                calls.on_over(TaskRef(ref.task_id or task.id, ref.token or task.token))
                return task.was_cancelled
        await anyio.sleep(pause)
        pause = min(tuning.stop_max_pause, 1.5 * pause)
