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
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.tracking.stopping import stop_task
from wiro_async._errors import InvalidInputError, NotFoundError
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.http.requests import task_list
from wiro_async._protocol.tasks.records import tasks_of
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.parsing import as_rows
from wiro_async._records.task_info import TaskInfo
from wiro_async._tuning import Tuning

Reference: TypeAlias = TaskHandle | TaskInfo | str | int
MAX_STALE_PAGES = 3  # in a row without a new task: tasks made meanwhile push known ones onto the next page
EMPTY: dict[type, str] = {TaskInfo: "a record without id and token", str: "blank text"}


@cuts_frames
@attrs.frozen
class Tasks:
    """`wiro.tasks`. A task is referred to by its handle, its record, its token, or its id (digits)."""

    _calls: TaskCalls
    _tuning: Tuning

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
        """List the tasks of the account, each once. Pages are fetched as needed. Leaving the loop fetches no more.

        Args:
            model: only tasks of this model, by the service's own name for it.
            status: only tasks that have this status, or one of these, such as "task_postprocess_end".
            since: only tasks made at this time or later. A time without a zone is local time.
            limit: how many tasks to give at most.
            oldest_first: in the order in which they were made. Otherwise the newest come first.
        """
        statuses = (status,) if isinstance(status, str) else status
        earliest = None if since is None else since.timestamp()
        return Items(self._select(statuses, earliest, model, float("inf") if limit is None else limit, oldest_first))

    async def _select(
        self,
        statuses: Collection[str] | None,
        earliest: float | None,
        model: str | None,
        limit: float,
        oldest_first: bool,
    ) -> AsyncGenerator[TaskInfo, None]:
        async with aclosing(self._read_pages(model, oldest_first)) as tasks:
            while limit > 0 and (task := await anext(tasks, None)) is not None:
                made_at = None if task.created_at is None else task.created_at.timestamp()
                if earliest is not None and made_at is not None and made_at < earliest:
                    if oldest_first:
                        continue
                    return
                if statuses is None or task.status in statuses:
                    limit -= 1
                    yield task

    async def _read_pages(self, model: str | None, oldest_first: bool) -> AsyncGenerator[TaskInfo, None]:
        pages = Pages(self._tuning.page_size)
        seen = set[str | None]()
        stale, is_last = 0, False
        while not is_last and stale < MAX_STALE_PAGES:
            try:
                response = await self._calls.client.call(
                    task_list(pages.start, self._tuning.page_size, model, oldest_first)
                )
            except NotFoundError:  # "There is no task yet."
                return
            rows = tasks_of(response)
            names = {name for task in rows if (name := task.id or task.token) is not None} - seen
            # Rows without any name cannot be told apart, so a page with nothing else is a repeated one.
            if names or not seen:
                for task in rows:
                    if (task.id or task.token or None) not in seen:
                        yield task
            stale = 0 if names else stale + 1
            seen |= names
            is_last = pages.is_last(len(as_rows(response.get("tasklist"))))

    async def cancel(self, ref: Reference) -> bool:
        """Cancel the task, queued or running. False if it was over before.

        Cancelling this call may leave the task running.

        Raises:
            NotFoundError: there is no such task, or it is not yours.
        """
        return await stop_task(self._calls, ref_of(ref), self._tuning)

    async def delete_files(self, ref: Reference) -> None:
        """Delete the inputs and outputs of a task that is over. Raises `APIError` while it runs.

        The call is idempotent. Cancelling it may not undo it.
        """
        await self._calls.delete_files(ref_of(ref))


def ref_of(ref: Reference) -> TaskRef:
    """Get the id and token of a reference. Raises `InvalidInputError` for a value that refers to no task."""
    match ref:
        case TaskHandle():
            return TaskRef(ref.id, ref.token)
        case TaskInfo() if ref.id or ref.token:
            return TaskRef(ref.id or None, ref.token)
        case int() if not isinstance(ref, bool):
            return TaskRef(task_id=str(ref))
        case str() if ref.strip():
            return TaskRef(task_id=ref) if ref.isascii() and ref.isdigit() else TaskRef(token=ref)
    shape = EMPTY.get(type(ref), f"a {type(ref).__name__}")
    raise InvalidInputError(message=f"{shape} refers to no task; give a task's handle, its record, its token or its id")
