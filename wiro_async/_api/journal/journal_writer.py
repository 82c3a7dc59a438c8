"""What a batch writes into its journal, and reads back when it is started again.

Order is what counts: the intent is on the disk before the run is sent, the token before anything else happens. So those
two, and the plan of where outputs will lie, are awaited. Ends and saved paths are not: lost with the power, they are
read from the service again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio

from wiro_async._api.journal import journal_entries as entries
from wiro_async._api.journal.journal_entries import Asked, Entry, Equals, Spending
from wiro_async._api.journal.journal_schema import State, prepare
from wiro_async._errors import JournalError
from wiro_async._protocol.submission import journal_keys
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import encode
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport import clock
from wiro_async._transport.sqlite import Connection, Database

INTEND = "INSERT INTO items VALUES (?, ?, ?, ?, 'undecided', 1, ?, ?, ?, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
INTEND_AGAIN = """
UPDATE items SET state = 'undecided', attempts = attempts + ?, fingerprint = ?, callback_url = ?, intended_at = ?,
    task_id = NULL, token = NULL, ended_at = NULL, cost = NULL, record = NULL, error = NULL, saved = NULL WHERE key = ?
"""
REMEMBER = "INSERT INTO former SELECT fingerprint, task_id FROM items WHERE key = ? AND task_id IS NOT NULL"
SUBMIT = "UPDATE items SET state = 'submitted', task_id = ?, token = ? WHERE key = ?"
END = "UPDATE items SET state = ?, ended_at = ?, cost = ?, record = ?, error = ? WHERE key = ?"
PLAN = "INSERT OR REPLACE INTO planned VALUES (?, ?)"
SAVE = "UPDATE items SET saved = ? WHERE key = ?"


class JournalWriter:
    """A journal open for one batch.

    Args:
        busy_seconds: how long another program may lock the file before a write fails.
    """

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self._database = Database(path, prepare, busy_seconds)
        self._holds = 0
        self._left = False
        self._first_seen = anyio.Event()
        self._refusal: JournalError | None = None
        self._opened_at = 0.0
        self.locked_at = 0.0  # the loop time from which on no other process could send runs
        self.spendings: Mapping[str, Spending] = {}  # what earlier processes have spent, by model
        self._is_new = False

    async def open(self) -> None:
        """Lock the file, check it, read what it holds. Errors and cancelling leave it free. Raises `JournalError`."""
        await self._database.open()
        self._opened_at, self.locked_at = clock.now(), anyio.current_time()
        try:
            self.spendings, self._is_new = await self._database.do(entries.contents)
        except BaseException:
            with suppress(JournalError):
                await self._database.aclose()
            raise

    async def aclose(self) -> None:
        """Close the file once the last run in flight is settled. Raises `JournalError` if not all was written."""
        self._left = True
        if self._holds:
            self._database.linger()
        else:
            await self._database.aclose()

    def hold(self) -> None:
        """Keep the file open, and locked, until a run that is being sent is settled."""
        self._holds += 1

    def release(self) -> None:
        self._holds -= 1
        if self._left and not self._holds:
            self._database.close()

    async def claim(self, index: int, own_key: str) -> bool:
        """Claim a user's key before slow work. Return whether an earlier request of the batch has it."""
        await self._wait_for_first(index)
        stored_key = journal_keys.storable(own_key)
        return await self._database.do(lambda connection: entries.times_taken(connection, stored_key) > 1)

    async def look_up(self, asked: Asked) -> Entry:
        """Return the entry of a request. Raises `JournalError` if the journal was made for other requests."""
        await self._wait_for_first(asked.index)
        if self._refusal is not None:
            raise self._refusal
        try:
            return await self._database.do(lambda connection: entries.look_up(connection, asked, self._is_new))
        except JournalError as error:
            self._refusal = error
            raise
        finally:
            self._first_seen.set()

    async def _wait_for_first(self, index: int) -> None:
        # The first request shows whether the journal belongs to these requests: the others wait for that.
        if index:
            await self._first_seen.wait()

    def pass_over(self, index: int) -> None:
        """Note that a request cannot be looked up. If it is the first one, the others need not wait for it."""
        if index == 0:
            self._first_seen.set()

    async def intend(self, entry: Entry, model: str, intent: Intent) -> None:
        """Write that an item is about to be sent. Returns once that is on the disk."""
        key, now = entry.stored_key, clock.now()
        is_known, has_task = entry.state is not None, entry.ref is not None
        values = (journal_keys.short(intent.fingerprint), intent.callback_url, now)

        def write(connection: Connection) -> None:
            if is_known:
                connection.execute(REMEMBER, (key,))
                connection.execute(INTEND_AGAIN, (has_task, *values, key))
            else:
                connection.execute(INTEND, (key, entry.digest, model, entry.input.decode(), *values))

        await self._database.do(write)
        entry.intend(intent.callback_url, now)

    async def record_task(self, entry: Entry, ref: TaskRef) -> None:
        """Write an item's task. Returns once that is on the disk."""
        entry.set_task(ref)
        await self._database.do(_statement(SUBMIT, (ref.task_id, ref.token, entry.stored_key)))

    def end(self, entry: Entry, state: State, task: TaskInfo | None, error: Exception | None) -> None:
        """Write that an item's task has ended, or that the service refused to make one."""
        entry.end(state)
        cost = None if task is None or task.cost is None else str(task.cost)
        record = None if task is None else encode(task.raw).decode()
        problem = None if error is None else journal_keys.storable(str(error))
        values = (state, clock.now(), cost, record, problem, entry.stored_key)
        self._database.put(_statement(END, values))

    async def planned(self, entry: Entry) -> frozenset[Path]:
        """Return where outputs of this item were to be saved: files that lie there belong to it."""
        sql, key = "SELECT paths FROM planned WHERE key = ?", entry.stored_key
        row = await self._database.do(lambda connection: connection.execute(sql, (key,)).fetchone())
        return frozenset(entries.paths_of(row[0]) if row else ())

    async def plan(self, entry: Entry, paths: Sequence[Path]) -> None:
        """Write where outputs are about to be saved. Returns once that is on the disk."""
        await self._database.do(_statement(PLAN, (entry.stored_key, entries.text_of(paths))))

    def save(self, entry: Entry, paths: Sequence[Path]) -> None:
        """Write where outputs were saved."""
        self._database.put(_statement(SAVE, (entries.text_of(paths), entry.stored_key)))

    async def equals(self, intent: Intent) -> Equals:
        """Find what else could have made tasks that look like this item's."""
        fingerprint = journal_keys.short(intent.fingerprint)
        return await self._database.do(lambda connection: entries.equals(connection, fingerprint, self._opened_at))


def _statement(sql: str, values: tuple[object, ...]) -> Callable[[Connection], None]:
    def write(connection: Connection) -> None:
        connection.execute(sql, values)

    return write
