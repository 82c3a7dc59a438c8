"""Requests about single tasks, without any waiting or tracking."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from wiro_async._engine.calls.api_client import ApiClient
from wiro_async._errors import NotFoundError, WiroError
from wiro_async._protocol.http import requests
from wiro_async._protocol.http.requests import Request
from wiro_async._protocol.tasks.records import tasks_of
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import JSON
from wiro_async._records.task_info import TaskInfo


@attrs.frozen
class TaskCalls:
    """Task/Detail, List, Cancel, Kill and InputOutputDelete.

    Args:
        on_over: called with each task that was cancelled or killed, or is found to be over.
    """

    client: ApiClient
    on_over: Callable[[TaskRef], None]

    def within(self, seconds: float | None) -> TaskCalls:
        """Calls with another timeout for each response."""
        if seconds == self.client.timeout:
            return self
        return attrs.evolve(self, client=attrs.evolve(self.client, timeout=seconds))

    def urgent(self, seconds: float) -> TaskCalls:
        """Calls that ignore the throttle, are not repeated and take at most some seconds each."""
        return attrs.evolve(self, client=self.client.urgent(seconds))

    async def detail(self, ref: TaskRef) -> TaskInfo | None:
        """Read the task; None while the service does not list it yet."""
        tasks = self._seen(tasks_of(await self._call(ref, requests.task_detail(ref.task_id, ref.token))))
        return tasks[0] if tasks else None

    async def page(
        self, start: int, limit: int, model: str | None = None, oldest_first: bool = False
    ) -> list[TaskInfo]:
        """Read a page of the account's tasks."""
        try:
            return self._seen(tasks_of(await self.client.call(requests.task_list(start, limit, model, oldest_first))))
        except NotFoundError:  # "There is no task yet."
            return []

    async def cancel(self, ref: TaskRef) -> None:
        """Take the task out of the queue. Raises `APIError` unless it is queued."""
        task_id = ref.task_id or (await self._listed(ref)).id
        await self._call(ref, requests.task_cancel(task_id))
        self.on_over(ref)

    async def kill(self, ref: TaskRef) -> None:
        """End the running task. Raises `APIError` unless it is running."""
        await self._call(ref, requests.task_kill(ref.task_id, ref.token))
        self.on_over(ref)

    async def delete_files(self, ref: TaskRef) -> None:
        """Delete the inputs and outputs of a task. Raises `APIError` unless it is over."""
        token = ref.token or (await self._listed(ref)).token
        if not token:
            raise NotFoundError(message="the service does not show this task's token, and deletes nothing without it")
        await self._call(ref, requests.task_delete_files(token))

    async def _call(self, ref: TaskRef, request: Request) -> dict[str, JSON]:
        """Send a request about a task. Its errors name the task."""
        try:
            return await self.client.call(request)
        except WiroError as error:
            error.with_task(ref.task_id, ref.token)
            raise

    def _seen(self, tasks: list[TaskInfo]) -> list[TaskInfo]:
        for task in tasks:
            self.client.seen_ids.observe(task.id)
        return tasks

    async def _listed(self, ref: TaskRef) -> TaskInfo:
        task = await self.detail(ref)
        if task is None:
            missing = NotFoundError(message=f"task {ref.task_id or ''} is not listed yet; try again in a moment")
            raise missing.with_task(ref.task_id, ref.token)
        return task
