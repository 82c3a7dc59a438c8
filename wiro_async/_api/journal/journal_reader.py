"""`Journal`: reads what a batch has written, also while it runs."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import attrs

from wiro_async._api.journal.journal_schema import check
from wiro_async._errors import JournalError
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.journal.record import Record, State
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import JSON, decode, encode
from wiro_async._protocol.values.parsing import as_decimal, as_dict, as_texts
from wiro_async._public import public
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport.sqlite import Connection, reader, rows, writing
from wiro_async._tuning import Tuning

COLUMNS = "key, model, input, state, attempts, task_id, token, intended_at, ended_at, cost, error, saved, record"
DECIDE = "UPDATE items SET state = ?, task_id = ?, token = ? WHERE key = ? AND state IN ('undecided', 'unknown')"
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
        where, values = ("", ()) if state is None else (" WHERE state = ?", (state,))
        return map(_item, self._rows(f"SELECT {COLUMNS} FROM items{where} ORDER BY rowid", values))

    def decide(self, key: str, task: TaskInfo | None) -> None:
        """Decide what became of an undecided item, where the service's list of tasks does not show it.

        Args:
            task: the task that was made for it, such as one of the `candidates` of its `SubmissionUnknownError`. The
                next batch with this journal follows it. None: no task was made, so the item is submitted, and billed.

        Raises:
            JournalError: there is no undecided or unknown item with this key, or a session uses the journal now.
        """
        state, ids = ("refused", (None, None)) if task is None else ("submitted", (task.id, task.token))
        with writing(self.path, Tuning().journal_busy) as connection:
            if connection.execute(DECIDE, (state, *ids, key)).rowcount != 1:
                raise JournalError(
                    f"the journal {self.path} has no undecided item {key!r}. Its `items('unknown')` lists them"
                )

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


def _item(row: tuple[object, ...]) -> JournalItem:
    key, model, given, state, attempts, task_id, token, intended_at, ended_at, cost, error, saved, record = row
    return JournalItem(
        cast("str", key),
        cast("str", model),
        as_dict(decode(cast("str", given))),
        cast("State", state),
        cast("int", attempts),
        cast("str | None", task_id),
        cast("str | None", token),
        cast("float", intended_at),
        cast("float | None", ended_at),
        as_decimal(cast("str | None", cost)),
        cast("str | None", error),
        tuple(map(Path, as_texts(decode(cast("str", saved))))) if saved else (),
        parse_task(as_dict(decode(cast("str", record)))) if record else None,
    )
