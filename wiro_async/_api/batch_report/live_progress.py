"""Shows how a batch goes while it runs.

A display must not cost the batch: one that fails is logged and not used again, and one that hangs is waited for only
briefly at the end. It writes in threads, as a terminal or a pipe may block.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO, TypeAlias

import anyio
import attrs
from anyio.abc import TaskGroup

from wiro_async._api.batch_report.counters import BatchStats
from wiro_async._engine.background.user_callback import call_user
from wiro_async._transport import threads
from wiro_async._transport.user_code import uncancelled
from wiro_async._tuning import Tuning

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

logger = logging.getLogger("wiro_async")
ProgressListener: TypeAlias = Callable[[BatchStats], Awaitable[None] | None]
BAR = 30


class Display(Protocol):
    """Shows how far a batch has come.

    Attributes:
        seconds: between two updates.
    """

    @property
    def seconds(self) -> float: ...

    async def show(self, stats: BatchStats) -> None:
        """Show these numbers."""

    async def close(self) -> None:
        """Leave the last numbers as they are: no more follow."""


class LiveProgress:
    """An async context manager that keeps a display up to date, if one is wanted.

    Args:
        stats: returns the present numbers.
        wanted: True for a display on standard error, a function to call, or False or None.
        abort: ends the batch, where the function ends the program.
    """

    def __init__(
        self,
        stats: Callable[[], BatchStats],
        wanted: bool | ProgressListener | None,
        tuning: Tuning,
        abort: Callable[[BaseException], None],
    ) -> None:
        self._stats = stats
        self._wanted = wanted
        self._tuning = tuning
        self._abort = abort
        self._display: Display | None = None
        self._group: TaskGroup

    async def __aenter__(self) -> Self:
        if self._wanted is True:
            await self._guarded(self._open_display)
        elif self._wanted:
            self._display = FunctionDisplay(self._wanted, self._tuning.progress_interval)
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._update)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)
        if self._display is None:
            return
        seconds = self._tuning.progress_last
        with anyio.move_on_after(seconds, shield=True) as scope:
            await self._guarded(partial(self._display.show, self._stats()))
            if self._display is not None:
                await self._guarded(self._display.close)
        if scope.cancelled_caught:
            logger.warning("the display did not take the last progress within %s s", seconds)

    async def _open_display(self) -> None:
        self._display = display(self._tuning)

    async def _update(self) -> None:
        while self._display is not None:
            seconds = self._display.seconds
            await self._guarded(partial(self._display.show, self._stats()))
            await anyio.sleep(seconds)

    async def _guarded(self, use: Callable[[], Awaitable[None]]) -> None:
        try:
            await use()
        except Exception:
            logger.exception("the progress of a batch is no longer shown: its display failed")
            broken, self._display = self._display, None
            if broken is not None:  # a live table would leave the terminal without a cursor
                with suppress(Exception):
                    await broken.close()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._display = None
            self._abort(error)


@attrs.frozen
class FunctionDisplay:
    """Calls a function of the user's."""

    _listener: ProgressListener
    seconds: float

    async def show(self, stats: BatchStats) -> None:
        with uncancelled("progress"):
            await call_user(self._listener, stats)

    async def close(self) -> None:
        """Do nothing."""


@attrs.frozen
class Lines:
    """Writes a line now and then, for logs and pipes."""

    _stream: TextIO
    seconds: float

    async def show(self, stats: BatchStats) -> None:
        def write() -> None:
            self._stream.write(f"{line(stats)}\n")
            self._stream.flush()

        await threads.run(write, kind="pipes")

    async def close(self) -> None:
        """Do nothing."""


@attrs.frozen
class LiveTable:
    """Stays in its place on a terminal. What the program prints appears above it."""

    _live: Live
    seconds: float

    async def show(self, stats: BatchStats) -> None:
        def draw() -> None:
            if not self._live.is_started:
                self._live.start()
            self._live.update(table(stats), refresh=True)

        await threads.run(draw, kind="pipes")

    async def close(self) -> None:
        await threads.run(self._live.stop, kind="pipes")


def display(tuning: Tuning) -> Display | None:
    """Return a display for standard error: a live table on a terminal, lines elsewhere, or without rich.

    None if there is no such stream, as in a program without a console.
    """
    stream: TextIO | None = sys.stderr
    if stream is None:
        return None
    if not stream.isatty():
        return Lines(stream, tuning.progress_line_interval)
    if importlib.util.find_spec("rich") is None:
        logger.warning("a live display of batches needs rich, which is not installed: pip install 'wiro-async[cli]'")
        return Lines(stream, tuning.progress_line_interval)
    from rich.console import Console
    from rich.live import Live

    return LiveTable(Live(console=Console(stderr=True), auto_refresh=False), tuning.progress_interval)


def line(stats: BatchStats) -> str:
    return "wiro: " + ", ".join(f"{value} {name}" if name else value for name, value in parts(stats))


def table(stats: BatchStats) -> Table:
    """Return all numbers for a terminal: a bar, and its parts."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    ended = stats.succeeded + stats.failed + stats.skipped
    grid = Table.grid(padding=(0, 2))
    cells = [f"[dim]{name}[/] [bold]{value}[/]" if name else f"[bold]{value}[/]" for name, value in parts(stats)]
    bar = ProgressBar(total=stats.total, completed=ended, width=BAR, pulse=stats.total is None)
    grid.add_row(bar, *cells)
    return grid


def parts(stats: BatchStats) -> list[tuple[str, str]]:
    """Return the numbers to show, with their names."""
    of = "" if stats.total is None else f"/{stats.total}"
    shown = [("done", f"{stats.succeeded}{of}"), ("failed", str(stats.failed))]
    shown += [("skipped", str(stats.skipped))] if stats.skipped else []
    shown += [("in flight", str(stats.in_flight)), ("queued", str(stats.queued)), ("a second", f"{stats.rate:.1f}")]
    shown += [] if stats.eta is None else [("left", duration(stats.eta))]
    shown += [("", f"${stats.cost:.2f}" + ("" if stats.budget is None else f" of ${stats.budget:.2f}"))]
    return shown


def duration(seconds: float) -> str:
    """Return seconds as people write them: "0:42", "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
