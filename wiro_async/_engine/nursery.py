"""The one task group of a session, open from its first use to `aclose()`, whichever tasks those happen in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple, Unpack

import anyio
from anyio.abc import TaskGroup

from wiro_async._errors import SessionClosedError

logger = logging.getLogger("wiro_async")
Arguments = TypeVarTuple("Arguments")


class Nursery:
    """Owns all background tasks.

    A task group must be left by the task that entered it, and a session may be closed by another task than the one
    that opened it. So one host task does both.
    """

    def __init__(self) -> None:
        self._group: TaskGroup | None = None
        self._host: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = anyio.Event()
        self._closed = False
        self.count = 0

    @property
    def is_open(self) -> bool:
        """Whether it runs."""
        return self._host is not None and not self._closed

    async def open(self) -> None:
        """Start it, if it does not run yet. Raises `SessionClosedError` after `aclose` or on another event loop."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise SessionClosedError("this session is closed; make a new AsyncWiro()")
        if self._loop not in (None, loop):
            raise SessionClosedError("this session belongs to another event loop; make one AsyncWiro() in each")
        if self._group is None:
            self._loop = loop
            self._group = anyio.create_task_group()
            self._ready = anyio.Event()
            self._host = asyncio.create_task(self._run(self._group, self._ready), name="wiro_async session")
        if not self._ready.is_set():
            await self._ready.wait()

    def start(self, function: Callable[[Unpack[Arguments]], Awaitable[None]], *arguments: *Arguments) -> None:
        """Run a coroutine function in the background. What it raises is logged, and ends nothing else."""
        assert self._group is not None
        self._group.start_soon(self._guarded, function, arguments)

    async def aclose(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        self._closed = True
        if self._group is not None and self._host is not None:
            self._group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._host])

    async def _run(self, group: TaskGroup, ready: anyio.Event) -> None:
        async with group:
            ready.set()
            await anyio.sleep_forever()

    async def _guarded(
        self, function: Callable[[Unpack[Arguments]], Awaitable[None]], arguments: tuple[*Arguments]
    ) -> None:
        self.count += 1
        try:
            await function(*arguments)
        except Exception:
            logger.exception("a background task failed")
        finally:
            self.count -= 1
