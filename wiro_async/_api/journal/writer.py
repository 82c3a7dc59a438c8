"""What a batch writes into its journal, and reads back when it is started again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import cast

import anyio
import attrs

from wiro_async._api.journal.schema import State, damage, prepare
from wiro_async._engine.task_calls import TaskRef
from wiro_async._errors import JournalError
from wiro_async._protocol import journal_keys
from wiro_async._protocol.entities import Task
from wiro_async._protocol.json import decode, encode
from wiro_async._protocol.matching import Intent
from wiro_async._protocol.values import as_decimal, as_dict
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
PLAN = "INSERT OR REPLACE INTO planned VALUES (?, ?)"
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


class JournalWriter:
    """A journal open for one batch.

    Attributes:
        spendings: what earlier processes have spent, by model.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, prepare)
        self._holds = 0
        self._left = False
        self._first = anyio.Event()
        self._refusal: JournalError | None = None
        self.opened_at = 0.0
        self.locked_at = 0.0
        self.spendings: Mapping[str, Spending] = {}
        self._is_new = False

    async def open(self) -> None:
        """Lock it, check it, see what it holds; an error, or cancelling, leaves it free. Raises `JournalError`."""
        await self._database.open()
        self.opened_at, self.locked_at = clock.now(), anyio.current_time()
        try:
            self.spendings, self._is_new = await self._database.do(_contents)
        except BaseException:
            with suppress(JournalError):
                await self._database.aclose()
            raise

    async def aclose(self) -> None:
        """Close it, when the last run under way has been settled. Raises `JournalError` if not all was written."""
        self._left = True
        if self._holds:
            self._database.linger()
        else:
            await self._database.aclose()

    def hold(self) -> None:
        """Keep it, and its lock, until a run that is being sent is settled."""
        self._holds += 1

    def release(self) -> None:
        """That run is settled."""
        self._holds -= 1
        if self._left and not self._holds:
            self._database.close()

    async def claim(self, index: int, own_key: str) -> bool:
        """Take a user's key, before what takes time; whether an earlier request of the batch has it."""
        await self._turn(index)
        return await self._database.do(lambda connection: _times(connection, journal_keys.storable(own_key)) > 1)

    async def enter(self, index: int, own_key: str | None, digest: str, is_repeated: bool | None = None) -> Entry:
        """Look an item up.

        Args:
            is_repeated: what `claim` said of its key, if that was asked.

        Raises:
            JournalError: the journal was made for other requests.
        """
        await self._turn(index)
        if self._refusal is not None:
            raise self._refusal
        try:
            return await self._database.do(
                lambda connection: _entered(connection, index, own_key, digest, self._is_new, is_repeated)
            )
        except JournalError as error:
            self._refusal = error
            raise
        finally:
            self._first.set()

    async def _turn(self, index: int) -> None:
        """The first request tells whether this is their journal at all."""
        if index:
            await self._first.wait()

    def pass_over(self, index: int) -> None:
        """A request cannot be looked up; if it is the first, the others need not wait for it."""
        if index == 0:
            self._first.set()

    async def intend(self, entry: Entry, model: str, intent: Intent) -> None:
        """An item is about to be sent: returns once that is on the disk."""
        key, now, again = entry.stored_key, clock.now(), entry.ref is not None
        values = (journal_keys.short(intent.fingerprint), intent.callback_url, now)

        def write(connection: Connection) -> None:
            if entry.state is None:
                connection.execute(INTEND, (key, entry.digest, model, entry.given.decode(), *values))
                return
            connection.execute(REMEMBER, (key,))
            connection.execute(INTEND_AGAIN, (again, *values, key))

        await self._database.do(write)
        entry.attempts += again or not entry.attempts
        entry.state, entry.callback_url, entry.intended_at, entry.ref = "undecided", intent.callback_url, now, None

    async def note(self, entry: Entry, ref: TaskRef) -> None:
        """Its task is known: returns once that is on the disk."""
        entry.state, entry.ref = "submitted", ref
        await self._database.do(_statement(NOTE, (ref.task_id, ref.token, entry.stored_key)))

    def end(self, entry: Entry, state: State, task: Task | None, error: Exception | None) -> None:
        """Its task has ended, or the service refused to make one."""
        entry.state = state
        cost = None if task is None or task.cost is None else str(task.cost)
        record = None if task is None else encode(task.raw).decode()
        told = None if error is None else journal_keys.storable(str(error))
        values = (state, clock.now(), cost, record, told, entry.stored_key)
        self._database.put(_statement(END, values))

    async def planned(self, entry: Entry) -> frozenset[Path]:
        """Where outputs of this item were to lie: what lies there is its own."""
        sql, key = "SELECT paths FROM planned WHERE key = ?", entry.stored_key
        row = await self._database.do(lambda connection: connection.execute(sql, (key,)).fetchone())
        return frozenset(_paths(row[0]) if row else ())

    async def plan(self, entry: Entry, paths: Sequence[Path]) -> None:
        """Its outputs are about to be saved: returns once that is on the disk."""
        await self._database.do(_statement(PLAN, (entry.stored_key, _text(paths))))

    def save(self, entry: Entry, paths: Sequence[Path]) -> None:
        """Its outputs were saved."""
        self._database.put(_statement(SAVE, (_text(paths), entry.stored_key)))

    async def equals(self, intent: Intent) -> Equals:
        """What else could have made the tasks that look like this item's."""
        fingerprint = journal_keys.short(intent.fingerprint)
        return await self._database.do(lambda connection: _equals(connection, fingerprint, self.opened_at))


