"""What a journal knows of items, and the queries that read it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import cast

import attrs

from wiro_async._api.journal.journal_schema import State, damage
from wiro_async._errors import JournalError
from wiro_async._protocol.submission import journal_keys
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import decode, encode
from wiro_async._protocol.values.parsing import as_decimal, as_dict
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport.sqlite import Connection

ROW = "state, attempts, digest, callback_url, intended_at, task_id, token, record, saved"
TAKE = "INSERT INTO taken VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times"


@attrs.frozen
class Asked:
    """What the journal is asked about: one request of a batch.

    Attributes:
        index: its place among the inputs.
        own_key: the user's key for it.
        digest: equal for equal requests.
        input: its input as JSON, files only by their names.
        is_repeated: whether an earlier request has the same key, where `JournalWriter.claim` was asked before.
    """

    index: int
    own_key: str | None
    digest: str
    input: bytes = attrs.field(default=b"{}", repr=False)
    is_repeated: bool | None = None


@attrs.define(eq=False)
class Entry:
    """What the journal knows of an item that was taken from the inputs."""

    key: str  # its name: the user's, else made from its request
    digest: str
    input: bytes = attrs.field(default=b"{}", repr=False)  # its input as JSON, files only by their names
    is_repeated: bool = False  # whether an earlier request of the same batch has this user's key
    state: State | None = None  # None if it was never sent
    attempts: int = 0  # how many tasks were made for it
    callback_url: str | None = attrs.field(default=None, repr=False)
    intended_at: float = 0.0
    ref: TaskRef | None = None  # its task, if one is known
    task: TaskInfo | None = None  # its last task, if that has ended
    saved: tuple[Path, ...] = ()  # where its outputs were saved

    @property
    def stored_key(self) -> str:
        """The key as the file holds it."""
        return journal_keys.storable(self.key)

    @property
    def is_over(self) -> bool:
        """Whether its last task has ended, or was never made."""
        return self.state not in ("undecided", "submitted")

    def intend(self, callback_url: str | None, now: float) -> None:
        """A run of it is about to be sent. A run that was refused was no attempt."""
        self.attempts += self.ref is not None or not self.attempts
        self.state, self.callback_url, self.intended_at, self.ref = "undecided", callback_url, now, None

    def set_task(self, ref: TaskRef) -> None:
        """The service has made a task for it."""
        self.state, self.ref = "submitted", ref

    def end(self, state: State) -> None:
        """Its task has ended, or the service refused to make one."""
        self.state = state


@attrs.frozen
class Spending:
    """What the succeeded runs of a model have cost."""

    total: Decimal = Decimal(0)  # US dollars
    runs: int = 0  # how many runs of known cost

    def __add__(self, other: Spending) -> Spending:
        return Spending(self.total + other.total, self.runs + other.runs)


@attrs.frozen
class Equals:
    """What else looks like an undecided item on the service."""

    task_ids: Sequence[str]  # tasks that belong to other items, or to earlier attempts
    undecided: int  # how many items that the earlier process left may claim a task that belongs to none


def times_taken(connection: Connection, stored_key: str) -> int:
    """Count one more use of a key in this batch, and return how many there are."""
    times: int = connection.execute(TAKE, (stored_key,)).fetchone()[0]
    return times


def look_up(connection: Connection, asked: Asked, is_new: bool) -> Entry:
    """Return the entry of a request; a file that `is_new` knows none. Raises `JournalError` for other requests."""
    is_repeated = asked.is_repeated
    if asked.own_key is None:
        key = journal_keys.nth(asked.digest, times_taken(connection, asked.digest))
    else:
        key = asked.own_key
        if is_repeated is None:
            is_repeated = times_taken(connection, journal_keys.storable(key)) > 1
    entry = Entry(key, asked.digest, asked.input, bool(is_repeated))
    if asked.index == 0:
        _check_first(connection, entry.stored_key)
    if is_new or entry.is_repeated:
        return entry
    row = connection.execute(f"SELECT {ROW} FROM items WHERE key = ?", (entry.stored_key,)).fetchone()
    if row is None:
        return entry
    state, attempts, digest, callback_url, intended_at, task_id, token, record, saved = row
    if digest != asked.digest:
        raise JournalError(
            f"this journal was made for other requests: it knows the key {key!r} with another model or input. "
            "Give this request another key, or the batch another journal"
        )
    ref = TaskRef(task_id, token) if task_id or token else None
    try:
        task = None if record is None else parse_task(as_dict(decode(record)))
        paths = paths_of(saved) if saved else ()
    except (TypeError, ValueError) as error:
        raise damage(f"item {key!r}: {error}") from error
    return Entry(key, digest, asked.input, False, state, attempts, callback_url, intended_at, ref, task, paths)


def _check_first(connection: Connection, key: str) -> None:
    """Compare the first request with the first one that the journal saw: the cheapest sign of other requests."""
    known = connection.execute("SELECT 1 FROM items WHERE key = ?", (key,)).fetchone()
    first = connection.execute("SELECT value FROM facts WHERE name = 'first'").fetchone()
    if first is None:
        connection.execute("INSERT INTO facts VALUES ('first', ?)", (key,))
    elif not known and first != (key,):
        raise JournalError(
            f"this journal was made for other requests: it does not know the first one (key {key!r}). "
            "Add new requests behind the old ones, or give this batch another journal"
        )


def text_of(paths: Sequence[Path]) -> str:
    return encode([str(path) for path in paths]).decode()


def paths_of(text: str) -> tuple[Path, ...]:
    return tuple(map(Path, cast("list[str]", decode(text))))


def equals(connection: Connection, fingerprint: bytes, before: float) -> Equals:
    """Find what else could have made tasks that look like an item's. Runs sent after `before` could not."""
    sql = "SELECT task_id FROM {} WHERE fingerprint = ? AND task_id IS NOT NULL"
    ids = [row[0] for table in ("items", "former") for row in connection.execute(sql.format(table), (fingerprint,))]
    sql = """SELECT count(*), count(DISTINCT digest) FROM items
        WHERE fingerprint = ? AND state = 'undecided' AND intended_at < ?"""
    undecided, kinds = connection.execute(sql, (fingerprint, before)).fetchone()
    # Requests that differ only in what the service does not show cannot share its tasks: none may claim one.
    return Equals(ids, undecided if kinds == 1 else 0)


def contents(connection: Connection) -> tuple[dict[str, Spending], bool]:
    """Return what the items of each model have cost, and whether there is no item."""
    sql = "SELECT model, cost, count(*) FROM items WHERE cost IS NOT NULL AND state = 'succeeded' GROUP BY model, cost"
    spendings: dict[str, Spending] = {}
    for model, cost, count in connection.execute(sql):
        amount = as_decimal(cost)
        if amount is None:
            raise damage(f"an item of {model} has cost {cost!r}")
        spendings[model] = spendings.get(model, Spending()) + Spending(amount * count, count)
    return spendings, connection.execute("SELECT NOT EXISTS (SELECT 1 FROM items)").fetchone() == (1,)
