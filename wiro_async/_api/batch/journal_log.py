"""The journal's side of an item: its name, its way through a restart, and what is written when."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterable
from pathlib import Path

import anyio
import attrs

from wiro_async._api.batch.item_runs import Runs
from wiro_async._api.batch.workers import Halted
from wiro_async._api.journal.journal_entries import Asked, Entry
from wiro_async._api.journal.journal_writer import JournalWriter
from wiro_async._api.results.batch_items import Outcome, RunRequest
from wiro_async._errors import APIError, InvalidInputError, TaskCancelledError, TaskFailedError, TransportError
from wiro_async._protocol.http.requests import RunInput
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.submission.journal_keys import digest
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import encode
from wiro_async._transport import threads
from wiro_async._transport.files.upload_sources import OpenSource, PathSource, is_seekable
from wiro_async._types import File

BLOCK = 1024 * 1024


@attrs.define(eq=False)
class ItemLog:
    """Writes one attempt of an item into the journal."""

    _journal: JournalWriter
    _entry: Entry
    _request: RunRequest
    _is_written: bool = attrs.field(default=False, init=False)  # the intent of this attempt is on the disk
    _is_held: bool = attrs.field(default=False, init=False)

    async def intend(self, intent: Intent) -> None:
        """Write that it is about to be sent. A run that was refused and is sent again is written once."""
        if not self._is_held:
            self._is_held = True
            self._journal.hold()
        if not self._is_written:
            await self._journal.intend(self._entry, self._request.model, intent)
            self._is_written = True

    async def record_task(self, ref: TaskRef) -> None:
        await self._journal.record_task(self._entry, ref)

    def settle(self) -> None:
        """Let the journal be closed: nothing of the attempt is in flight."""
        if self._is_held:
            self._is_held = False
            self._journal.release()

    def end(self, outcome: Outcome) -> None:
        """Write the outcome. If the task is unknown, or still runs, the next start searches for it or follows it."""
        was_refused = self._is_written and self._entry.state == "undecided"
        match outcome.error:
            case None if outcome.result is not None:
                self._journal.end(self._entry, "succeeded", outcome.result.info, None)
            case TaskFailedError() as error:
                self._journal.end(self._entry, "failed", error.info, error)
            case TaskCancelledError() as error:
                self._journal.end(self._entry, "cancelled", error.info, error)
            case APIError() | TransportError(sent=False) | Halted() as error if was_refused:
                self._journal.end(self._entry, "refused", None, error)


async def look_up(journal: JournalWriter, index: int, request: RunRequest) -> Entry:
    """Find the journal's entry of a request.

    Raises:
        InvalidInputError: the request cannot be sent, or cannot be distinguished from others.
        JournalError: the journal was made for other requests.
    """
    is_repeated: bool | None = None
    try:
        given = RunInput.parse(request.input)
        if given.files and request.key is not None:
            # Hashing takes time: a later request with the same key must not overtake this one.
            is_repeated = await journal.claim(index, request.key)
        files = [(name, await _hash(name, file, request)) for name, file in given.files]
        hashed = digest(request.model, given.values, files)
    except BaseException:
        journal.pass_over(index)
        raise
    names: dict[str, list[str]] = {}
    for name, file in given.files:
        names.setdefault(name, []).append(file.name)
    shown = encode({**given.values, **names} if names else given.values)
    entry = await journal.look_up(Asked(index, request.key, hashed, shown, is_repeated))
    if entry.is_repeated:
        raise InvalidInputError(
            message=f"an earlier request of this batch has the key {request.key!r}, too; give each one its own key"
        )
    return entry


async def seek(journal: JournalWriter, runs: Runs, entry: Entry, request: RunRequest, grace: float) -> None:
    """Search for the task of an item that an earlier process may have sent. If it is found, record it.

    Raises:
        SubmissionUnknownError: it cannot be known which task it is, or whether there is one.
    """
    plan = await runs.plan(request)
    plan = attrs.evolve(plan, intent=attrs.evolve(plan.intent, callback_url=entry.callback_url))
    equals = await journal.equals(plan.intent)

    def left() -> float:
        return journal.locked_at + grace - anyio.current_time()

    ref: TaskRef | None = None
    if entry.callback_url is not None:
        # The id in the callback URL is surer than parameters, where the service shows it. No parameters match "".
        by_callback = attrs.evolve(plan, intent=attrs.evolve(plan.intent, fingerprint=""))
        ref = await runs.seek(by_callback, entry.intended_at, left(), equals.task_ids, 1)
    if ref is None:
        ref = await runs.seek(plan, entry.intended_at, left(), equals.task_ids, equals.undecided)
    if ref is not None:
        await journal.record_task(entry, ref)


async def _hash(name: str, file: File, request: RunRequest) -> str:
    """Return the hash of what would be sent. An open file is hashed in blocks, as it may be sent meanwhile."""
    data = file.data
    if isinstance(data, AsyncIterable):
        if request.key is None:
            raise InvalidInputError(
                message=f"{name} is read from an async iterable, which a journal cannot tell from others; "
                "give RunRequest(…, key=…)"
            )
        return file.name

    def hash_now() -> str:
        if isinstance(data, bytes):
            return hashlib.sha256(data).hexdigest()
        source: PathSource | OpenSource
        if isinstance(data, os.PathLike):
            is_stream = Path(data).is_fifo() or Path(data).is_char_device()
            source = PathSource(Path(data), BLOCK, is_pipe=False)
        else:
            is_stream = not is_seekable(data)
            source = OpenSource(data, file.name, BLOCK, is_pipe=False)
        if is_stream:
            raise InvalidInputError(
                message=f"{name} is a stream that cannot be read twice, to name the item and to send it; give bytes"
            )
        hashed = hashlib.sha256()
        try:
            while block := source.read():
                hashed.update(block)
        finally:
            source.close()
        return hashed.hexdigest()

    return await threads.run(hash_now)
