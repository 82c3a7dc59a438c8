"""What a batch writes into its journal, and reads back when it is started again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import cast

import anyio
import attrs

from wiro_async._api.journal.schema import State, prepare
from wiro_async._engine.task_calls import TaskRef
from wiro_async._errors import JournalError
from wiro_async._protocol import journal_keys
from wiro_async._protocol.entities import Task
from wiro_async._protocol.json import decode, encode
from wiro_async._protocol.matching import Intent
from wiro_async._protocol.values import as_dict
from wiro_async._transport import clock
from wiro_async._transport.sqlite import Connection, Database

ROW = "state, attempts, digest, callback_url, intended_at, task_id, token, record, saved"
INTEND = "INSERT INTO items VALUES (?, ?, ?, ?, 'undecided', 1, ?, ?, ?, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
INTEND_AGAIN = """
UPDATE items SET state = 'undecided', attempts = attempts + ?, fingerprint = ?, callback_url = ?, intended_at = ?,
    task_id = NULL, token = NULL, ended_at = NULL, cost = NULL, record = NULL, error = NULL, saved = NULL WHERE key = ?
"""
REMEMBER = "INSERT INTO former SELECT fingerprint, task_id FROM items WHERE key = ? AND task_id IS NOT NULL"
NOTE = "UPDATE items SET state = 'submitted', task_id = ?, token = ? WHERE key = ?"
END = "UPDATE items SET state = ?, ended_at = ?, cost = ?, record = ?, error = ? WHERE key = ?"
SAVE = "UPDATE items SET saved = ? WHERE key = ?"
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
    task: Task | None = None
    saved: tuple[Path, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether its last task has ended, or was never made."""
        return self.state not in ("undecided", "submitted")


@attrs.frozen
class Equals:
    """What else looks like an undecided item on the service.

    Attributes:
        task_ids: tasks that belong to other items, or to earlier attempts.
        undecided: how many items left by the earlier process may claim a task that belongs to none.
    """

    task_ids: Sequence[str]
    undecided: int


class JournalWriter:
    """A journal open for one batch."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, prepare)
        self._holds = 0
        self._left = False
        self._first = anyio.Event()
        self._refusal: JournalError | None = None
        self.opened_at = 0.0
        self.locked_at = 0.0
        self.spent = Decimal(0)
        self._is_new = False

    async def open(self) -> None:
        """Lock it, check it, see what it holds. Raises `JournalError`."""
        await self._database.open()
        self.opened_at, self.locked_at = clock.now(), anyio.current_time()
        self.spent, self._is_new = await self._database.do(_contents)

    async def aclose(self) -> None:
        """Close it, when the last run under way has been settled. Raises `JournalError` if not all was written."""
        self._left = True
        if not self._holds:
            await self._database.aclose()

    def hold(self) -> None:
        """Keep it, and its lock, until a run that is being sent is settled."""
        self._holds += 1

    def release(self) -> None:
        """That run is settled."""
        self._holds -= 1
        if self._left and not self._holds:
            self._database.close()

    async def enter(self, index: int, own_key: str | None, digest: str) -> Entry:
        """Look an item up.

        Raises:
            JournalError: the journal was made for other requests.
        """
        if index:
            await self._first.wait()
        if self._refusal is not None:
            raise self._refusal
        try:
            return await self._database.do(
                lambda connection: _entered(connection, index, own_key, digest, self._is_new)
            )
        except JournalError as error:
            self._refusal = error
            raise
        finally:
            self._first.set()

    def pass_over(self, index: int) -> None:
        """A request cannot be looked up; if it is the first, the others need not wait for it."""
        if index == 0:
            self._first.set()

    async def intend(self, entry: Entry, model: str, intent: Intent) -> None:
        """An item is about to be sent: returns once that is on the disk."""
        now, again = clock.now(), entry.ref is not None
        values = (journal_keys.short(intent.fingerprint), intent.callback_url, now)

        def write(connection: Connection) -> None:
            if entry.state is None:
                connection.execute(INTEND, (entry.key, entry.digest, model, entry.given.decode(), *values))
                return
            connection.execute(REMEMBER, (entry.key,))
            connection.execute(INTEND_AGAIN, (again, *values, entry.key))

        await self._database.do(write)
        entry.attempts += again or not entry.attempts
        entry.state, entry.callback_url, entry.intended_at, entry.ref = "undecided", intent.callback_url, now, None

    async def note(self, entry: Entry, ref: TaskRef) -> None:
        """Its task is known: returns once that is on the disk."""
        entry.state, entry.ref = "submitted", ref
        await self._database.do(_statement(NOTE, (ref.task_id, ref.token, entry.key)))

    def end(self, entry: Entry, state: State, task: Task | None, error: Exception | None) -> None:
        """Its task has ended, or the service refused to make one."""
        entry.state = state
        cost = None if task is None or task.cost is None else str(task.cost)
        record = None if task is None else encode(task.raw).decode()
        values = (state, clock.now(), cost, record, None if error is None else str(error), entry.key)
        self._database.put(_statement(END, values))

    def save(self, entry: Entry, paths: Sequence[Path]) -> None:
        """Its outputs were saved."""
        self._database.put(_statement(SAVE, (encode([str(path) for path in paths]).decode(), entry.key)))

    async def equals(self, intent: Intent) -> Equals:
        """What else could have made the tasks that look like this item's."""
        fingerprint = journal_keys.short(intent.fingerprint)
        return await self._database.do(lambda connection: _equals(connection, fingerprint, self.opened_at))


