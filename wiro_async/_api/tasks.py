"""Tasks by their id or token. https://wiro.ai/docs/tasks"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from datetime import datetime
from typing import TypeAlias

import attrs

from wiro_async._api.handle import TaskHandle
from wiro_async._engine.task_calls import TaskCalls, TaskRef
from wiro_async._protocol.entities import Task

Reference: TypeAlias = TaskHandle | Task | str
PAGE = 100
SURE = 20  # as many as the service gives at a time in any case, by its documentation


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

    async def list(
        self,
        *,
        model: str | None = None,
        status: str | Collection[str] | None = None,
        since: datetime | None = None,
        limit: int | None = None,
        oldest_first: bool = False,
    ) -> AsyncGenerator[Task, None]:
        """Tasks of the account, each once; pages are fetched as they are needed. Leaving it fetches no more.

        Args:
            model: only tasks of this model, by the service's own name for it.
            status: only tasks that have this status, or one of these, such as "task_postprocess_end".
            since: only tasks made at this time or later; a time without a zone is local time.
            limit: the most to give.
            oldest_first: in the order in which they were made; otherwise the newest come first.
        """
        wanted = _Filter(status, None if since is None else since.timestamp())
        left = float("inf") if limit is None else limit
        async with aclosing(self._all(model, oldest_first)) as tasks:
            while left > 0 and (task := await anext(tasks, None)) is not None:
                if not oldest_first and wanted.is_too_old(task):
                    return
                if wanted.takes(task):
                    left -= 1
                    yield task

    async def _all(self, model: str | None, oldest_first: bool) -> AsyncGenerator[Task, None]:
        start, size = 0, 1
        seen: set[str] = set()
        while True:
            page = await self._calls.page(start, PAGE, model, oldest_first)
            for task in page:
                if task.id not in seen:
                    yield task
            seen = {task.id for task in page}  # new tasks push others onto the next page
            start += len(page)
            if len(page) < max(size, min(PAGE, SURE)):
                return
            size = len(page)  # the service may give fewer at a time than it is asked for

    async def cancel(self, ref: Reference) -> None:
        """Take it out of the queue. Raises `APIError` if it is not queued any more."""
        await self._calls.cancel(ref_of(ref))

    async def kill(self, ref: Reference) -> None:
        """End it while it runs. Raises `APIError` if it is not running."""
        await self._calls.kill(ref_of(ref))

    async def delete_files(self, ref: Reference) -> None:
        """Delete its inputs and outputs. Raises `APIError` unless it is over. Doing it twice is harmless."""
        await self._calls.delete_files(ref_of(ref))


@attrs.frozen
class _Filter:
    status: str | Collection[str] | None
    since: float | None

    def takes(self, task: Task) -> bool:
        statuses = (self.status,) if isinstance(self.status, str) else self.status
        return (statuses is None or task.status in statuses) and not self.is_too_old(task)

    def is_too_old(self, task: Task) -> bool:
        """Whether it was made before `since`; the service may not tell."""
        made_at = task.created_at
        return self.since is not None and made_at is not None and made_at.timestamp() < self.since


def ref_of(ref: Reference) -> TaskRef:
    """The id and token of a reference."""
    match ref:
        case TaskHandle():
            return ref.ref
        case Task():
            return TaskRef(ref.id or None, ref.token)
    return TaskRef(task_id=ref) if ref.isdigit() else TaskRef(token=ref)
