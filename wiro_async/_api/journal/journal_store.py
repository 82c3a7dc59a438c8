"""`JournalStore`: what a journal needs of the place where it lies.

A store keeps one record for each key, and changes it in small atomic steps. Which step is taken when is not its
business: that is decided by `_protocol.journal.rules`, for every store in the same way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from wiro_async._protocol.journal.record import (
    Intention,
    KeyEnd,
    LookAlikes,
    Record,
    Spending,
    State,
    Witness,
)
from wiro_async._protocol.tasks.task_ref import TaskRef


class JournalStore(Protocol):
    """The records of one journal.

    Every method raises `JournalError` if the store cannot be used, or is damaged. Where nothing else is said, a method
    returns once its change would survive the end of the process and of the power. Cancelling a method does not undo it.
    """

    @property
    def name(self) -> str:
        """What errors call it: its path, or its URL without the password."""
        ...

    async def open(self) -> None:
        """Open and check it. Errors and cancelling leave nothing open."""
        ...

    async def aclose(self) -> None:
        """Write what is still to be written, and close it. Idempotent. Raises `JournalError` if not all was written."""
        ...

    def linger(self) -> None:
        """It is closed soon, when the last run in flight is settled: who opens it in this process waits for that."""
        ...

    async def read(self, keys: Collection[str]) -> Mapping[str, Record]:
        """Read the records of some keys, in one round trip. Keys without a record are left out."""
        ...

    async def intend(self, intention: Intention, seen: Record | None) -> Record:
        """Make a key undecided and ours: with a new position, the next fence, and one more attempt if it had a task.

        Does so only if the key has no record and `seen` is None, or if its record still has the fence and the state of
        `seen`, and that state is an end: succeeded, failed, cancelled or refused. The ids of an earlier task are kept
        among those that belong to the key. Otherwise the record comes back as it is, not ours or with another fence.
        """
        ...

    async def check(self, record: Record) -> None:
        """Raise `JournalError` if the run of our undecided record must not be sent any more.

        Called right before the request leaves. Mostly without I/O.
        """
        ...

    async def take_over(self, record: Record) -> Record | None:
        """Make a record ours, with the next fence, to find out whether it has a task.

        Does so if it still has that fence and no task, and is unknown, or undecided while nobody may send it any more.
        None if it has changed, or somebody may still send it.
        """
        ...

    async def record_task(self, record: Record, ref: TaskRef) -> bool:
        """Make a record submitted, if it is undecided or unknown, whatever its fence. Idempotent.

        Returns whether the record has this task now. False: it has another task, or was decided otherwise.
        """
        ...

    def end(self, record: Record, ending: KeyEnd) -> None:
        """Request that the end of a record's task is written, or, if it has none and its fence is unchanged, a refusal.

        Does not wait. `aclose` does. Lost with the power, an end is read from the service again.
        """
        ...

    async def refuse(self, record: Record) -> Record | None:
        """Make our undecided record refused, as it certainly has no task. None if its fence has changed."""
        ...

    async def park(self, record: Record, candidates: Sequence[str], error: str) -> None:
        """Make our undecided record unknown, unless its fence has changed or it has got a task."""
        ...

    async def look_alikes(self, fingerprint: bytes) -> LookAlikes:
        """Find what else looks like a run."""
        ...

    async def witnesses(self, shape: bytes, after: int) -> Sequence[Witness]:
        """Return some tasks of the journal with a greater position than `after`, the oldest first."""
        ...

    async def ids_run_upward(self) -> bool | None:
        """Return whether the latest tasks show that later ones have larger ids. None if they show nothing."""
        ...

    async def wait(self, record: Record, seconds: float | None) -> None:
        """Return once the record may have changed, at the latest after `seconds`. It may also return for no reason."""
        ...

    async def first_key(self, key: str) -> str:
        """Return the key of the first request of all batches that this journal was made for. Keeps `key` if it is new.

        A journal that many programs share was made for no requests, and returns `key`.
        """
        ...

    async def planned(self, key: str) -> frozenset[Path]:
        """Return where outputs of a key were to be saved: files that lie there belong to it."""
        ...

    async def plan(self, key: str, paths: Sequence[Path]) -> None:
        """Write where outputs are about to be saved."""
        ...

    def save(self, key: str, paths: Sequence[Path]) -> None:
        """Request that it is written where outputs were saved. Does not wait."""
        ...

    async def largest_id(self) -> int | None:
        """Return the largest task id of all records. None if no id is known, or ids are not numbers."""
        ...

    def items(self, state: State | None = None) -> AsyncIterator[Record]:
        """Iterate over the records, in the order of their first intent. Reads them as they are needed."""
        ...

    async def counts(self) -> Mapping[State, int]:
        """Count the records in each state. States without records are left out."""
        ...

    async def spendings(self) -> Mapping[str, Spending]:
        """Return what the succeeded runs of each model have cost."""
        ...

    async def decide(self, key: str, ref: TaskRef | None) -> bool:
        """Make an undecided or unknown record submitted, or refused if `ref` is None. Raises the fence.

        Returns whether there was such a record, and nobody may send it any more.
        """
        ...

    async def forget(self, key: str) -> bool:
        """Remove a record whose task has ended, or was never made. Returns whether there was one."""
        ...

    async def prune(self, before: float) -> int:
        """Remove all records that ended before a unix time, and return how many. Their task ids stay known."""
        ...
