"""One key, one bill: what a call with a key does, for single runs and for the items of batches.

`_protocol.journal.rules` decides each step from the key's record. This module carries the steps out: it reads, waits,
searches, and lets the caller send. Within a session one call at a time has a key in its hands, until the run that it
sends has a task or certainly none. Beyond the session the store keeps others away.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar, assert_never

import anyio
import attrs

from wiro_async._api.journal.store_places import make_store
from wiro_async._api.keys.key_log import KeyLog, KeyTaken
from wiro_async._api.keys.key_requests import KeyRequest
from wiro_async._api.keys.lost_runs import LostRuns
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.engine import Engine
from wiro_async._errors import InvalidInputError, UsageError, WiroError
from wiro_async._protocol.journal import rules
from wiro_async._protocol.journal.record import KeyEnd, Record
from wiro_async._protocol.journal.rules import (
    AwaitOwner,
    FindTask,
    FollowTask,
    ParkLeftover,
    ReplayEnd,
    SendRun,
)
from wiro_async._protocol.submission.intent import Intent
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport import clock
from wiro_async._types import OnUnknown

T = TypeVar("T")


@attrs.frozen
class KeyMade(Generic[T]):
    """The call has made the task."""

    record: Record
    task: T


class KeyedRuns:
    """The runs of one journal, as one session makes them.

    Attributes:
        place: the URL of a database, or the path of a file.
        store: open after `open`.
        sending: how many runs wait for their tasks.
    """

    def __init__(self, place: str | Path, engine: Engine) -> None:
        self.place = place
        self.store = store = make_store(place, engine.tuning)
        self._engine = engine
        self._tuning = engine.tuning
        self._lost = LostRuns(store, engine)
        self._busy: dict[str, anyio.Event] = {}  # keys that a call has in its hands
        self._in_flight: set[str] = set()  # those of them whose call has left before its request was settled
        self._opening = anyio.Lock()
        self._is_open = False
        self.sending = 0
        self._heads: defaultdict[str, tuple[float, int | None]] = defaultdict(lambda: (float("-inf"), None))
        self._head_turn = anyio.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether a call has a key in its hands."""
        return bool(self._busy)

    async def open(self) -> None:
        """Open the journal, once. Raises `JournalError`."""
        await self._engine.open()
        async with self._opening:
            if not self._is_open:
                await self.store.open()
                self._is_open = True
                self._engine.close_also(self, self.aclose)

    async def aclose(self) -> None:
        """Close the journal once nothing of its runs is in flight. Raises `JournalError` if not all was written."""
        async with self._opening:
            if self._is_open:
                while self._busy:
                    await next(iter(self._busy.values())).wait()
                self._is_open = False
                self._engine.is_closed(self)
                await self.store.aclose()

    async def begin(
        self,
        request: KeyRequest,
        calls: TaskCalls,
        intent: Callable[[], Awaitable[Intent]],
        send: Callable[[KeyLog], Awaitable[KeyMade[T]]],
        on_unknown: OnUnknown,
        *,
        keeps_failures: bool = False,
        set_aside: Callable[[], None] | None = None,
    ) -> KeyMade[T] | ReplayEnd | FollowTask:
        """Take the steps that the record of a key asks for, up to a task.

        Args:
            intent: what is searched for, where a run was lost.
            send: submits the run with this log, and returns what this method returns then.
            set_aside: called instead of a search; raises.

        Raises:
            KeyConflictError: the key belongs to another request.
            SubmissionUnknownError: it is not known whether there is a task.
        """
        await self.open()
        async with self._turn(request.key):
            while True:
                record = (await self.store.read([request.key])).get(request.key)
                step = rules.on_request(record, request.digest, keeps_failures)
                match step:
                    case SendRun(seen):
                        log = self._log(request, seen, calls)
                        self.sending += 1
                        try:
                            return await send(log)
                        except KeyTaken:
                            continue
                        finally:
                            self.sending -= 1
                            await log.leave()
                            if log.is_in_flight:
                                self._in_flight.add(request.key)
                            self._made(calls, log)
                    case ReplayEnd() | FollowTask():
                        return step
                    case ParkLeftover(record):
                        await self.store.park(record, (), "an earlier call could not write what became of it")
                    case AwaitOwner(record):
                        await self.store.wait(record, None)
                    case FindTask(record):
                        if set_aside is not None:
                            set_aside()
                        is_old = record.state == "unknown"  # then waiting for a list that lags was in vain before
                        await self._lost.find(record, await intent(), calls, on_unknown, partial(operator.or_, is_old))
                    case _:
                        assert_never(step)

    async def find(
        self,
        key: str,
        intent: Intent,
        calls: TaskCalls,
        on_unknown: OnUnknown,
        is_last_look: Callable[[bool], bool],
        grace: float,
    ) -> None:
        """Search for the task of a lost run, and write what is found. Arguments and errors as of `LostRuns.find`."""
        async with self._turn(key):
            record = (await self.store.read([key])).get(key)
            if record is not None and record.state in ("undecided", "unknown") and not record.is_ours:
                await self._lost.find(record, intent, calls, on_unknown, is_last_look, grace)

    def end(self, record: Record, task: TaskInfo, error: Exception | None = None) -> None:
        """Write how a task ended."""
        if record.task is None or record.state == "submitted":
            text = None if error is None else str(error)
            self.store.end(record, KeyEnd(rules.end_state(task), task, text, clock.now()))

    async def last_id_seen(self, calls: TaskCalls) -> int | None:
        """Return the largest task id of the account; 0 if it has no task, None if that cannot be known.

        It is asked for again where it is old: other programs make tasks, too.
        """
        account, seen = calls.client.account, calls.client.seen_ids
        async with self._head_turn:
            known_at, _ = self._heads[account]
            if anyio.current_time() - known_at > self._tuning.journal_head_age:
                least: int | None = None
                try:
                    head = await self._engine.list_reader.head(calls.urgent(self._tuning.journal_head_wait))
                    # The first row has the largest id only if the newest tasks come first.
                    if head.order == "newest first":
                        least = 0
                except WiroError:
                    pass
                self._heads[account] = anyio.current_time(), least
        return self._heads[account][1] if self._heads[account][1] is None else seen.largest or 0

    def _log(self, request: KeyRequest, seen: Record | None, calls: TaskCalls) -> KeyLog:
        return KeyLog(
            self.store,
            request,
            seen,
            partial(self.last_id_seen, calls),
            partial(self._release, request.key),
            self._busy.__contains__,
        )

    def _made(self, calls: TaskCalls, log: KeyLog) -> None:
        """A new task is the newest one: its id needs not be asked for."""
        least = self._heads[calls.client.account][1]
        if log.ref is not None and least is not None:
            self._heads[calls.client.account] = anyio.current_time(), least

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncGenerator[None]:
        """Take a key into hand. `KeyLog` gives it back where a run is in flight, and this context otherwise."""
        while (busy := self._busy.get(key)) is not None:
            await busy.wait()
        self._busy[key] = anyio.Event()
        try:
            yield
        finally:
            if key not in self._in_flight:
                self._release(key)

    def _release(self, key: str) -> None:
        self._in_flight.discard(key)
        busy = self._busy.pop(key, None)
        if busy is not None:
            busy.set()


def required(runs: KeyedRuns | None, what: str) -> KeyedRuns:
    """Return the journal of a session. Raises `UsageError` if it has none."""
    if runs is None:
        raise UsageError(f"{what} needs a journal: make the session with AsyncWiro(journal=…), a path or a URL")
    return runs


def check_key(key: object) -> str:
    """Return the key of a run as text. Raises `InvalidInputError` for what is none."""
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    if not isinstance(key, str) or not key:
        raise InvalidInputError(message=f"key is {key!r}; give text, such as the number of an order")
    return key
