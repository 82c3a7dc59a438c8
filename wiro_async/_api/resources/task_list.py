"""Tasks by their id or token. https://wiro.ai/docs/tasks"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from datetime import datetime
from typing import TypeAlias

import attrs

from wiro_async._api.resources.pages import Pages
from wiro_async._api.results.async_items import Items
from wiro_async._api.tasks.handle import TaskHandle
from wiro_async._engine.calls.stopping import stop_task
from wiro_async._engine.calls.task_calls import TaskCalls, TaskRef
from wiro_async._errors import InvalidInputError, NotFoundError
from wiro_async._protocol.http.requests import task_list
from wiro_async._protocol.tasks.records import TaskInfo, tasks_of
from wiro_async._protocol.values.json import JSON
from wiro_async._protocol.values.parsing import as_rows

Reference: TypeAlias = TaskHandle | TaskInfo | str | int
PAGE = 100
MOST_BARREN = 3  # pages in a row that bring nothing new: new tasks push others onto them, but not for ever
EMPTY: dict[type, str] = {TaskInfo: "a record without id and token", str: "blank text"}


@attrs.frozen
class Tasks:
    """`wiro.tasks`. A task is referred to by its handle, its record, its token, or its id (digits)."""

    _calls: TaskCalls

    async def get(self, ref: Reference) -> TaskInfo | None:
        """Ask for the task as it is now. None in the first moments after its run, while it is not listed yet.

        Cancelling ends the call, not the task.

        Raises:
            NotFoundError: there is no such task, or it is not yours.
        """
        return await self._calls.detail(ref_of(ref))

    def list(
        self,
        *,
        model: str | None = None,
        status: str | Collection[str] | None = None,
        since: datetime | None = None,
        limit: int | None = None,
        oldest_first: bool = False,
    ) -> Items[TaskInfo]:
        """Tasks of the account, each once; pages are fetched as they are needed. Leaving it fetches no more.

        Args:
            model: only tasks of this model, by the service's own name for it.
            status: only tasks that have this status, or one of these, such as "task_postprocess_end".
            since: only tasks made at this time or later; a time without a zone is local time.
            limit: the most to give.
            oldest_first: in the order in which they were made; otherwise the newest come first.
        """
        wanted = _Filter(status, None if since is None else since.timestamp())
        return Items(self._wanted(wanted, model, float("inf") if limit is None else limit, oldest_first))

    async def _wanted(
        self, wanted: _Filter, model: str | None, left: float, oldest_first: bool
    ) -> AsyncGenerator[TaskInfo, None]:
        async with aclosing(self._all(model, oldest_first)) as tasks:
            while left > 0 and (task := await anext(tasks, None)) is not None:
                if not oldest_first and wanted.is_too_old(task):
                    return
                if wanted.takes(task):
                    left -= 1
                    yield task

    async def _all(self, model: str | None, oldest_first: bool) -> AsyncGenerator[TaskInfo, None]:
        pages = Pages(PAGE)
        seen: set[str | None] = set()
        barren, is_last = 0, False
        while not is_last and barren < MOST_BARREN:
            answer = await self._page(pages.start, model, oldest_first)
            new = [task for task in tasks_of(answer) if _key(task) not in seen]
            for task in new:
                yield task
            seen |= {_key(task) for task in new} - {None}
            barren = 0 if new else barren + 1
            is_last = pages.is_last(len(as_rows(answer.get("tasklist"))))

    async def _page(self, start: int, model: str | None, oldest_first: bool) -> dict[str, JSON]:
        try:
            return await self._calls.sender.call(task_list(start, PAGE, model, oldest_first))
        except NotFoundError:  # "There is no task yet."
            return {}

    async def cancel(self, ref: Reference) -> bool:
        """Cancel the task, queued or running. False if it was over before.

        Cancelling this call may leave the task running.

        Raises:
            NotFoundError: there is no such task, or it is not yours.
        """
        return await stop_task(self._calls, ref_of(ref))

    async def delete_files(self, ref: Reference) -> None:
        """Delete its inputs and outputs. Raises `APIError` unless it is over.

        Doing it twice is harmless. Cancelling this may not undo it.
        """
        await self._calls.delete_files(ref_of(ref))


@attrs.frozen
class _Filter:
    status: str | Collection[str] | None
    since: float | None

    def takes(self, task: TaskInfo) -> bool:
        statuses = (self.status,) if isinstance(self.status, str) else self.status
        return (statuses is None or task.status in statuses) and not self.is_too_old(task)

    def is_too_old(self, task: TaskInfo) -> bool:
        """Whether it was made before `since`; the service may not tell."""
        made_at = task.created_at
        return self.since is not None and made_at is not None and made_at.timestamp() < self.since


def ref_of(ref: Reference) -> TaskRef:
    """The id and token of a reference. Raises `InvalidInputError` for what refers to no task."""
    match ref:
        case TaskHandle():
            return ref.ref
        case TaskInfo() if ref.id or ref.token:
            return TaskRef(ref.id or None, ref.token)
        case int() if not isinstance(ref, bool):
            return TaskRef(task_id=str(ref))
        case str() if ref.strip():
            return TaskRef(task_id=ref) if ref.isascii() and ref.isdigit() else TaskRef(token=ref)
    shape = EMPTY.get(type(ref), f"a {type(ref).__name__}")
    raise InvalidInputError(message=f"{shape} refers to no task; give its handle, its record, its token or its id")


def _key(task: TaskInfo) -> str | None:
    """What tells it from others; a row of a list may lack either."""
    return task.id or task.token
