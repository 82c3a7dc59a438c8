"""`Journal`: reads what a batch has written, also while it runs."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from wiro_async._api.journal import sqlite_statements as sql
from wiro_async._api.journal.journal_schema import check, check_row, prepare, version_of
from wiro_async._api.journal.sqlite_store import record_of
from wiro_async._errors import JournalError
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.journal.record import Record, State
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import JSON, decode, encode
from wiro_async._protocol.values.parsing import as_decimal, as_dict
from wiro_async._public import public
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport.sqlite.sqlite_file import Connection, SqliteFile, back_up, reader, rows
from wiro_async._tuning import Tuning

PAGE = 500  # items read at a time: a reader that reads keeps the writer waiting
NOBODY = "-"  # no session has this name
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
SHOWN = ("key", "model", "state", "attempts", "task_id", "cost", "error", "intended_at", "ended_at", "saved", "input")


@public
@attrs.frozen
class JournalItem:
    """One item of a journal.

    Attributes:
        key: the user's name for it, else one made from its request.
        model: "owner/model".
        input: its parameters; files only by their names.
        state: "undecided" (perhaps sent, no response known), "submitted", "succeeded", "failed", "cancelled", "refused"
            (not sent, or refused by the service), or "unknown" (it could not be found out whether there is a task).
        attempts: how many tasks were made for it.
        task_id, token: its last task, if one is known.
        intended_at, ended_at: unix times.
        cost: US dollars, once billed.
        error: why it failed.
        saved: where its outputs were saved.
        task: the service's last record of it.
        candidates: of an "unknown" item: the ids of tasks that may be its own.
    """

    key: str
    model: str
    input: Mapping[str, JSON] = attrs.field(repr=False)
    state: State
    attempts: int
    task_id: str | None
    token: str | None = attrs.field(repr=False)
    intended_at: float
    ended_at: float | None
    cost: Decimal | None
    error: str | None
    saved: tuple[Path, ...]
    task: TaskInfo | None = attrs.field(repr=False)
    candidates: tuple[str, ...] = ()

    def as_json(self) -> dict[str, JSON]:
        """Return what `Journal.export` writes: everything but the secret token and the service's record."""
        return {
            "key": self.key,
            "model": self.model,
            "state": self.state,
            "attempts": self.attempts,
            "task_id": self.task_id,
            "cost": None if self.cost is None else str(self.cost),
            "error": self.error,
            "intended_at": self.intended_at,
            "ended_at": self.ended_at,
            "saved": [str(path) for path in self.saved],
            "input": dict(self.input),
        }


