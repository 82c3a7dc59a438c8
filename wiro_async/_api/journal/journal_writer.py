"""What a batch writes into its journal, and reads back when it is started again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio

from wiro_async._api.journal import journal_entries as entries
from wiro_async._api.journal.journal_entries import Entry, Equals, Spending
from wiro_async._api.journal.journal_schema import State, prepare
from wiro_async._errors import JournalError
from wiro_async._protocol.submission import journal_keys
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import encode
from wiro_async._transport import clock
from wiro_async._transport.sqlite import Connection, Database

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
            self.spendings, self._is_new = await self._database.do(entries.contents)
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
        return await self._database.do(
            lambda connection: entries.times_taken(connection, journal_keys.storable(own_key)) > 1
        )

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
                lambda connection: entries.entered(connection, index, own_key, digest, self._is_new, is_repeated)
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

    def end(self, entry: Entry, state: State, task: TaskInfo | None, error: Exception | None) -> None:
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
        return frozenset(entries.paths_of(row[0]) if row else ())

    async def plan(self, entry: Entry, paths: Sequence[Path]) -> None:
        """Its outputs are about to be saved: returns once that is on the disk."""
        await self._database.do(_statement(PLAN, (entry.stored_key, entries.text_of(paths))))

    def save(self, entry: Entry, paths: Sequence[Path]) -> None:
        """Its outputs were saved."""
        self._database.put(_statement(SAVE, (entries.text_of(paths), entry.stored_key)))

    async def equals(self, intent: Intent) -> Equals:
        """What else could have made the tasks that look like this item's."""
        fingerprint = journal_keys.short(intent.fingerprint)
        return await self._database.do(lambda connection: entries.equals(connection, fingerprint, self.opened_at))


def _statement(sql: str, values: tuple[object, ...]) -> Callable[[Connection], None]:
    def write(connection: Connection) -> None:
        connection.execute(sql, values)

    return write
