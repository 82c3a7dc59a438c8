"""The background tasks of a session, from its first use to its end, whichever tasks those happen in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVarTuple, Unpack

import anyio
import attrs

from wiro_async._errors import SessionClosedError

logger = logging.getLogger("wiro_async")
Arguments = TypeVarTuple("Arguments")


@attrs.define(eq=False)
class _Child:
    work: Callable[[], Awaitable[None]]
    name: str | None
    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)


class BackgroundTasks:
    """Owns all background tasks.

    A session may be closed by another task than the one that opened it, so a host task ends what was started.
    Closing is not torn if whoever asked for it is cancelled, and it is done as well where somebody cancels all tasks of
    the loop. That cancels background tasks too, even such as have not begun; a task group would take it for its own
    end, and forget the latter. Here each begins all the same, and ends by itself.

    Args:
        before_end: what is done first, while background tasks still run and can be started.
        after_end: what is done when all have ended. Both are done again from their start if that is disturbed.
    """

    def __init__(self, before_end: Callable[[], Awaitable[None]], after_end: Callable[[], Awaitable[None]]) -> None:
        self._before_end = before_end
        self._after_end = after_end
        self._children: set[_Child] = set()
        self._host: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = anyio.Event()
        self._unwanted = anyio.Event()
        self._last_one_ended = anyio.Event()
        self._ended = False

    @property
    def count(self) -> int:
        """How many background tasks there are."""
        return len(self._children)

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
        self._loop = loop
        while self._host is None or not self._ready.is_set():
            if self._host is None:
                self._ready, self._unwanted, self._last_one_ended = anyio.Event(), anyio.Event(), anyio.Event()
                self._host = asyncio.create_task(self._run(), name="wiro_async session")
                self._host.add_done_callback(self._host_ended)
            await self._ready.wait()

    def start(self, function: Callable[[Unpack[Arguments]], Awaitable[None]], *arguments: *Arguments) -> None:
        """Run a coroutine function in the background. What it raises is logged, and ends nothing else.

        Raises:
            SessionClosedError: too late.
        """
        if self._host is None or self._ended:
            raise SessionClosedError("the session was closed meanwhile")
        self._bear(_Child(partial(function, *arguments), getattr(function, "__qualname__", None)))

    async def aclose(self) -> None:
        """Close it and wait for the end. Cancelling ends the wait only.

        Raises:
            SessionClosedError: its event loop is another one; if that is gone, so is all that was open in it.
        """
        if self._host is not None:
            if self._loop is not asyncio.get_running_loop():
                self._ended = True
                raise SessionClosedError("this session belongs to another event loop, and had to be closed there")
            self._unwanted.set()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._host])
        if self._host is None:
            self._ended = True
            await self._after_end()

    def _host_ended(self, _: asyncio.Task[None]) -> None:
        if not self._ready.is_set():  # cancelled before its first step
            self._host = None
            self._ready.set()

    def _bear(self, child: _Child) -> None:
        self._children.add(child)
        asyncio.create_task(self._guarded(child), name=child.name).add_done_callback(lambda _: self._bear_again(child))

    def _bear_again(self, child: _Child) -> None:
        if child in self._children:  # cancelled before its first step
            self._bear(child)

    async def _run(self) -> None:
        self._ready.set()
        try:
            await self._unwanted.wait()
        finally:
            await _whole(self._before_end)
            self._ended = True
            await _whole(self._end_children)
            await _whole(self._after_end)

    async def _end_children(self) -> None:
        for child in self._children:
            child.scope.cancel()
        while self._children:
            self._last_one_ended = anyio.Event()
            await self._last_one_ended.wait()

    async def _guarded(self, child: _Child) -> None:
        try:
            with child.scope:
                await child.work()
        except SessionClosedError as error:
            logger.debug("a background task ended: %s", error)
        except Exception:
            logger.exception("a background task failed")
        finally:
            self._children.discard(child)
            if not self._children:
                self._last_one_ended.set()


async def _whole(step: Callable[[], Awaitable[None]]) -> None:
    """Do a step of closing, anew as often as somebody cancels every task meanwhile."""
    host = asyncio.current_task()
    assert host is not None
    asked = -1
    while host.cancelling() > asked:
        asked = host.cancelling()
        try:
            with anyio.CancelScope(shield=True):
                await step()
            return
        except asyncio.CancelledError:
            logger.debug("closing the session was disturbed")
        except Exception:
            logger.exception("closing the session failed")
            return