def _statement(sql: str, values: tuple[object, ...]) -> Callable[[Connection], None]:
    def write(connection: Connection) -> None:
        connection.execute(sql, values)

    return write


def _entered(connection: Connection, index: int, own_key: str | None, digest: str, is_new: bool) -> Entry:
    times: int = connection.execute(TAKE, (own_key or digest,)).fetchone()[0]
    key = own_key or journal_keys.nth(digest, times)
    if index == 0:
        _check_first(connection, key)
    row = None if is_new else connection.execute(f"SELECT {ROW} FROM items WHERE key = ?", (key,)).fetchone()
    repeated = own_key is not None and times > 1
    if row is None:
        return Entry(key, digest, is_repeated=repeated)
    state, attempts, stored, callback_url, intended_at, task_id, token, record, saved = row
    if stored != digest:
        raise JournalError(
            f"this journal was made for other requests: it knows the key {key!r} with another model or input. "
            "Give this request another key, or the batch another journal"
        )
    ref = TaskRef(task_id, token) if task_id or token else None
    task = None if record is None else Task.from_wire(as_dict(decode(record)))
    paths = tuple(map(Path, cast("list[str]", decode(saved)))) if saved else ()
    return Entry(key, digest, b"{}", repeated, state, attempts, callback_url, intended_at, ref, task, paths)


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


def _equals(connection: Connection, fingerprint: bytes, before: float) -> Equals:
    sql = "SELECT task_id FROM {} WHERE fingerprint = ? AND task_id IS NOT NULL"
    ids = [row[0] for table in ("items", "former") for row in connection.execute(sql.format(table), (fingerprint,))]
    sql = """SELECT count(*), count(DISTINCT digest) FROM items
        WHERE fingerprint = ? AND state = 'undecided' AND intended_at < ?"""
    undecided, kinds = connection.execute(sql, (fingerprint, before)).fetchone()
    return Equals(ids, undecided if kinds == 1 else 0)


def _contents(connection: Connection) -> tuple[Decimal, bool]:
    """What its items have cost, and whether it has none."""
    rows = connection.execute("SELECT cost, count(*) FROM items GROUP BY cost").fetchall()
    return sum((Decimal(cost) * count for cost, count in rows if cost is not None), Decimal(0)), not rows
