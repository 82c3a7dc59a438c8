"""`AsyncWiro.journal`: what the journal of a session knows, and what a person decides."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import anyio

from wiro_async._api.journal.journal_reader import ItemFile, JournalItem, item_of
from wiro_async._api.keys.keyed_runs import KeyedRuns, check_key
from wiro_async._api.results.task_result import TaskResult
from wiro_async._api.tasks.task_context import TaskContext
from wiro_async._errors import JournalError, TaskTimeoutError
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.journal.record import Record, State
from wiro_async._protocol.submission.journal_keys import storable
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._public import public
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport import clock, threads


@public
@cuts_frames
class SessionJournal:
    """The journal of a session: `wiro.journal`. Several processes may share one that lies in PostgreSQL.

    Every method opens the journal if it is not open yet, and raises `JournalError` if it cannot be used.
    """

    def __init__(self, runs: KeyedRuns, context: TaskContext) -> None:
        self._runs = runs
        self._context = context

    def __repr__(self) -> str:
        return f"SessionJournal({self._runs.store.name!r})"

    async def get(self, key: str) -> JournalItem | None:
        """Return what is known of a key; None if it was never used."""
        record = await self._read(key)
        return None if record is None else item_of(record)

    async def items(self, state: State | None = None) -> AsyncIterator[JournalItem]:
        """Iterate over the items in the order in which they were first sent. Reads them as they are needed.

        Args:
            state: only items in this state.
        """
        await self._runs.open()
        async for record in self._runs.store.items(state):
            yield item_of(record)

    async def counts(self) -> Mapping[State, int]:
        """Count the items in each state. States without items are left out."""
        await self._runs.open()
        return await self._runs.store.counts()

    async def cost(self) -> Decimal:
        """Return the US dollars billed for all items."""
        await self._runs.open()
        spendings = await self._runs.store.spendings()
        return sum((spending.total for spending in spendings.values()), Decimal(0))

    async def result(self, key: str, timeout: float | None = None) -> TaskResult:
        """Wait for the result of a run that another task or process has submitted, or will submit.

        Submits nothing. Cancelling ends the wait only.

        Args:
            timeout: seconds to wait. If not given, it waits until there is a result.

        Raises:
            TaskFailedError, TaskCancelledError: the task ended without a result.
            TaskTimeoutError: the timeout passed.
            JournalError: the run was refused, or it is unknown whether there is a task.
        """
        start = anyio.current_time()
        with anyio.move_on_after(timeout):
            return await self._result(key, start)
        raise TaskTimeoutError("run", timeout or 0.0)

    async def decide(self, key: str, task: TaskInfo | None) -> None:
        """Decide what became of an unknown item.

        Args:
            task: the task that was made for it, such as one of the `candidates` of its `SubmissionUnknownError`. The
                next call with this key follows it. None: no task was made, so that call submits the run, and it is
                billed.

        Raises:
            JournalError: there is no unknown item with this key, or it is being sent just now.
        """
        await self._runs.open()
        ref = None if task is None else TaskRef(task.id or None, task.token)
        if not await self._runs.store.decide(_stored(key), ref):
            raise JournalError(
                f"the journal {self._runs.store.name} has no undecided or unknown item {key!r} that nobody sends. Its "
                "`items('unknown')` lists them"
            )

    async def forget(self, key: str) -> bool:
        """Remove an item that has ended, so that the key can be used for a new run. Returns whether there was one."""
        await self._runs.open()
        return await self._runs.store.forget(_stored(key))

    async def prune(self, older_than: float | timedelta) -> int:
        """Remove all items that ended long ago, and return how many. Their keys can be used for new runs.

        Args:
            older_than: seconds since their end, or a `timedelta`.
        """
        await self._runs.open()
        seconds = older_than.total_seconds() if isinstance(older_than, timedelta) else older_than
        return await self._runs.store.prune(clock.now() - seconds)

    async def export(self, path: str | os.PathLike[str]) -> Path:
        """Write all items to a file, as `Journal.export` does."""
        file = await threads.run(ItemFile, Path(path))
        try:
            async for item in self.items():
                await threads.run(file.write, item)
        finally:
            await threads.run(file.close)
        return Path(path)

    async def _result(self, key: str, start: float) -> TaskResult:
        while True:
            record = await self._read(key)
            match record:
                case None:
                    # Nobody has used the key yet, and stores report changes of records only.
                    await anyio.sleep(self._context.tracker.tuning.journal_poll)
                case Record(state="undecided"):
                    await self._runs.store.wait(record, None)
                case Record(state="refused" | "unknown"):
                    raise JournalError(f"the run with the key {key!r} is {record.state}: {record.error}").with_task(
                        model=record.intention.model
                    )
                case Record(task=TaskInfo() as task) if record.state != "submitted":
                    return self._context.result(task, replayed=True)
                case Record(ref=ref):
                    assert ref is not None
                    info = await self._context.wait(ref, record.intention.model, None, start)
                    self._runs.end(record, info)
                    return self._context.result(info, replayed=True)

    async def _read(self, key: str) -> Record | None:
        await self._runs.open()
        return (await self._runs.store.read([_stored(key)])).get(_stored(key))


def _stored(key: str) -> str:
    return storable(check_key(key))
