"""What a receiver of callbacks needs of a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVarTuple, Unpack

import attrs

from wiro_async._api.following import Following
from wiro_async._api.handle import TaskHandle
from wiro_async._engine.callbacks import Callbacks, Noted, Owner
from wiro_async._engine.nursery import Nursery
from wiro_async._engine.task_calls import TaskRef
from wiro_async._protocol.entities import Task

Arguments = TypeVarTuple("Arguments")


@attrs.frozen
class CallbackDesk:
    """One for each session and each view on it."""

    _callbacks: Callbacks
    _nursery: Nursery
    _following: Following

    def register(self, owner: Owner) -> None:
        """Runs that are given a callback URL of its own are waited for by it."""
        self._callbacks.owners.add(owner)

    async def ready(self) -> None:
        """Raises `SessionClosedError` if the session cannot work, or not in this event loop."""
        await self._nursery.open()

    def start(self, function: Callable[[Unpack[Arguments]], Awaitable[None]], *arguments: *Arguments) -> None:
        """Run a coroutine function in the background, as long as the session is open."""
        self._nursery.start(function, *arguments)

    def noted(self, intent_id: str) -> Noted | None:
        """The task whose callback URL carries this id."""
        return self._callbacks.noted(intent_id)

    async def confirmed(self, noted: Noted, is_about: Callable[[Task], bool]) -> Task | None:
        """The task, if Task/Detail says that it is over: to the account that made it, else to that of this view."""
        return await self._callbacks.confirmed(noted.calls or self._following.calls, noted.ref, is_about)

    def waiting(self, ref: TaskRef) -> TaskHandle:
        """A handle whose `result` waits for a callback, and polls slowly."""
        self._following.watches.expect(ref)
        return TaskHandle(ref, "", self._following)
