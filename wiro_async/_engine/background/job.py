"""Work that somebody waits for without owning it: who gives up waiting interrupts nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.stopping import STOP_SECONDS
from wiro_async._errors import SessionClosedError


class Job:
    """One piece of work in the background, to be waited for as often as one likes, and to be cancelled.

    Raises:
        SessionClosedError: the session is closed.
    """

    def __init__(self, background: BackgroundTasks, work: Callable[[], Awaitable[None]]) -> None:
        self._scope = anyio.CancelScope()
        self._done = anyio.Event()
        self._error: Exception | None = SessionClosedError("the session was closed meanwhile")
        background.start(self._run, work)

    async def outcome(self) -> None:
        """Wait for its end. Cancelling ends the wait only. Raises what it has raised."""
        await self._done.wait()
        if self._error is not None:
            raise self._error

    async def cancel(self) -> None:
        """Cancel it, and wait until it has ended; it is left to itself if that takes too long."""
        self._scope.cancel()
        with anyio.move_on_after(STOP_SECONDS, shield=True):
            await self._done.wait()

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                await work()
            self._error = None
        except Exception as error:
            self._error = error
        finally:
            self._done.set()
