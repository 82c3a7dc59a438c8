"""Shows how a batch goes, while it does."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from wiro_async._api.batch.batch_options import ProgressListener
from wiro_async._api.batch.counters import BatchStats

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

logger = logging.getLogger("wiro_async")
LIVE_SECONDS = 0.1
LINE_SECONDS = 5.0
LAST_SECONDS = 2.0  # for the final state
BAR = 30


class Display(Protocol):
    """Somewhere to show how a batch stands.

    Attributes:
        seconds: between two looks.
    """

    seconds: float

    async def show(self, stats: BatchStats) -> None:
        """Show this."""

    async def close(self) -> None:
        """Nothing more will be shown."""


class Progress:
    """An async context manager that keeps a display, if one is wanted, up to date.

    Showing costs no batch its life: a display that fails is logged, and shown nothing any more; one that hangs is not
    waited for longer than `LAST_SECONDS`.
    """

    def __init__(self, stats: Callable[[], BatchStats], wanted: bool | ProgressListener) -> None:
        self._stats = stats
        self._wanted = wanted
        self._display: Display | None = None
        self._is_broken = False
        self._group: TaskGroup

    async def __aenter__(self) -> Self:
        if self._wanted is not False:
            await self._guarded(self._make)
        if self._display is not None:
            self._group = anyio.create_task_group()
            await self._group.__aenter__()
            self._group.start_soon(self._keep_up, self._display)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._display is None:
            return
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)
        with anyio.move_on_after(LAST_SECONDS, shield=True) as scope:
            await self._show(self._display)
            await self._guarded(self._display.close)
        if scope.cancelled_caught:
            logger.warning("the last progress was not taken within %s s", LAST_SECONDS)

    async def _make(self) -> None:
        self._display = display() if self._wanted is True else Told(self._wanted) if self._wanted else None

    async def _keep_up(self, display: Display) -> None:
        while not self._is_broken:
            await self._show(display)
            await anyio.sleep(display.seconds)

    async def _show(self, display: Display) -> None:
        if not self._is_broken:
            await self._guarded(partial(display.show, self._stats()))

    async def _guarded(self, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except Exception:
            if not self._is_broken:
                logger.exception("progress is not told any more: that failed")
            self._is_broken = True


class Told:
    """Calls a function of the user's."""

    seconds = LIVE_SECONDS

    def __init__(self, listener: ProgressListener) -> None:
        self._listener = listener

    async def show(self, stats: BatchStats) -> None:
        """Tell it."""
        answer = self._listener(stats)
        if isawaitable(answer):
            await answer

    async def close(self) -> None:
        """Nothing to do."""


class Lines:
    """One line now and then, for logs and pipes."""

    seconds = LINE_SECONDS

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    async def show(self, stats: BatchStats) -> None:
        """Write a line."""
        await anyio.to_thread.run_sync(self._write, line(stats), abandon_on_cancel=True)

    async def close(self) -> None:
        """Nothing to do."""

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class LiveTable:
    """A display that stays in its place on a terminal; what the program prints appears above it."""

    seconds = LIVE_SECONDS

    def __init__(self, live: Live) -> None:
        self._live = live

    async def show(self, stats: BatchStats) -> None:
        """Draw it anew."""
        await anyio.to_thread.run_sync(self._draw, stats, abandon_on_cancel=True)

    async def close(self) -> None:
        """Leave the last state standing."""
        await anyio.to_thread.run_sync(self._live.stop, abandon_on_cancel=True)

    def _draw(self, stats: BatchStats) -> None:
        if not self._live.is_started:
            self._live.start()
        self._live.update(table(stats), refresh=True)


def display() -> Display | None:
    """What suits the standard error stream: a live table on a terminal, lines elsewhere, or without rich.

    None where there is no such stream, as in a program without a console.
    """
    stream: TextIO | None = sys.stderr
    if stream is None:
        return None
    if not stream.isatty():
        return Lines(stream)
    if importlib.util.find_spec("rich") is None:
        logger.warning("for a live display of batches: pip install 'wiro-async[cli]'")
        return Lines(stream)
    from rich.console import Console
    from rich.live import Live

    return LiveTable(Live(console=Console(stderr=True), auto_refresh=False))


def line(stats: BatchStats) -> str:
    """All of it in one line."""
    return "wiro: " + ", ".join(f"{value} {name}" if name else value for name, value in parts(stats))


def table(stats: BatchStats) -> Table:
    """All of it for a terminal: a bar, and what it is made of."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    ended = stats.succeeded + stats.failed + stats.skipped
    grid = Table.grid(padding=(0, 2))
    cells = [f"[dim]{name}[/] [bold]{value}[/]" if name else f"[bold]{value}[/]" for name, value in parts(stats)]
    bar = ProgressBar(total=stats.total, completed=ended, width=BAR, pulse=stats.total is None)
    grid.add_row(bar, *cells)
    return grid


def parts(stats: BatchStats) -> list[tuple[str, str]]:
    """What there is to tell, name and value."""
    of = "" if stats.total is None else f"/{stats.total}"
    told = [("done", f"{stats.succeeded}{of}"), ("failed", str(stats.failed))]
    told += [("skipped", str(stats.skipped))] if stats.skipped else []
    told += [("in flight", str(stats.in_flight)), ("queued", str(stats.queued)), ("a second", f"{stats.rate:.1f}")]
    told += [] if stats.eta is None else [("left", duration(stats.eta))]
    told += [("", f"${stats.cost:.2f}" + ("" if stats.budget is None else f" of ${stats.budget:.2f}"))]
    return told


def duration(seconds: float) -> str:
    """Seconds for people: "0:42", "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
