"""The one task group of a session, open from its first use to its end, whichever tasks those happen in."""

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
    that opened it. So one host task does both. Closing is its work too: it is not torn if whoever asked for it is
    cancelled, and it is done as well where somebody cancels all tasks of the loop.

    Args:
        before_end: what is done first, while background tasks still run and can be started.
        after_end: what is done when all have ended.
    """

    def __init__(self, before_end: Callable[[], Awaitable[None]], after_end: Callable[[], Awaitable[None]]) -> None:
        self._before_end = before_end
        self._after_end = after_end
        self._group: TaskGroup | None = None
        self._host: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = anyio.Event()
        self._unwanted = anyio.Event()
        self._ended = False
        self.count = 0

    @property
    def is_open(self) -> bool:
        """Whether it runs, and nobody has asked to close it."""
        return self._host is not None and not self._ended and not self._unwanted.is_set()

    @property
    def has_ended(self) -> bool:
        """Whether everything in it is being ended."""
        return self._ended

    async def open(self) -> None:
        """Start it, if it does not run yet. Raises `SessionClosedError` after its end or on another event loop."""
        loop = asyncio.get_running_loop()
        if self._ended:
            raise SessionClosedError("this session is closed; make a new AsyncWiro()")
        if self._loop not in (None, loop):
            raise SessionClosedError("this session belongs to another event loop; make one AsyncWiro() in each")
        if self._group is None:
            self._loop = loop
            self._group = anyio.create_task_group()
            self._ready, self._unwanted = anyio.Event(), anyio.Event()
            self._host = asyncio.create_task(self._run(self._group), name="wiro_async session")
        if not self._ready.is_set():
            await self._ready.wait()

    def start(self, function: Callable[[Unpack[Arguments]], Awaitable[None]], *arguments: *Arguments) -> None:
        """Run a coroutine function in the background. What it raises is logged, and ends nothing else.

        Raises:
            SessionClosedError: too late.
        """
        if self._group is None or self._ended:
            raise SessionClosedError("the session was closed meanwhile")
        self._group.start_soon(self._guarded, function, arguments)

    async def aclose(self) -> None:
        """Close it and wait for the end. Cancelling ends the wait only.

        Raises:
            SessionClosedError: its event loop is another one; if that is gone, so is all that was open in it.
        """
        if self._host is None:
            self._ended = True
            await self._after_end()
        elif self._loop is not asyncio.get_running_loop():
            self._ended = True
            raise SessionClosedError("this session belongs to another event loop, and had to be closed there")
        else:
            self._unwanted.set()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._host])

    async def _run(self, group: TaskGroup) -> None:
        try:
            async with group:
                self._ready.set()
                try:
                    await self._unwanted.wait()
                finally:
                    await self._wind_up()
                    group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._after_end()

    async def _wind_up(self) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await self._before_end()
        except Exception:
            logger.exception("closing the session failed")
        finally:
            self._ended = True

    async def _guarded(
        self, function: Callable[[Unpack[Arguments]], Awaitable[None]], arguments: tuple[*Arguments]
    ) -> None:
        self.count += 1
        try:
            await function(*arguments)
        except asyncio.CancelledError:
            if self._ended:
                raise
            # Somebody cancels every task there is. The group must not take it for its own end: it has work to do.
        except SessionClosedError as error:
            logger.debug("a background task ended: %s", error)
        except Exception:
            logger.exception("a background task failed")
        finally:
            self.count -= 1
