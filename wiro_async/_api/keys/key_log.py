"""Writes what becomes of one run with a key, from its intent to its task."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection

import anyio
import attrs

from wiro_async._api.journal.journal_store import JournalStore
from wiro_async._api.keys.key_requests import KeyRequest
from wiro_async._engine.submission.submission import Became
from wiro_async._errors import JournalError, SubmissionUnknownError
from wiro_async._protocol.journal.record import Intention, KeyEnd, Record
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.submission.journal_keys import short
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._transport import clock

logger = logging.getLogger("wiro_async")


class KeyTaken(Exception):  # noqa: N818 - no error
    """Somebody else has the key: begin again with its record."""


@attrs.define(eq=False)
class KeyLog:
    """The `RunLog` of a run with a key.

    Args:
        seen: the record that allows the run.
        last_id_seen: returns the largest task id that is known now.
        on_settled: called when nothing of the run is in flight any more, if its caller has left before.
        is_own: whether this session has a key in its hands.

    Attributes:
        record: its own record, from the intent on.
        ref: its task, from its response on.
        is_in_flight: whether a request for it is under way.
    """

    _store: JournalStore
    _request: KeyRequest
    seen: Record | None
    _last_id_seen: Callable[[], Awaitable[int | None]]
    _on_settled: Callable[[], None]
    _is_own: Callable[[str], bool]
    record: Record | None = attrs.field(default=None, init=False)
    ref: TaskRef | None = attrs.field(default=None, init=False)
    is_in_flight: bool = attrs.field(default=False, init=False)
    _may_be_billed: bool = attrs.field(default=False, init=False)
    _is_closed: bool = attrs.field(default=False, init=False)
    _is_left: bool = attrs.field(default=False, init=False)

    async def intend(self, intent: Intent) -> None:
        """Write the intent. A run that was refused and is sent again is written once. Raises `KeyTaken`."""
        if self.record is None:
            request = self._request
            intention = Intention(
                request.key,
                request.model,
                request.digest,
                request.input,
                short(intent.fingerprint),
                short(intent.shape),
                intent.callback_url,
                clock.now(),
                await self._last_id_seen(),
            )
            record = await self._store.intend(intention, self.seen)
            if not record.is_ours:
                raise KeyTaken
            self.record = record
        self.is_in_flight = True

    async def check(self) -> None:
        """Raise `JournalError` if it must not be sent any more."""
        assert self.record is not None
        await self._store.check(self.record)

    async def claimed(self) -> Collection[str] | None:
        """Return the ids of tasks that look like its own. None if another run that looks like it has no task yet."""
        assert self.record is not None
        alike = await self._store.look_alikes(self.record.intention.fingerprint)
        return alike.task_ids if all(map(self._is_own, alike.rivals)) else None

    async def note(self, ref: TaskRef) -> None:
        """Write its task. Raises `JournalError` if the key has another one: then this one is stopped."""
        assert self.record is not None
        self.ref = ref
        if not await self._store.record_task(self.record, ref):
            present = (await self._store.read([self._request.key])).get(self._request.key)
            other = None if present is None or present.ref is None else present.ref.task_id
            logger.error("the key %r has two tasks, %s and %s", self._request.key, other, ref.task_id)
            raise JournalError(
                f"the key {self._request.key!r} was given another task ({other}) or was decided otherwise while this "
                f"run was sent. Its own task {ref.task_id} is stopped"
            ).with_task(ref.task_id, ref.token, model=self._request.model)
        self._is_closed = True

    @property
    def made(self) -> Record:
        """Its record, once its task is known."""
        assert self.record is not None
        return attrs.evolve(self.record, state="submitted", is_ours=False, ref=self.ref)

    async def settle(self, became: Became, error: BaseException | None) -> None:
        """Write what a request came to, if it is not sent again."""
        self.is_in_flight = False
        self._may_be_billed = self._may_be_billed or became == "unknown"
        if error is not None or self._is_left:
            await self._close(error)
        if self._is_left:
            self._on_settled()

    async def leave(self) -> None:
        """The caller has left: it has a task or an error, or was cancelled."""
        self._is_left = True
        if not self.is_in_flight:
            with anyio.CancelScope(shield=True):
                await self._close(None)

    async def _close(self, error: BaseException | None) -> None:
        record, self._is_closed, was_closed = self.record, True, self._is_closed
        if record is None or was_closed:
            return
        try:
            if self._may_be_billed:
                candidates = error.candidates if isinstance(error, SubmissionUnknownError) else ()
                ids = [self.ref.task_id] if self.ref is not None else [task.id for task in candidates]
                await self._store.park(record, list(filter(None, ids)), str(error or "it was not waited for"))
            else:
                self._store.end(record, KeyEnd("refused", None, str(error or "it was not sent"), clock.now()))
        except JournalError as failure:  # the record stays undecided, and the next call searches for the task
            logger.warning("what became of the key %r was not written: %s", record.key, failure)
