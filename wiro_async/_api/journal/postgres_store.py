"""A journal in PostgreSQL, which any number of sessions, processes and machines share.

Only the moment between an intent and its task is exclusive: the session that wrote the intent holds a lease, and checks
it right before the run leaves. Everything later may be done by anybody, and by several at once, as it only repeats what
the service says of the task.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import weakref
from collections.abc import AsyncIterator, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import anyio
import attrs

from wiro_async._api.journal import postgres_statements as sql
from wiro_async._api.journal.postgres_lease import TRUST, PostgresLease
from wiro_async._engine.background.change import Change
from wiro_async._errors import JournalError
from wiro_async._protocol.journal.record import Intention, KeyEnd, LookAlikes, Record, Spending, State, Witness
from wiro_async._protocol.submission.journal_keys import storable
from wiro_async._protocol.submission.seen_ids import run_upward
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import decode, encode
from wiro_async._protocol.values.parsing import as_decimal, as_dict, as_texts
from wiro_async._transport import clock
from wiro_async._transport.postgres.postgres_connection import PostgresTiming, Row
from wiro_async._transport.postgres.postgres_errors import DatabaseUrl
from wiro_async._transport.postgres.postgres_thread import Postgres
from wiro_async._tuning import Tuning

logger = logging.getLogger("wiro_async")
PRUNED_AT_ONCE = 5000
PAGE_SIZE = 500


class PostgresStore:
    """The records of a journal in one database.

    Args:
        url: the URL of the database, with its password.
    """

    def __init__(self, url: str, tuning: Tuning) -> None:
        self._tuning = tuning
        self._changes = changes = _Changes()
        self._lease = lease = PostgresLease(tuning.journal_lease)  # the thread must not keep the store itself alive
        timing = PostgresTiming(
            connect=tuning.journal_connect,
            statement=tuning.journal_statement,
            pulse=tuning.journal_pulse,
            pause=tuning.journal_pause,
            max_pause=tuning.journal_max_pause,
            close=tuning.journal_close,
            batch=tuning.journal_batch,
        )
        self._database = Postgres(
            DatabaseUrl(url),
            timing,
            prepare=lease.begin,
            pulse=lease.renew,
            farewell=lease.end,
            channel=lambda: lease.place.channel,
            on_news=changes.report,
        )
        self._sql = lease.place.sql
        self._held: dict[str, tuple[int, str]] = {}  # what may be sent or searched for: its fence and its owner
        weakref.finalize(self, self._database.abandon)

    @property
    def name(self) -> str:
        """Its URL without the user, the password and the options."""
        return str(self._database.url)

    async def open(self) -> None:
        """Connect, make the tables if they are missing, and take a lease. Raises `JournalError`."""
        await self._database.open()
        self._sql = self._lease.place.sql

    async def aclose(self) -> None:
        """Write what is still to be written, within a bounded time. Raises `JournalError` if that failed."""
        await self._database.aclose()

    def linger(self) -> None:
        """Do nothing: others may open it at any time."""

    async def read(self, keys: Collection[str]) -> Mapping[str, Record]:
        """Read the records of some keys, in one round trip."""
        if len(keys) == 1:  # shares its round trip with others
            (key,) = keys
            row = await self._do(sql.READ_ONE, key, self._tuning.journal_lease)
            return {} if row is None else {key: self._record(row)}
        rows = await self._fetch(sql.READ, list(keys), self._tuning.journal_lease)
        return {row["key"]: self._record(row) for row in rows}

    async def intend(self, intention: Intention, seen: Record | None) -> Record:
        """Make a key undecided and ours. Otherwise its record comes back as it is, and not ours."""
        key, turn = intention.key, uuid4().hex
        fence, state = (0, "") if seen is None else (seen.fence, seen.state)
        values: tuple[object, ...] = (fence, turn, self._lease.owner, intention.model, intention.digest)
        values += (intention.input.decode(), intention.fingerprint, intention.shape, intention.callback_url)
        last_id_seen = None if intention.last_id_seen is None else str(intention.last_id_seen)
        values += (intention.intended_at, last_id_seen, state)
        while True:
            try:
                row = await self._do(sql.INTEND, key, *values)
            except BaseException:
                # It may have been written, or may be written yet: nobody knows of it, so nothing will be sent.
                self._put(sql.WITHDRAW, key, turn, clock.now(), *self._news(key))
                raise
            if row is not None:
                return self._hold(row)
            present = (await self.read([key])).get(key)
            if present is not None and present.is_ours:  # another caller of this session has it
                return attrs.evolve(present, is_ours=False, lease=self._tuning.journal_lease)
            if present is not None:  # else it was just removed
                return present

    async def check(self, record: Record) -> None:
        """Raise `JournalError` if the lease does not cover the run any more, or the database is away."""
        lease, held = self._lease, self._held.get(record.key)
        is_fresh = self._database.is_well and lease.left > TRUST / 2 * self._tuning.journal_lease
        if not is_fresh and not await self._database.beat(self._tuning.journal_away):
            raise JournalError(f"the journal {self.name} does not respond, so the run was not sent. Try it again")
        if held != (record.fence, lease.owner) or lease.left <= 0:
            raise JournalError(
                f"the run was not sent: the lease of this session in the journal {self.name} expired, as the process "
                "was stopped or could not reach the database, and another session may have searched for the run. Run "
                "it again with the same key"
            )

    async def take_over(self, record: Record) -> Record | None:
        """Make a record ours, if nobody may send it any more."""
        values = (self._lease.owner, self._tuning.journal_lease, record.fence, uuid4().hex)
        row = await self._do(sql.TAKE_OVER, record.key, *values)
        return None if row is None else self._hold(row)

    async def record_task(self, record: Record, ref: TaskRef) -> bool:
        """Make a record submitted. While the database is away, that is written later: the task is followed anyway."""
        key = record.key
        self._held.pop(key, None)
        values = (key, ref.task_id, ref.token, *self._news(key))
        written = self._database.write(self._sql(sql.SUBMIT), key, values)
        await asyncio.wait([written], timeout=self._tuning.journal_task_wait)
        if not written.done():
            logger.warning("task %s is followed, but not in the journal %s yet", ref.task_id, self.name)
            return True
        if written.result():
            return True
        present = (await self.read([key])).get(key)
        return present is not None and present.ref is not None and present.ref.task_id == ref.task_id

    def end(self, record: Record, ending: KeyEnd) -> None:
        """Request that the end of a record's task is written, or a refusal. Does not wait."""
        self._held.pop(record.key, None)
        task, ref = ending.task, record.ref or TaskRef()
        ids = (ref.task_id, ref.token) if task is None else (task.id or ref.task_id, task.token or ref.token)
        cost = None if task is None or task.cost is None else str(task.cost)
        raw = None if task is None else encode(task.raw).decode()
        error = None if ending.error is None else _storable(ending.error)
        values = (*ids, ending.state, ending.ended_at, cost, raw, error, record.fence)
        self._put(sql.END, record.key, *values, *self._news(record.key))

    async def refuse(self, record: Record) -> Record | None:
        """Make a record refused, as it certainly has no task."""
        self._held.pop(record.key, None)
        row = await self._do(sql.REFUSE, record.key, record.fence, clock.now(), *self._news(record.key))
        return None if row is None else self._record(row)

    async def park(self, record: Record, candidates: Sequence[str], error: str) -> None:
        """Make a record unknown, with the ids of tasks that may be its own."""
        self._held.pop(record.key, None)
        values = (record.fence, encode(list(candidates)).decode(), _storable(error))
        await self._do(sql.PARK, record.key, *values, *self._news(record.key))

    async def look_alikes(self, fingerprint: bytes) -> LookAlikes:
        """Find what else looks like a run."""
        rows = await self._fetch(sql.LOOK_ALIKES, fingerprint)
        rivals = {row["value"]: row["digest"] for row in rows if row["kind"] == "rival"}
        ids = [row["value"] for row in rows if row["kind"] == "task"]
        return LookAlikes(ids, list(rivals), len(set(rivals.values())) <= 1)

    async def witnesses(self, shape: bytes, after: int) -> Sequence[Witness]:
        """Return some tasks whose runs were sent later. What a take-over found was sent at its intent."""
        rows = await self._fetch(sql.WITNESSES, shape, after)
        return [Witness(TaskRef(row["task_id"], row["token"]), row["fingerprint"], row["position"]) for row in rows]

    async def ids_run_upward(self) -> bool | None:
        """Whether later tasks have larger ids."""
        rows = await self._fetch(sql.IDS_IN_ORDER)
        return run_upward((int(row["last_id_seen"]), row["task_id"]) for row in rows)

    async def wait(self, record: Record, seconds: float | None) -> None:
        """Return once the record has changed, or somebody's lease has expired."""
        key = record.key
        with anyio.move_on_after(seconds), self._changes.of(_mark(key)) as change:
            while True:
                present = (await self.read([key])).get(key)
                if present is None or (present.fence, present.state) != (record.fence, record.state):
                    return
                if present.state == "undecided" and not present.is_ours and present.lease <= 0:
                    return
                with anyio.move_on_after(min(self._tuning.journal_poll, present.lease or self._tuning.journal_poll)):
                    await change.wait()

    async def first_key(self, key: str) -> str:
        """Return the key itself: many programs share this journal."""
        return key

    async def planned(self, key: str) -> frozenset[Path]:
        """Return where outputs of a key were to be saved."""
        row = await self._do(sql.PLANNED, key)
        return frozenset(_paths(None if row is None else row[1]))

    async def plan(self, key: str, paths: Sequence[Path]) -> None:
        """Write where outputs are about to be saved."""
        await self._do(sql.PLAN, key, encode([str(path) for path in paths]).decode())

    def save(self, key: str, paths: Sequence[Path]) -> None:
        """Request that it is written where outputs were saved."""
        self._put(sql.SAVE, key, encode([str(path) for path in paths]).decode())

    async def largest_id(self) -> int | None:
        """Return the largest task id of all records."""
        ids = [row[0] for row in await self._fetch(sql.LARGEST_ID)]
        return max(map(int, ids), default=None) if all(map(str.isdecimal, ids)) else None

    async def items(self, state: State | None = None) -> AsyncIterator[Record]:
        """Iterate over the records, in the order of their first intent."""
        number = 0
        while rows := await self._fetch(sql.PAGE, number, state, PAGE_SIZE, self._tuning.journal_lease):
            for row in rows:
                yield self._record(row)
            number = rows[-1]["number"]

    async def counts(self) -> Mapping[State, int]:
        """Count the records in each state."""
        return {row[0]: row[1] for row in await self._fetch(sql.COUNTS)}

    async def spendings(self) -> Mapping[str, Spending]:
        """Return what the succeeded runs of each model have cost."""
        return {row[0]: Spending(Decimal(row[1]), row[2]) for row in await self._fetch(sql.SPENDINGS)}

    async def decide(self, key: str, ref: TaskRef | None) -> bool:
        """Make an undecided or unknown record submitted or refused, if nobody may send it any more."""
        state, ids = ("refused", (None, None)) if ref is None else ("submitted", (ref.task_id, ref.token))
        ended_at = clock.now() if ref is None else None
        values = (self._lease.owner, self._tuning.journal_lease, state, *ids, uuid4().hex, ended_at)
        return await self._do(sql.DECIDE, key, *values, *self._news(key)) is not None

    async def forget(self, key: str) -> bool:
        """Remove a record that has ended."""
        return await self._do(sql.FORGET, key) is not None

    async def prune(self, before: float) -> int:
        """Remove all records that ended before a unix time."""
        removed = 0
        while number := (await self._fetch(sql.PRUNE, before, PRUNED_AT_ONCE))[0][0]:
            removed += number
        return removed

    async def _do(self, text: str, key: str, *values: object) -> Row | None:
        return await self._database.do(self._sql(text), key, (key, *values), self._tuning.journal_away)

    async def _fetch(self, text: str, *values: object) -> list[Row]:
        return await self._database.fetch(self._sql(text), values, self._tuning.journal_away)

    def _put(self, text: str, key: str, *values: object) -> None:
        self._database.put(self._sql(text), key, (key, *values))

    def _news(self, key: str) -> tuple[str, str]:
        return self._lease.place.channel, _mark(key)

    def _hold(self, row: Row) -> Record:
        """Read a record that this session has just made its own."""
        record = self._record(row)
        self._held[record.key] = (record.fence, row["owner"])
        return record

    def _record(self, row: Row) -> Record:
        is_undecided, is_ours = row["state"] == "undecided", row["owner"] == self._lease.owner
        lease = row["lease"] if is_undecided and not is_ours and "lease" in row.keys() else None  # noqa: SIM118
        return Record(
            Intention(
                row["key"],
                row["model"],
                row["digest"],
                row["input"].encode(),
                row["fingerprint"],
                row["shape"],
                row["callback_url"],
                row["intended_at"],
                None if row["last_id_seen"] is None else int(row["last_id_seen"]),
            ),
            row["state"],
            row["attempts"],
            row["position"],
            row["fence"],
            is_undecided and is_ours,
            max(lease or 0.0, 0.0),
            TaskRef(row["task_id"], row["token"]) if row["task_id"] or row["token"] else None,
            row["ended_at"],
            as_decimal(row["cost"]),
            parse_task(as_dict(decode(row["task"]))) if row["task"] else None,
            row["error"],
            _paths(row["saved"]),
            as_texts(decode(row["candidates"])) if row["candidates"] else (),
        )


class _Changes:
    """Wakes those who wait for a change of a record."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Change, int]] = {}

    def report(self, mark: str | None) -> None:
        """A record with this mark has changed. None: any may have."""
        for change, _ in [*self._waiting.values()] if mark is None else filter(None, [self._waiting.get(mark)]):
            change.notify()

    @contextmanager
    def of(self, mark: str) -> Generator[Change]:
        """Wait for changes of records with this mark."""
        change, number = self._waiting.get(mark, (Change(), 0))
        self._waiting[mark] = (change, number + 1)
        try:
            yield change
        finally:
            change, number = self._waiting.pop(mark)
            if number > 1:
                self._waiting[mark] = (change, number - 1)


def _mark(key: str) -> str:
    """Return what notifications call a record: a name with a bounded length."""
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def _paths(text: str | None) -> tuple[Path, ...]:
    return tuple(map(Path, as_texts(decode(text)))) if text else ()


def _storable(text: str) -> str:
    return storable(text).replace("\0", "\\0")
