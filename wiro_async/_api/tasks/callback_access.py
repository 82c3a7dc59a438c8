"""What a receiver of callbacks needs of a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVarTuple, Unpack

import attrs

from wiro_async._api.tasks.handle import TaskHandle
from wiro_async._api.tasks.task_context import TaskContext
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.task_calls import TaskRef
from wiro_async._engine.tracking.callback_feed import CallbackFeed, CallbackReceiver
from wiro_async._engine.tracking.id_memory import MadeTask
from wiro_async._protocol.tasks.records import TaskInfo

Arguments = TypeVarTuple("Arguments")


@attrs.frozen
class CallbackAccess:
    """One for each session and each view on it."""

    _callbacks: CallbackFeed
    _background: BackgroundTasks
    _context: TaskContext

    def register(self, receiver: CallbackReceiver) -> None:
        """Runs that are given a callback URL of its own are waited for by it."""
        self._callbacks.add(receiver)

    async def ready(self) -> None:
        """Raises `SessionClosedError` if the session cannot work, or not in this event loop."""
        await self._background.open()

    def start(self, function: Callable[[Unpack[Arguments]], Awaitable[None]], *arguments: *Arguments) -> None:
        """Run a coroutine function in the background, as long as the session is open."""
        self._background.start(function, *arguments)

    def noted(self, intent_id: str) -> MadeTask | None:
        """The task whose callback URL carries this id."""
        return self._callbacks.task_of(intent_id)

    async def confirmed(self, noted: MadeTask, is_about: Callable[[TaskInfo], bool]) -> TaskInfo | None:
        """The task, if Task/Detail says that it is over: to the account that made it, else to that of this view."""
        return await self._callbacks.confirm(noted.calls or self._context.calls, noted.ref, is_about)

    def waiting(self, ref: TaskRef) -> TaskHandle:
        """A handle whose `result` waits for a callback, and polls slowly."""
        self._callbacks.expect(ref)
        return TaskHandle(ref, "", self._context)
