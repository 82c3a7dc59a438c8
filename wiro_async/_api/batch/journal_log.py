"""The journal's side of an item: its name, its way through a restart, and what is written when."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterable
from pathlib import Path

import anyio
import anyio.to_thread
import attrs

from wiro_async._api.batch.batch_items import Outcome, RunRequest
from wiro_async._api.batch.item_runs import Runs
from wiro_async._api.batch.workers import Halted
from wiro_async._api.journal import Entry, JournalWriter
from wiro_async._engine.calls.task_calls import TaskRef
from wiro_async._engine.submission.submitter import RunPlan
from wiro_async._errors import APIError, InvalidInputError, TaskCancelledError, TaskFailedError, TransportError
from wiro_async._protocol.http.requests import RunInput
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.submission.journal_keys import digest
from wiro_async._protocol.values.json import encode
from wiro_async._transport.files.file_sources import OpenSource, PathSource, can_go_back
from wiro_async._types import File

BLOCK = 1024 * 1024


@attrs.define(eq=False)
class ItemLog:
    """Writes one attempt of an item into the journal; a `RunLog`.

    Attributes:
        is_written: whether this attempt's intent is on the disk.
    """

    journal: JournalWriter
    entry: Entry
    request: RunRequest
    is_written: bool = False
    _holds: bool = False

    async def intend(self, intent: Intent) -> None:
        """It is about to be sent. A run that was refused and is sent again is written down once."""
        if not self._holds:
            self._holds = True
            self.journal.hold()
        if not self.is_written:
            await self.journal.intend(self.entry, self.request.model, intent)
            self.is_written = True

    async def note(self, ref: TaskRef) -> None:
        """Its task is known."""
        await self.journal.note(self.entry, ref)

    def settle(self) -> None:
        """Nothing of it is under way."""
        if self._holds:
            self._holds = False
            self.journal.release()

    def end(self, outcome: Outcome) -> None:
        """What became of it. A task that is still unknown, or still runs, stays to be looked for or followed."""
        match outcome.error:
            case None if outcome.result is not None:
                self.journal.end(self.entry, "succeeded", outcome.result.task, None)
            case TaskFailedError() as error:
                self.journal.end(self.entry, "failed", error.info, error)
            case TaskCancelledError() as error:
                self.journal.end(self.entry, "cancelled", error.info, error)
            case APIError() | TransportError(sent=False) | Halted() as error if self._was_refused:
                self.journal.end(self.entry, "refused", None, error)

    @property
    def _was_refused(self) -> bool:
        return self.is_written and self.entry.state == "undecided"


async def enter(journal: JournalWriter, index: int, request: RunRequest) -> Entry:
    """Look a request up.

    Raises:
        InvalidInputError: it cannot be sent, or cannot be told from others.
        JournalError: the journal was made for other requests.
    """
    is_repeated: bool | None = None
    try:
        given = RunInput.parse(request.input)
        if given.files and request.key is not None:  # others with this key come later, and may be quicker
            is_repeated = await journal.claim(index, request.key)
        files = [(name, await _hash(name, file, request)) for name, file in given.files]
        hashed = digest(request.model, given.values, files)
    except BaseException:
        journal.pass_over(index)
        raise
    entry = await journal.enter(index, request.key, hashed, is_repeated)
    if entry.is_repeated:
        raise InvalidInputError(message=f"the key {request.key!r} was given to an earlier request of this batch, too")
    entry.given = _shown(given)
    return entry


async def seek(journal: JournalWriter, runs: Runs, entry: Entry, request: RunRequest, grace: float) -> None:
    """Look for the task of an item that an earlier process may have sent; found, the item is `submitted`.

    Raises:
        SubmissionUnknownError: it cannot be told.
    """
    plan = await runs.plan(request)
    plan = attrs.evolve(plan, intent=attrs.evolve(plan.intent, callback_url=entry.callback_url))
    equals = await journal.equals(plan.intent)
    ref: TaskRef | None = None
    if entry.callback_url is not None:  # nothing else has its id, if the service tells that; its equals come second
        ref = await runs.seek(_by_its_id(plan), entry.intended_at, _left(journal, grace), equals.task_ids, 1)
    if ref is None:
        ref = await runs.seek(plan, entry.intended_at, _left(journal, grace), equals.task_ids, equals.undecided)
    if ref is not None:
        await journal.note(entry, ref)


def _left(journal: JournalWriter, grace: float) -> float:
    return journal.locked_at + grace - anyio.current_time()


def _by_its_id(plan: RunPlan) -> RunPlan:
    """A plan that no parameters match."""
    return attrs.evolve(plan, intent=attrs.evolve(plan.intent, fingerprint=""))


def _shown(given: RunInput) -> bytes:
    if not given.files:
        return encode(given.values)
    files: dict[str, list[str]] = {}
    for name, file in given.files:
        files.setdefault(name, []).append(file.name)
    return encode({**given.values, **files})


async def _hash(name: str, file: File, request: RunRequest) -> str:
    if isinstance(file.data, AsyncIterable):
        if request.key is None:
            raise InvalidInputError(
                message=f"{name} is read from an async iterable, which a journal cannot tell from others; "
                "give RunRequest(…, key=…)"
            )
        return file.name
    return await anyio.to_thread.run_sync(_hash_now, file)


def _hash_now(file: File) -> str:
    """The hash of what would be sent. An open file is read as it is when it is sent, and may be, meanwhile."""
    data = file.data
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    assert not isinstance(data, AsyncIterable)
    if isinstance(data, os.PathLike):
        source: PathSource | OpenSource = PathSource(Path(data), BLOCK, is_pipe=False)
    elif can_go_back(data):
        source = OpenSource(data, file.name, BLOCK, is_pipe=False)
    else:
        raise InvalidInputError(message="a journal cannot read a stream that cannot be read twice; give bytes")
    hashed = hashlib.sha256()
    try:
        while block := source.read():
            hashed.update(block)
    finally:
        source.close()
    return hashed.hexdigest()