@cuts_frames
@public
class Journal:
    """A reader of a journal, also while a batch writes it: `with Journal.open("run.sqlite") as journal: …`.

    It reads in the calling thread. In an async program that matters only for journals of many thousands of items.
    Every method raises `JournalError` if the file is damaged or the journal was closed.
    """

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Journal:
        """Open a journal for reading.

        Raises:
            JournalError: there is no such file, it is damaged, or it is no journal.
        """
        return cls(Path(path), reader(Path(path), check, Tuning().journal_busy))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it. Idempotent."""
        self._connection.close()

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __iter__(self) -> Iterator[JournalItem]:
        return self.items()

    @property
    def counts(self) -> dict[State, int]:
        """The number of items in each state. States without items are left out."""
        return dict(self._rows("SELECT state, count(*) FROM items GROUP BY state"))

    @property
    def cost(self) -> Decimal:
        """The US dollars billed for all items."""
        costs = self._rows("SELECT cost, count(*) FROM items GROUP BY cost")
        return sum(((as_decimal(cost) or 0) * count for cost, count in costs), Decimal(0))

    def items(self, state: State | None = None) -> Iterator[JournalItem]:
        """Iterate over the items in the order in which they were first sent. Reads them as they are needed.

        Args:
            state: only items in this state.
        """
        is_old = version_of(self._connection) == 1
        last = 0
        while page := list(self._rows(sql.OLD_PAGE if is_old else sql.PAGE, (last, state, state, PAGE))):
            for number, *row in page:
                if not is_old:  # it has no checksums
                    check_row(tuple(row))
                yield item_of(record_of(tuple(row[:-1]), ""))
                last = number

    def decide(self, key: str, task: TaskInfo | None) -> None:
        """Decide what became of an undecided item, where the service's list of tasks does not show it.

        Args:
            task: the task that was made for it, such as one of the `candidates` of its `SubmissionUnknownError`. The
                next batch with this journal follows it. None: no task was made, so the item is submitted, and billed.

        Raises:
            JournalError: there is no undecided or unknown item with this key, or a session uses the journal now.
        """
        state, ids = ("refused", (None, None)) if task is None else ("submitted", (task.id, task.token))
        file = SqliteFile(self.path, prepare, Tuning().journal_busy)
        with closing(file), file.transaction() as connection:
            if connection.execute(sql.DECIDE, (state, *ids, key, NOBODY)).rowcount != 1:
                raise JournalError(
                    f"the journal {self.path} has no undecided item {key!r}. Its `items('unknown')` lists them"
                )

    def backup(self, path: str | os.PathLike[str]) -> Path:
        """Copy the journal to a new file, also while a session writes it, which waits meanwhile.

        Other copies are refused, as two files that both go on would bill the same runs twice. So use the backup or the
        original, never both. What is submitted after the backup is unknown to it, and would be submitted again.

        Raises:
            JournalError: there is a file with this name, or it cannot be written.
        """
        back_up(self._connection, self.path, Path(path))
        return Path(path)

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write all items to a file: CSV if its name ends in ".csv", JSON Lines if in ".jsonl". Tokens are left out.

        In CSV, text that a spreadsheet would take for a formula gets an apostrophe before it.

        Raises:
            JournalError: the name has another ending.
        """
        with ItemFile(Path(path)) as file:
            for item in self.items():
                file.write(item)
        return Path(path)

    def _rows(self, sql: str, values: tuple[object, ...] = ()) -> Iterator[Any]:
        return rows(self._connection, self.path, sql, values)


class ItemFile:
    """A file for items: CSV if its name ends in ".csv", JSON Lines if in ".jsonl". Raises `JournalError` otherwise."""

    def __init__(self, path: Path) -> None:
        match path.suffix.lower():
            case ".csv":
                self._file = path.open("w", newline="", encoding="utf-8", errors="backslashreplace")
                self._table: csv.DictWriter[str] | None = csv.DictWriter(self._file, SHOWN)
                self._table.writeheader()
            case ".jsonl":
                self._file = path.open("w", newline="\n", encoding="utf-8")
                self._table = None
            case _:
                raise JournalError(
                    f"cannot export to {path}: its name ends in neither .csv nor .jsonl. Give it one of these"
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def write(self, item: JournalItem) -> None:
        """Add an item."""
        if self._table is None:
            self._file.write(encode(item.as_json()).decode() + "\n")
            return
        row: dict[str, object] = {**item.as_json()}
        row["saved"] = " ".join(str(path) for path in item.saved)
        row["input"] = encode(dict(item.input)).decode()
        self._table.writerow({name: without_formula(value) for name, value in row.items()})


def item_of(record: Record) -> JournalItem:
    """Return what a record says to users."""
    intention, ref = record.intention, record.ref or TaskRef()
    return JournalItem(
        record.key,
        intention.model,
        as_dict(decode(intention.input)),
        record.state,
        record.attempts,
        ref.task_id,
        ref.token,
        intention.intended_at,
        record.ended_at,
        record.cost,
        record.error,
        tuple(map(Path, record.saved)),
        record.task,
        record.candidates,
    )


def without_formula(value: object) -> object:
    """Return a value that no spreadsheet takes for a formula, which could run commands there."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value
