"""Shared parts of the benchmarks: servers and clients in their own processes, turns, tables."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODEL = "emulator/sleeper"
SECONDS = 0.5  # duration of a run,
EVENTS = 12  # which sends this many messages
OVER = ("task_postprocess_end", "task_cancel")
Run = Callable[[str, dict[str, Any]], Awaitable[Any]]
Client = Callable[[dict[str, Any]], AbstractAsyncContextManager[Run]]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows a module's docstring as it is."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def headers(options: dict[str, Any]) -> dict[str, str]:
    """Return the headers of a client that signs nothing."""
    return {"x-api-key": options["api_key"], "user-agent": "benchmark"}


@contextmanager
def served(*command: str) -> Generator[dict[str, Any]]:
    """Run a Python program that prints its connection options as JSON, and ends with its standard input."""
    with subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()
        process.wait()


@contextmanager
def emulator(*arguments: str, ledger: dict[str, Any] | None = None) -> Generator[dict[str, Any]]:
    """Run an emulator in its own process, and yield its connection options.

    Args:
        arguments: more arguments of `python -m wiro_async.testing`.
        ledger: filled with the emulator's ledger at the end.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.json"
        with served("-m", "wiro_async.testing", "--no-secret", "--ledger", str(file), *arguments) as options:
            yield options
        if ledger is not None:
            ledger.update(json.loads(file.read_text(encoding="utf-8")))


def alone(script: str, *arguments: str, given: object = None) -> Any:
    """Run a benchmark's script in its own process, and return the JSON that it prints.

    Args:
        given: sent to the standard input of the script as JSON.
    """
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, input=json.dumps(given), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def turns(names: Sequence[str], rounds: int) -> Iterable[str]:
    """Yield all names in each round, with another one first each time."""
    for turn in range(rounds):
        first = turn % len(names)
        yield from (*names[first:], *names[:first])


def show(title: str, table: Sequence[Sequence[str]]) -> None:
    """Print a table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    print(f"\n{title}")
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  " + "   ".join([row[0].ljust(widths[0]), *cells]))
