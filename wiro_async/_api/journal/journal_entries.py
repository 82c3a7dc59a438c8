"""What a journal knows of items, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import cast

import attrs

from wiro_async._api.journal.journal_schema import State, damage
from wiro_async._engine.calls.task_calls import TaskRef
from wiro_async._errors import JournalError
from wiro_async._protocol.submission import journal_keys
from wiro_async._protocol.tasks.records import TaskInfo, parse_task
from wiro_async._protocol.values.json import decode, encode
from wiro_async._protocol.values.parsing import as_decimal, as_dict
from wiro_async._transport.sqlite import Connection

ROW = "state, attempts, digest, callback_url, intended_at, task_id, token, record, saved"
TAKE = "INSERT INTO taken VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times"


@attrs.define(eq=False)
class Entry:
    """What the journal knows of an item that was taken from the inputs.

    Attributes:
        key: its name: the user's, else made from what it asks for.
        given: its input as JSON; files only by their names.
        is_repeated: whether this user's key was taken before by the same batch.
        state: None if it was never sent.
        attempts: tasks made for it.
        ref: its task, if one is known.
        task: its last task, if that has ended.
        saved: where its outputs were saved.
    """

    key: str
    digest: str
    given: bytes = attrs.field(default=b"{}", repr=False)
    is_repeated: bool = False
    state: State | None = None
    attempts: int = 0
    callback_url: str | None = attrs.field(default=None, repr=False)
    intended_at: float = 0.0
    ref: TaskRef | None = None
    task: TaskInfo | None = None
    saved: tuple[Path, ...] = ()

    @property
    def stored_key(self) -> str:
        """The key as the file holds it."""
        return journal_keys.storable(self.key)

    @property
    def is_over(self) -> bool:
        """Whether its last task has ended, or was never made."""
        return self.state not in ("undecided", "submitted")


@attrs.frozen
class Spending:
    """What the succeeded runs of a model have cost.

    Attributes:
        total: US dollars.
        runs: of which the cost is known.
    """

    total: Decimal = Decimal(0)
    runs: int = 0

    def __add__(self, other: Spending) -> Spending:
        return Spending(self.total + other.total, self.runs + other.runs)


@attrs.frozen
class Equals:
    """What else looks like an undecided item on the service.

    Attributes:
        task_ids: tasks that belong to other items, or to earlier attempts.
        undecided: how many items left by the earlier process may claim a task that belongs to none.
    """

    task_ids: Sequence[str]
    undecided: int


def times_taken(connection: Connection, stored_key: str) -> int:
    """How often a key was taken by this batch, this time included."""
    times: int = connection.execute(TAKE, (stored_key,)).fetchone()[0]
    return times


def entered(
    connection: Connection, index: int, own_key: str | None, digest: str, is_new: bool, is_repeated: bool | None
) -> Entry:
    """What `JournalWriter.enter` tells of an item; a file that was new has none. Raises `JournalError`."""
    if own_key is None:
        key = journal_keys.nth(digest, times_taken(connection, digest))
    else:
        key = own_key
        if is_repeated is None:
            is_repeated = times_taken(connection, journal_keys.storable(key)) > 1
    entry = Entry(key, digest, is_repeated=bool(is_repeated))
    if index == 0:
        _check_first(connection, entry.stored_key)
    if not is_new and not entry.is_repeated:
        row = connection.execute(f"SELECT {ROW} FROM items WHERE key = ?", (entry.stored_key,)).fetchone()
        if row is not None:
            _fill(entry, *row)
    return entry


def _fill(
    entry: Entry,
    state: State,
    attempts: int,
    digest: str,
    callback_url: str | None,
    intended_at: float,
    task_id: str | None,
    token: str | None,
    record: str | None,
    saved: str | None,
) -> None:
    if digest != entry.digest:
        raise JournalError(
            f"this journal was made for other requests: it knows the key {entry.key!r} with another model or input. "
            "Give this request another key, or the batch another journal"
        )
    entry.state, entry.attempts = state, attempts
    entry.callback_url, entry.intended_at = callback_url, intended_at
    entry.ref = TaskRef(task_id, token) if task_id or token else None
    try:
        entry.task = None if record is None else parse_task(as_dict(decode(record)))
        entry.saved = paths_of(saved) if saved else ()
    except (TypeError, ValueError) as error:
        raise damage(f"item {entry.key!r}: {error}") from error


def text_of(paths: Sequence[Path]) -> str:
    """Paths as the file holds them."""
    return encode([str(path) for path in paths]).decode()


def paths_of(text: str) -> tuple[Path, ...]:
    """The paths again."""
    return tuple(map(Path, cast("list[str]", decode(text))))


def _check_first(connection: Connection, key: str) -> None:
    known = connection.execute("SELECT 1 FROM items WHERE key = ?", (key,)).fetchone()
    first = connection.execute("SELECT value FROM facts WHERE name = 'first'").fetchone()
    if first is None:
        connection.execute("INSERT INTO facts VALUES ('first', ?)", (key,))
    elif not known and first != (key,):
        raise JournalError(
            f"this journal was made for other requests: it does not know the first one (key {key!r}). "
            "Add new requests behind the old ones, or give this batch another journal"
        )


def equals(connection: Connection, fingerprint: bytes, before: float) -> Equals:
    """What else could have made the tasks that look like an item; those that were sent later could not."""
    sql = "SELECT task_id FROM {} WHERE fingerprint = ? AND task_id IS NOT NULL"
    ids = [row[0] for table in ("items", "former") for row in connection.execute(sql.format(table), (fingerprint,))]
    sql = """SELECT count(*), count(DISTINCT digest) FROM items
        WHERE fingerprint = ? AND state = 'undecided' AND intended_at < ?"""
    undecided, kinds = connection.execute(sql, (fingerprint, before)).fetchone()
    return Equals(ids, undecided if kinds == 1 else 0)


def contents(connection: Connection) -> tuple[dict[str, Spending], bool]:
    """What the items of each model have cost, and whether there is no item."""
    sql = "SELECT model, cost, count(*) FROM items WHERE cost IS NOT NULL AND state = 'succeeded' GROUP BY model, cost"
    spendings: dict[str, Spending] = {}
    for model, cost, count in connection.execute(sql):
        amount = as_decimal(cost)
        if amount is None:
            raise damage(f"an item of {model} has cost {cost!r}")
        spendings[model] = spendings.get(model, Spending()) + Spending(amount * count, count)
    return spendings, connection.execute("SELECT NOT EXISTS (SELECT 1 FROM items)").fetchone() == (1,)
