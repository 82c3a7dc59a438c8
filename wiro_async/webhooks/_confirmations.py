"""The tasks that callbacks name, each read until Task/Detail shows that it is over.

A callback costs its sender nothing, and a read costs something. So what one sender can cause is limited. A task that
the session made, or that somebody waits for, is always read; where many come at once, they wait for their turn. A task
that nobody waits for is read only if `on_end` is to hear of it: another process may have made it. Few of these are
read at once. A URL that has named several tasks falsely is known to a stranger: from then on only the task that the
URL was made for is believed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias, TypeVar

import anyio
import attrs

from wiro_async._api.tasks.callback_access import CallbackAccess
from wiro_async._engine.background.user_callback import call_user
from wiro_async._engine.tracking.id_memory import MadeTask
from wiro_async._errors import NotFoundError, SessionClosedError, WebhookVerificationError, WiroError
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport.user_code import uncancelled

logger = logging.getLogger("wiro_async")
T = TypeVar("T")
OnEnd: TypeAlias = Callable[[TaskInfo], Awaitable[None] | None]


@attrs.frozen
class Claim:
    """A task that is over, as a callback claims.

    Attributes:
        segment: the signed part of the URL that was called.
        by_url: the URL belongs to this task. Otherwise the body names it.
    """

    task: MadeTask
    segment: str = attrs.field(repr=False)
    by_url: bool

    @property
    def keys(self) -> list[str]:
        return [key for key in (self.task.ref.task_id, self.task.ref.token) if key]


@attrs.define(eq=False)
class _Queue:
    """Claims that wait for their turn.

    Attributes:
        limit: how many are confirmed at once.
        unlisted: how many reads may find no such task.
        workers: how many are being confirmed.
    """

    limit: int
    unlisted: int
    waiting: dict[str, Claim] = attrs.field(factory=dict[str, Claim])
    workers: int = 0

    @property
    def pending(self) -> int:
        return len(self.waiting) + self.workers


class Confirmations:
    """Confirms the claims of one receiver.

    Args:
        counts: of the receiver's statistics.
        on_end: called once with every confirmed task.
    """

    def __init__(self, callbacks: CallbackAccess, counts: Counter[str], on_end: OnEnd | None) -> None:
        self._callbacks = callbacks
        self._tuning = tuning = callbacks.tuning
        self._counts = counts
        self._on_end = on_end
        self._own = _Queue(tuning.callback_max_pending, tuning.callback_confirmations)
        self._foreign = _Queue(tuning.callback_max_foreign, tuning.callback_unlisted)
        self._pending: set[str] = set()
        self._done: dict[str, None] = {}
        self._wrong: dict[str, int] = {}  # tasks that a URL has named falsely, by its segment

    @property
    def pending(self) -> int:
        """How many tasks are being confirmed, or wait for it."""
        return self._own.pending + self._foreign.pending

    @property
    def is_full(self) -> bool:
        """Whether too many tasks that nobody waits for are to be confirmed."""
        return len(self._foreign.waiting) >= self._tuning.callback_max_queued

    def add(self, claim: Claim) -> None:
        """Confirm a task in the background, unless that has happened, or the claim is not to be believed."""
        ref = claim.task.ref
        is_own = claim.by_url or self._callbacks.expects(ref)
        if not self._pending.isdisjoint(claim.keys) or not self._done.keys().isdisjoint(claim.keys):
            self._counts["duplicates"] += 1
        elif self._is_abused(claim):
            self._counts["forged"] += 1
        elif not is_own and self._on_end is None:
            self._counts["unexpected"] += 1
            self._callbacks.remember_unread(ref)
        else:
            self._enqueue(self._own if is_own else self._foreign, claim)

    def _enqueue(self, queue: _Queue, claim: Claim) -> None:
        if queue.workers < queue.limit:
            try:
                self._callbacks.start(self._work, queue, claim)
            except SessionClosedError:
                return
            queue.workers += 1
        else:
            queue.waiting[claim.task.ref.key] = claim
        self._pending.update(claim.keys)

    async def _work(self, queue: _Queue, first: Claim) -> None:
        claim: Claim | None = first
        try:
            while claim is not None:
                # Since it was queued, its URL may have turned out to be known to a stranger.
                if self._is_abused(claim):
                    self._counts["forged"] += 1
                else:
                    await self._confirm(claim, queue.unlisted)
                self._pending.difference_update(claim.keys)
                claim = queue.waiting.pop(next(iter(queue.waiting))) if queue.waiting else None
        except anyio.get_cancelled_exc_class():  # the session is closed
            queue.waiting.clear()
            raise
        finally:
            queue.workers -= 1

    async def _confirm(self, claim: Claim, unlisted: int) -> None:
        ref, task = claim.task.ref, None
        try:
            task = await self._callbacks.confirm(claim.task, partial(_is_about, ref, claim.segment), unlisted)
        except WebhookVerificationError:
            self._counts["forged"] += 1
            self._count_wrong(claim)
            return
        except WiroError as error:
            logger.info("could not confirm a callback about task %s: %s", ref.task_id, error)
            if isinstance(error, NotFoundError):
                self._count_wrong(claim)
        if task is None:
            self._counts["unconfirmed"] += 1
        elif task.id in self._done or task.token in self._done:  # one callback named it by its id and by its token
            self._counts["duplicates"] += 1
        else:
            self._counts["confirmed"] += 1
            self._done |= dict.fromkeys(filter(None, (task.id, task.token)))
            _keep(self._done, self._tuning.callback_max_done)
            if self._on_end is not None:  # it may take its time, and others wait for their turn
                self._callbacks.start(self._report, self._on_end, task)

    async def _report(self, on_end: OnEnd, task: TaskInfo) -> None:
        try:
            with uncancelled("on_end"):
                await call_user(on_end, task)
        except Exception:  # an error of the user's function must not end the session's background work
            logger.exception("on_end failed for task %s", task.id)

    def _is_abused(self, claim: Claim) -> bool:
        return not claim.by_url and self._wrong.get(claim.segment, 0) >= self._tuning.callback_max_wrong

    def _count_wrong(self, claim: Claim) -> None:
        if not claim.by_url:
            self._wrong[claim.segment] = self._wrong.pop(claim.segment, 0) + 1
            _keep(self._wrong, self._tuning.callback_max_done)


def _keep(known: dict[str, T], limit: int) -> None:
    """Forget the oldest entries beyond a limit."""
    while len(known) > limit:
        del known[next(iter(known))]


def _is_about(ref: TaskRef, segment: str, task: TaskInfo) -> bool:
    """Return whether a callback to this URL may be about a task. A task with another callback URL never calls it."""
    echoed = task.raw.get("callbackurl")
    is_same = not isinstance(echoed, str) or not echoed or segment in echoed
    return is_same and ref.task_id in (None, task.id)
