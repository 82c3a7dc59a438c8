"""Tasks by their id or token. https://wiro.ai/docs/tasks"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeAlias

import attrs

from wiro_async._api.handle import TaskHandle
from wiro_async._engine.task_calls import TaskCalls, TaskRef
from wiro_async._protocol.entities import Task

Reference: TypeAlias = TaskHandle | Task | str
PAGE = 100


@attrs.frozen
class Tasks:
    """`wiro.tasks`. A task is referred to by its handle, its record, its token, or its id (digits only)."""

    _calls: TaskCalls

    async def detail(self, ref: Reference) -> Task | None:
        """The task as it is now; None in the first moments after its run, when it is not listed yet.

        Raises:
            NotFoundError: there is no such task, or it is not yours.
        """
        return await self._calls.detail(ref_of(ref))

    async def list(self, *, model: str | None = None) -> AsyncIterator[Task]:
        """All tasks, newest first; pages are fetched as they are needed.

        Args:
            model: only tasks of this model, by the service's own name for it.
        """
        start = 0
        while True:
            page = await self._calls.page(start, PAGE, model)
            for task in page:
                yield task
            if len(page) < PAGE:
                return
            start += PAGE

    async def cancel(self, ref: Reference) -> None:
        """Take it out of the queue. Raises `APIError` if it is not queued any more."""
        await self._calls.cancel(ref_of(ref))

    async def kill(self, ref: Reference) -> None:
        """End it while it runs. Raises `APIError` if it is not running."""
        await self._calls.kill(ref_of(ref))

    async def delete_files(self, ref: Reference) -> None:
        """Delete its inputs and outputs. Raises `APIError` unless it is over. Doing it twice is harmless."""
        await self._calls.delete_files(ref_of(ref))


def ref_of(ref: Reference) -> TaskRef:
    """The id and token of a reference."""
    match ref:
        case TaskHandle():
            return ref.ref
        case Task():
            return TaskRef(ref.id or None, ref.token)
    return TaskRef(task_id=ref) if ref.isdigit() else TaskRef(token=ref)
