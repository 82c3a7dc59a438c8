"""The output of the demo: bars and colours in a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from wiro_async._demo.records import Totals, shown_money, shown_seconds

MARGIN = 2
WIDEST = 96
PLAIN_STEPS = 5


class Bar(Protocol):
    """A progress bar."""

    def show(self, fraction: float | None, detail: str) -> None:
        """Show the fraction, None if unknown, and a few words."""


class Screen:
    """Writes to a terminal or to a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def title(self, title: str, note: str) -> None:
        self._console.print(f"\n  [bold]{escape(title)}[/]  [dim]{escape(note)}[/]", highlight=False, soft_wrap=True)

    def part(self, name: str, note: str) -> None:
        self._console.print(f"\n  [bold cyan]{escape(name)}[/]  [dim]{escape(note)}[/]", highlight=False)

    def done(self, text: str) -> None:
        self._console.print(f"  [green]✓[/] {escape(text)}", highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        self._console.print(f"  [dim]{escape(text)}[/]", highlight=False, soft_wrap=True)

    def problem(self, text: str) -> None:
        self._console.print(f"  [red]✗[/] {escape(text)}", highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, label: str) -> Generator[Bar]:
        """Show a bar that moves in place, or one line for every fifth of the progress."""
        if not self._console.is_terminal:
            yield _Lines(self._console, label)
            return
        columns = (
            TextColumn(" "),
            BarColumn(34, complete_style="cyan", finished_style="green", pulse_style="cyan"),
            TaskProgressColumn("[bold]{task.percentage:>3.0f} %"),
            TextColumn("[dim]{task.description}"),
        )
        with Progress(*columns, console=self._console, refresh_per_second=20) as progress:
            yield _Moving(progress)

    def prose(self) -> Prose:
        """Return a writer for text that arrives in pieces."""
        return Prose(self._console)

    def table(self, parts: Sequence[Totals], currency_note: str) -> None:
        """Print the table at the end."""
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
        table.add_column("  ")
        for header in ("runs", "failures", "cost", "wall time", "one by one"):
            table.add_column(header, justify="right", no_wrap=True)
        for totals in parts:
            table.add_row(*_cells(totals), style="bold" if totals is parts[-1] else None)
        self._console.print()
        self._console.print(table, highlight=False)
        if currency_note:
            self._console.print(f"\n  [dim]{escape(currency_note)}[/]", highlight=False)


class Prose:
    """Writes text that arrives in pieces. Lines break between words, and thinking is dimmed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(WIDEST, console.width - 2 * MARGIN)
        self._column = 0
        self._kind = ""

    def write(self, text: str, kind: str) -> None:
        if kind != self._kind:
            self.end(blank=bool(self._kind))
            self._kind = kind
        for piece in re.findall(r"\n|[^\S\n]*[^\s]+|[^\S\n]+", text):
            self._put(piece)

    def end(self, blank: bool = False) -> None:
        """End the current line, if there is one."""
        if self._column:
            self._break()
        if blank:
            self._break()

    def _put(self, piece: str) -> None:
        if piece == "\n":
            self._break()
            return
        if self._column and self._column + len(piece) > self._width:
            self._break()
        if not self._column:
            piece = piece.lstrip()
            self._console.out(" " * MARGIN, end="")
        style = "dim italic" if self._kind == "thinking" else None
        self._console.out(piece, end="", style=style, highlight=False)
        self._column += len(piece)

    def _break(self) -> None:
        self._console.out("")
        self._column = 0


class _Moving:
    """A bar in a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def show(self, fraction: float | None, detail: str) -> None:
        self._progress.update(
            self._task, total=None if fraction is None else 1.0, completed=fraction or 0.0, description=escape(detail)
        )


class _Lines:
    """A bar outside a terminal: one line for each step."""

    def __init__(self, console: Console, label: str) -> None:
        self._console = console
        self._label = label
        self._step = 0

    def show(self, fraction: float | None, detail: str) -> None:
        step = int((fraction or 0.0) * PLAIN_STEPS)
        if step > self._step:
            self._step = step
            self._console.print(f"  {self._label}: {fraction:4.0%}  {escape(detail)}", highlight=False, soft_wrap=True)


def _cells(totals: Totals) -> tuple[str, ...]:
    return (
        f"  {totals.name}",
        str(totals.runs),
        str(totals.failures),
        shown_money(totals.cost),
        shown_seconds(totals.wall),
        shown_seconds(totals.alone),
    )
