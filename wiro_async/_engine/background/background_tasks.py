"""The background tasks of a session, from its first use to its end.

Why an anyio task group is not enough: a session may be closed by another task than the one that opened it, and a task
group may not. Worse, somebody may cancel every task of the loop, as `asyncio.run` does at its end. A task group takes
that for its own end, and it forgets children that were cancelled before their first step. What such a child was to do,
such as stopping a task that costs money, would never happen. So a host task owns the background tasks here: each of
them begins whatever happens, each ends by itself, and closing continues where it is disturbed.

The event loop holds its tasks weakly. A session that nobody closes and nobody reaches any more would be collected with
its tasks in mid-flight, and each of them, and each of its sockets, would complain. So the hosts are held here until
they end, and a `Lifeline` notices that a session is out of reach: then it closes by itself.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVarTuple, Unpack

import anyio

from wiro_async._engine.background.change import Change
from wiro_async._errors import SessionClosedError
from wiro_async._transport.user_code import uncancelled

logger = logging.getLogger("wiro_async")
Arguments = TypeVarTuple("Arguments")
_hosts: set[asyncio.Task[None]] = set()


class BackgroundTask:
    """One coroutine function that runs in the background. Others may wait for it without owning it."""

    def __init__(self, work: Callable[[], Awaitable[None]], name: str | None) -> None:
        self._work = work
        self._scope = anyio.CancelScope()
        self._changed = Change()
        self._error: BaseException | None = None
        self._has_waiter = False
        self.name = name
        self.has_ended = False

    def forget(self) -> None:
        """Nobody is to hear of its error."""
        self._has_waiter = True

    def close(self) -> None:
        """Cancel it as the session is closed: those who wait get a `SessionClosedError`."""
        self._error = SessionClosedError("the session was closed meanwhile")
        self._scope.cancel()

    async def cancel(self, seconds: float) -> None:
        """Cancel it and wait, shielded, until it has ended. After this many seconds it is left to itself."""
        self._scope.cancel()
        with anyio.move_on_after(seconds, shield=True):
            await self.ended()

    async def wait(self) -> None:
        """Wait for its end. Cancelling ends the wait only.

        Raises:
            BaseException: what the task has raised.
            SessionClosedError: the session was closed.
        """
        self._has_waiter = True
        await self.ended()
        if self._error is not None:
            raise self._error

    async def ended(self) -> None:
        """Wait for its end, whatever comes of it. Cancelling ends the wait only."""
        await self._changed.until(lambda: self.has_ended)

    async def run(self) -> None:
        """Run it. An error goes to those who wait, or to the log if nobody does."""
        try:
            with self._scope, uncancelled(self.name or "a background task"):
                await self._work()
        except SessionClosedError as error:
            self._error = error
            logger.debug("a background task ended: %s", error)
        except Exception as error:
            self._error = error
            if not self._has_waiter:
                logger.exception("a background task failed")
        except asyncio.CancelledError:
            self._error = SessionClosedError("the session was closed meanwhile")
            raise
        except BaseException as error:
            self._error = error
            if not self._has_waiter:
                raise
        finally:
            self.has_ended = True
            self._changed.notify()


class BackgroundTasks:
    """Owns all background tasks of a session.

    Args:
        before_end: runs first at the end, while background tasks still run and can be started.
        after_end: runs when all have ended. Both run again from their start if somebody cancels them.
    """

    def __init__(self, before_end: Callable[[], Awaitable[None]], after_end: Callable[[], Awaitable[None]]) -> None:
        self._before_end = before_end
        self._after_end = after_end
        self._tasks: dict[BackgroundTask, asyncio.Task[None]] = {}
        self._host: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = Change()
        self._is_ready = False
        self._is_closing = False
        self._has_ended = False

    @property
    def count(self) -> int:
        """How many background tasks there are."""
        return sum(not task.has_ended for task in self._tasks)

    @property
    def is_open(self) -> bool:
        """Whether tasks can be started, and nobody has asked to close."""
        return self._host is not None and not self._has_ended and not self._is_closing

    @property
    def has_ended(self) -> bool:
        """Whether all tasks are being ended, or have ended."""
        return self._has_ended

    async def open(self) -> None:
        """Start the host task if it does not run.

        Raises:
            SessionClosedError: the session has ended, or belongs to another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._has_ended:
            raise SessionClosedError("this session is closed; make a new AsyncWiro()")
        if self._loop not in (None, loop):
            raise SessionClosedError("this session belongs to another event loop; make one AsyncWiro() in each")
        self._loop = loop
        while self._host is None or not self._is_ready:
            if self._host is None:
                self._is_ready = False
                self._host = asyncio.create_task(self._serve(), name="wiro_async session")
                _hosts.add(self._host)
                self._host.add_done_callback(self._host_ended)
            if not self._is_ready:  # where tasks are eager, it is already
                await self._changed.wait()

    def start(self, function: Callable[[Unpack[Arguments]], Awaitable[None]], *arguments: *Arguments) -> BackgroundTask:
        """Run a coroutine function in the background. Raises `SessionClosedError` if it is too late for that."""
        if self._host is None or self._has_ended:
            raise SessionClosedError("the session was closed meanwhile")
        task = BackgroundTask(partial(function, *arguments), getattr(function, "__qualname__", None))
        self._spawn(task)
        return task

    async def aclose(self) -> None:
        """Close, and wait for the end. Cancelling ends the wait only.

        Raises:
            SessionClosedError: this is another event loop. If the right one is gone, so is all that was open in it.
        """
        if self._host is not None:
            if self._loop is not asyncio.get_running_loop():
                self._has_ended = True
                raise SessionClosedError("this session belongs to another event loop, and had to be closed there")
            self._begin_end()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._host])
        if self._host is None:
            self._has_ended = True
            await self._after_end()

    def close_soon(self) -> None:
        """Close, and wait for nothing. Any thread may call it."""
        if self._host is None or self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._begin_end)
        except RuntimeError:  # the loop is closed
            self._dispose()

    def _begin_end(self) -> None:
        self._is_closing = True
        self._changed.notify()

    def _dispose(self) -> None:
        """Let go of the tasks of a loop that is closed: nothing of them can run any more."""
        for background_task in self._tasks:
            background_task.forget()
        for task in (self._host, *self._tasks.values()):
            if task is not None and not task.done():
                setattr(task, "_log_destroy_pending", False)  # noqa: B010 - asyncio's own, without a public name
                _close(task.get_coro())
                _hosts.discard(task)

    def _host_ended(self, host: asyncio.Task[None]) -> None:
        _hosts.discard(host)
        if not self._is_ready:  # cancelled before its first step: `open` starts another one
            self._host = None
        self._changed.notify()

    def _spawn(self, task: BackgroundTask) -> None:
        self._tasks[task] = asyncio.create_task(task.run(), name=task.name)
        self._tasks[task].add_done_callback(lambda _: self._ended(task))

    def _ended(self, task: BackgroundTask) -> None:
        if not task.has_ended:  # cancelled before its first step: it was promised to begin
            self._spawn(task)
            return
        del self._tasks[task]
        self._changed.notify()

    async def _serve(self) -> None:
        self._is_ready = True
        self._changed.notify()
        with suppress(asyncio.CancelledError):  # by somebody who cancels every task of the loop
            await self._changed.until(lambda: self._is_closing)
        self._is_closing = True
        await _undisturbed(self._before_end)
        self._has_ended = True
        await _undisturbed(self._end_tasks)
        await _undisturbed(self._after_end)

    async def _end_tasks(self) -> None:
        for task in list(self._tasks):
            task.close()
        await self._changed.until(lambda: not self._tasks)