def _statement(sql: str, values: tuple[object, ...]) -> Callable[[Connection], None]:
    def write(connection: Connection) -> None:
        connection.execute(sql, values)

    return write


def _times(connection: Connection, stored_key: str) -> int:
    """How often a key was taken by this batch, this time included."""
    times: int = connection.execute(TAKE, (stored_key,)).fetchone()[0]
    return times


def _entered(
    connection: Connection, index: int, own_key: str | None, digest: str, is_new: bool, is_repeated: bool | None
) -> Entry:
    if own_key is None:
        key = journal_keys.nth(digest, _times(connection, digest))
    else:
        key = own_key
        if is_repeated is None:
            is_repeated = _times(connection, journal_keys.storable(key)) > 1
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
        entry.task = None if record is None else Task.from_wire(as_dict(decode(record)))
        entry.saved = _paths(saved) if saved else ()
    except (TypeError, ValueError) as error:
        raise damage(f"item {entry.key!r}: {error}") from error


def _text(paths: Sequence[Path]) -> str:
    return encode([str(path) for path in paths]).decode()


def _paths(text: str) -> tuple[Path, ...]:
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


def _equals(connection: Connection, fingerprint: bytes, before: float) -> Equals:
    sql = "SELECT task_id FROM {} WHERE fingerprint = ? AND task_id IS NOT NULL"
    ids = [row[0] for table in ("items", "former") for row in connection.execute(sql.format(table), (fingerprint,))]
    sql = """SELECT count(*), count(DISTINCT digest) FROM items
        WHERE fingerprint = ? AND state = 'undecided' AND intended_at < ?"""
    undecided, kinds = connection.execute(sql, (fingerprint, before)).fetchone()
    return Equals(ids, undecided if kinds == 1 else 0)


def _contents(connection: Connection) -> tuple[dict[str, Spending], bool]:
    """What the items of each model have cost, and whether there is no item."""
    sql = "SELECT model, cost, count(*) FROM items WHERE cost IS NOT NULL AND state = 'succeeded' GROUP BY model, cost"
    spendings: dict[str, Spending] = {}
    for model, cost, count in connection.execute(sql):
        amount = as_decimal(cost)
        if amount is None:
            raise damage(f"an item of {model} has cost {cost!r}")
        spendings[model] = spendings.get(model, Spending()) + Spending(amount * count, count)
    return spendings, connection.execute("SELECT NOT EXISTS (SELECT 1 FROM items)").fetchone() == (1,)
