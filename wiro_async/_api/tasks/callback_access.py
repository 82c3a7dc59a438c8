"""What a receiver of callbacks needs of a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVarTuple, Unpack

import attrs

from wiro_async._api.tasks.handle import TaskHandle
from wiro_async._api.tasks.task_context import TaskContext
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.tracking.callback_feed import CallbackFeed
from wiro_async._engine.tracking.id_memory import MadeTask
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo
from wiro_async._tuning import Tuning

Arguments = TypeVarTuple("Arguments")


@attrs.frozen
class CallbackAccess:
    """One for each session and each view of it."""

    _callbacks: CallbackFeed
    _background: BackgroundTasks
    _context: TaskContext

    @property
    def tuning(self) -> Tuning:
        """The limits of the session."""
        return self._context.tracker.tuning

    def register(self, owns: Callable[[str], bool], made: Callable[[str, MadeTask], None]) -> None:
        """Runs whose callback URL belongs to a receiver wait for a callback.

        Args:
            owns: a method of the receiver, which says whether a URL belongs to it.
            made: a method of the receiver, which is called with the id in a URL of its own and the task that was made.
        """
        self._callbacks.add(owns, made)

    async def ready(self) -> None:
        """Raises `SessionClosedError` if the session is closed, or belongs to another event loop."""
        await self._background.open()

    def start(self, function: Callable[[Unpack[Arguments]], Awaitable[None]], *arguments: *Arguments) -> None:
        """Run a coroutine function in the background, as long as the session is open."""
        self._background.start(function, *arguments)

    def task_of(self, intent_id: str) -> MadeTask | None:
        """The task whose callback URL has this id."""
        return self._callbacks.task_of(intent_id)

    def expects(self, ref: TaskRef) -> bool:
        """Whether the session made a task, or somebody waits for it."""
        return self._context.tracker.expects(ref)

    def remember_unread(self, ref: TaskRef) -> None:
        """A callback names a task that nobody waits for. Whoever waits for it later reads it at once."""
        self._callbacks.remember_unread(ref)

    async def confirm(self, made: MadeTask, is_about: Callable[[TaskInfo], bool], unlisted: int) -> TaskInfo | None:
        """The final state of a task, if Task/Detail agrees that it is over.

        The account that made the task reads it, or that of this view if the session has not made it.

        Args:
            unlisted: how many reads may find no such task.
        """
        return await self._callbacks.confirm(made.calls or self._context.calls, made.ref, is_about, unlisted)

    def waiting(self, ref: TaskRef) -> TaskHandle:
        """A handle whose `result` waits for a callback, and polls slowly."""
        self._callbacks.expect(ref)
        return TaskHandle(ref, "", self._context)