class Lifeline:
    """Held by all through which a user can reach a session. When the last of them is gone, the session closes.

    Args:
        name: of the session, in the warning that nobody closed it.
    """

    def __init__(self, background: BackgroundTasks, name: str) -> None:
        self._background = background
        self._name = name
        self._has_warned = False

    def warn_if_open(self) -> None:
        """Warn once that the session was not closed."""
        if self._background.is_open and not self._has_warned:
            self._has_warned = True
            text = f"{self._name} was not closed: use `async with`, or await aclose()"
            warnings.warn(text, ResourceWarning, stacklevel=3)

    def __del__(self) -> None:
        if not sys.is_finalizing():
            try:
                self.warn_if_open()
            finally:  # the warning may be an error
                self._background.close_soon()


def _close(coroutine: Any) -> None:
    """Close a coroutine that waits for more whenever it is told to end."""
    for _ in range(100):
        try:
            coroutine.close()
            return
        except Exception as error:  # it waits again, or fails
            logger.debug("a task of a closed event loop did not end: %s", error)


async def _undisturbed(step: Callable[[], Awaitable[None]]) -> None:
    """Do one step of closing, again from its start as often as somebody cancels every task of the loop."""
    host = asyncio.current_task()
    assert host is not None
    seen = -1
    while host.cancelling() > seen:
        seen = host.cancelling()
        try:
            with anyio.CancelScope(shield=True):
                await step()
            return
        except asyncio.CancelledError:
            logger.debug("closing the session was disturbed")
        except Exception:
            logger.exception("closing the session failed")
            return
