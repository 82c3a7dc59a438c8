"""A journal in one file, which one process uses at a time.

Every operation runs in the file's own thread, and operations that are requested while one commit is synced share the
next one. Nobody else can send runs of this journal, so no lease is needed: what an earlier opening left undecided is
free to be taken over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import anyio
import attrs

from wiro_async._api.journal import sqlite_statements as sql
from wiro_async._api.journal.journal_schema import damage, prepare
from wiro_async._engine.background.change import Change
from wiro_async._protocol.journal.record import Intention, KeyEnd, LookAlikes, Record, Spending, State, Witness
from wiro_async._protocol.submission.journal_keys import storable
from wiro_async._protocol.submission.seen_ids import run_upward
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import decode, encode
from wiro_async._protocol.values.parsing import as_decimal, as_dict, as_texts
from wiro_async._transport import clock
from wiro_async._transport.sqlite import Connection, Database
from wiro_async._tuning import Tuning

T = TypeVar("T")
PAGE = 500


class SqliteStore:
    """The records of a journal in one file."""

    def __init__(self, path: Path, tuning: Tuning) -> None:
        self._path = path
        self._database = Database(path, prepare, tuning.journal_busy)
        self._owner = uuid4().hex
        self._tuning = tuning
        self._changed = Change()

    @property
    def name(self) -> str:
        """Its path."""
        return str(self._path)

    async def open(self) -> None:
        """Lock the file, check it, and make its tables if it is new. Raises `JournalError`."""
        await self._database.open()

    async def aclose(self) -> None:
        """Write what is still to be written, and release the lock. Raises `JournalError` if not all was written."""
        await self._database.aclose()

    def linger(self) -> None:
        """Let others in this process wait for its end."""
        self._database.linger()

    async def read(self, keys: Collection[str]) -> Mapping[str, Record]:
        """Read the records of some keys."""
        wanted = list(keys)
        return await self._database.do(lambda connection: {r.key: r for r in self._read(connection, wanted)})

    async def intend(self, intention: Intention, seen: Record | None) -> Record:
        """Make a key undecided and ours. Otherwise its record comes back as it is, and not ours."""
        key = intention.key

        def write(connection: Connection) -> Record:
            present = self._one(connection, key)
            if present is None and seen is None:
                connection.execute(sql.INSERT, self._values(intention))
            elif (
                present is not None
                and seen is not None
                and (present.fence, present.state) == (seen.fence, seen.state)
                and present.state in ("succeeded", "failed", "cancelled", "refused")
            ):
                connection.execute(sql.REMEMBER, (key,))
                connection.execute(sql.INTEND, (*self._values(intention), key))
            elif present is not None:
                lease = self._tuning.journal_lease if present.is_ours else 0.0
                return attrs.evolve(present, is_ours=False, lease=lease)
            made = self._one(connection, key)
            assert made is not None  # it was written just now, or somebody removed it and it was intended anew
            return made

        return await self._write(write)

    async def check(self, record: Record) -> None:
        """Raise `JournalError` if the file is not the one that was opened any more."""
        self._database.check()

    async def take_over(self, record: Record) -> Record | None:
        """Make a record ours, if nobody may send it any more."""

        def write(connection: Connection) -> Record | None:
            values = (self._owner, record.key, record.fence, self._owner)
            return self._one(connection, record.key) if connection.execute(sql.TAKE_OVER, values).rowcount else None

        return await self._write(write)

    async def record_task(self, record: Record, ref: TaskRef) -> bool:
        """Make a record submitted."""

        def write(connection: Connection) -> bool:
            connection.execute(sql.SUBMIT, (ref.task_id, ref.token, record.key))
            row = connection.execute(sql.IDS, (record.key,)).fetchone()
            return row is not None and row == (ref.task_id, ref.token)

        return await self._write(write)

    def end(self, record: Record, ending: KeyEnd) -> None:
        """Request that the end of a record's task is written, or a refusal. Does not wait."""
        task, ref = ending.task, record.ref or TaskRef()
        ids = (ref.task_id, ref.token) if task is None else (task.id or ref.task_id, task.token or ref.token)
        cost = None if task is None or task.cost is None else str(task.cost)
        raw = None if task is None else encode(task.raw).decode()
        error = None if ending.error is None else storable(ending.error)
        values = (ending.state, ending.ended_at, cost, raw, error, record.key)
        condition = (ending.state, record.fence) if ids == (None, None) else ids
        statement = sql.REFUSE_END if ids == (None, None) else sql.END
        self._put(statement, (*values, *condition))

    async def refuse(self, record: Record) -> Record | None:
        """Make a record refused, as it certainly has no task."""

        def write(connection: Connection) -> Record | None:
            values = (clock.now(), record.key, record.fence)
            return self._one(connection, record.key) if connection.execute(sql.REFUSE, values).rowcount else None

        return await self._write(write)

    async def park(self, record: Record, candidates: Sequence[str], error: str) -> None:
        """Make a record unknown, with the ids of tasks that may be its own."""
        values = (encode(list(candidates)).decode(), storable(error), record.key, record.fence)
        await self._write(lambda connection: connection.execute(sql.PARK, values))

    async def look_alikes(self, fingerprint: bytes) -> LookAlikes:
        """Find what else looks like a run."""

        def read(connection: Connection) -> LookAlikes:
            ids = [row[0] for row in connection.execute(sql.CLAIMED, (fingerprint, fingerprint))]
            rivals = dict(connection.execute(sql.RIVALS, (fingerprint,)))
            return LookAlikes(ids, list(rivals), len(set(rivals.values())) <= 1)

        return await self._database.do(read)

    async def witnesses(self, shape: bytes, after: int) -> Sequence[Witness]:
        """Return some tasks whose runs were sent later."""

        def read(connection: Connection) -> list[Witness]:
            rows = connection.execute(sql.WITNESSES, (shape, after))
            return [Witness(TaskRef(task_id, token), mark, position) for task_id, token, mark, position in rows]

        return await self._database.do(read)

    async def ids_run_upward(self) -> bool | None:
        """Whether later tasks have larger ids."""
        return run_upward(await self._database.do(lambda connection: connection.execute(sql.IDS_IN_ORDER).fetchall()))

    async def wait(self, record: Record, seconds: float | None) -> None:
        """Return once the record has changed: only this process changes it."""
        with anyio.move_on_after(seconds):
            while True:
                present = (await self.read([record.key])).get(record.key)
                if present is None or (present.fence, present.state) != (record.fence, record.state):
                    return
                await self._changed.wait()

    async def first_key(self, key: str) -> str:
        """Return the key of the first request of all batches. Keeps `key` if there is none."""

        def write(connection: Connection) -> str:
            connection.execute(sql.KEEP_FIRST, (key,))
            first: str = connection.execute(sql.FIRST).fetchone()[0]
            return first

        return await self._database.do(write)

    async def planned(self, key: str) -> frozenset[Path]:
        """Return where outputs of a key were to be saved."""
        row = await self._database.do(lambda connection: connection.execute(sql.PLANNED, (key,)).fetchone())
        return frozenset(map(Path, as_texts(decode(row[0])))) if row else frozenset()

    async def plan(self, key: str, paths: Sequence[Path]) -> None:
        """Write where outputs are about to be saved."""
        text = encode([str(path) for path in paths]).decode()
        await self._database.do(lambda connection: connection.execute(sql.PLAN, (key, text)))

    def save(self, key: str, paths: Sequence[Path]) -> None:
        """Request that it is written where outputs were saved."""
        self._put(sql.SAVE, (encode([str(path) for path in paths]).decode(), key))

    async def largest_id(self) -> int | None:
        """Return the largest task id of all records."""
        row = await self._database.do(lambda connection: connection.execute(sql.LARGEST_ID).fetchone())
        return None if row[0] is None or row[1] else int(row[0])

    async def items(self, state: State | None = None) -> AsyncIterator[Record]:
        """Iterate over the records, in the order of their first intent."""
        last = 0
        while True:
            values = (last, state, state, PAGE)

            def read(connection: Connection, values: tuple[Any, ...] = values) -> list[tuple[int, Record]]:
                return [(row[-1], self._record(row)) for row in connection.execute(sql.PAGE, values)]

            page = await self._database.do(read)
            if not page:
                return
            for _, record in page:
                yield record
            last = page[-1][0]

    async def counts(self) -> Mapping[State, int]:
        """Count the records in each state."""
        return await self._database.do(lambda connection: dict(connection.execute(sql.COUNTS).fetchall()))

    async def spendings(self) -> Mapping[str, Spending]:
        """Return what the succeeded runs of each model have cost."""

        def read(connection: Connection) -> dict[str, Spending]:
            spendings: dict[str, Spending] = {}
            for model, cost, count in connection.execute(sql.SPENDINGS):
                amount = as_decimal(cost)
                if amount is None:
                    raise damage(f"an item of {model} has cost {cost!r}")
                spendings[model] = spendings.get(model, Spending()) + Spending(amount * count, count)
            return spendings

        return await self._database.do(read)

    async def decide(self, key: str, ref: TaskRef | None) -> bool:
        """Make an undecided or unknown record submitted or refused, if nobody may send it any more."""
        state, ids = ("refused", (None, None)) if ref is None else ("submitted", (ref.task_id, ref.token))
        values = (state, *ids, key, self._owner)
        return bool(await self._write(lambda connection: connection.execute(sql.DECIDE, values).rowcount))

    async def forget(self, key: str) -> bool:
        """Remove a record that has ended."""

        def write(connection: Connection) -> bool:
            connection.execute(sql.REMEMBER_ENDED, (key,))
            return bool(connection.execute(sql.FORGET, (key,)).rowcount)

        return await self._write(write)

    async def prune(self, before: float) -> int:
        """Remove all records that ended before a unix time."""

        def write(connection: Connection) -> int:
            connection.execute(sql.REMEMBER_OLD, (before,))
            return int(connection.execute(sql.PRUNE, (before,)).rowcount)

        return await self._write(write)

    async def _write(self, operation: Callable[[Connection], T]) -> T:
        try:
            return await self._database.do(operation)
        finally:
            self._changed.notify()

    def _put(self, statement: str, values: tuple[object, ...]) -> None:
        def write(connection: Connection) -> None:
            connection.execute(statement, values)

        self._database.put(write)
        self._changed.notify()

    def _values(self, intention: Intention) -> tuple[object, ...]:
        return (
            intention.key,
            intention.digest,
            intention.model,
            intention.input.decode(),
            intention.fingerprint,
            intention.callback_url,
            intention.intended_at,
            intention.shape,
            intention.last_id_seen,
            self._owner,
        )

    def _one(self, connection: Connection, key: str) -> Record | None:
        return next(iter(self._read(connection, [key])), None)

    def _read(self, connection: Connection, keys: Sequence[str]) -> list[Record]:
        rows = (connection.execute(sql.READ, (key,)).fetchone() for key in keys)
        return [self._record(row) for row in rows if row is not None]

    def _record(self, row: tuple[Any, ...]) -> Record:
        return record_of(row, self._owner)


def record_of(row: tuple[Any, ...], owner: str) -> Record:
    """Return the record of a row with the columns of `sqlite_statements.COLUMNS`. Raises `JournalError` for damage."""
    key, digest, model, input, state, attempts, fingerprint, callback_url, intended_at, task_id, token = row[:11]
    ended_at, cost, task, error, saved, shape, position, last_id_seen, held_by, fence, candidates = row[11:22]
    try:
        return Record(
            Intention(key, model, digest, input.encode(), fingerprint, shape, callback_url, intended_at, last_id_seen),
            state,
            attempts,
            position,
            fence,
            state == "undecided" and held_by == owner,
            0.0,
            TaskRef(task_id, token) if task_id or token else None,
            ended_at,
            as_decimal(cost),
            None if task is None else parse_task(as_dict(decode(task))),
            error,
            tuple(map(Path, as_texts(decode(saved)))) if saved else (),
            as_texts(decode(candidates)) if candidates else (),
        )
    except (AttributeError, TypeError, ValueError) as problem:
        raise damage(f"item {key!r}: {problem}") from problem
