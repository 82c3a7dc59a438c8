"""One poller for all tasks: asks Task/Detail when a task has claimed to be over, or has been silent."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TypeAlias

import anyio

from wiro_async._engine.nursery import Nursery
from wiro_async._engine.watcher import TaskWatcher
from wiro_async._errors import (
    APIError,
    AuthenticationError,
    DecodingError,
    NotFoundError,
    PermissionDeniedError,
    TransportError,
    WiroError,
)
from wiro_async._transport import clock

FIRST_LOOK = 0.5  # seconds after which a new task is asked about once, if nothing was heard: it may be over already
SILENCE = 2.0  # seconds after which a followed task is looked after; the double each time that it was for nothing,
SILENCE_CAP = 30.0  # at most, also where messages come that tell of no end
POLL_SHARE = 0.1  # without a socket: ask again after this share of the time waited so far,
POLL_FLOOR, POLL_CAP = 0.5, 30.0  # within these seconds
AGREEMENT = 0.5  # seconds between two questions after a task has claimed to be over
PATIENCE, DOUBTING_PATIENCE = 10, 3  # how often to ask then before going back to the usual pace; after one false claim
REFUSALS, REFUSED_GRACE = 3, 5.0  # how often in a row, and for how long, it must be refused to tell of a task;
KNOWN_REFUSALS, UNKNOWN_GRACE = 6, 30.0  # of one that surely exists; so long too if it is not refused but not listed
FAILING_GRACE = 600.0  # seconds of nothing but failed polls, or of no word of a task that surely exists
JITTER = 0.2
NEVER = float("inf")

Agenda: TypeAlias = list[tuple[float, int, TaskWatcher]]


class Poller:
    """Asks about watched tasks, never faster than `per_second`. Only a task's first claim does not wait for that."""

    def __init__(self, nursery: Nursery, per_second: float) -> None:
        self._nursery = nursery
        self._gap = 1 / per_second
        self._claims: Agenda = []
        self._silent: Agenda = []
        self._ticket = count()
        self._changed = anyio.Event()
        self._running = False

    def __len__(self) -> int:
        return len(self._claims) + len(self._silent)

    def add(self, watcher: TaskWatcher) -> None:
        """Look after a task from now on; a task that was not made just now is asked about at once."""
        if not self._running:
            self._running = True
            self._nursery.start(self._run)
        self._plan(watcher, self._interval(watcher) if watcher.age < SILENCE else 0.0)

    def reconsider(self, watcher: TaskWatcher) -> None:
        """Its socket went away: do not wait for the next question that was planned with it."""
        watcher.polls = 0
        self._hasten(watcher)

    def remove(self, watcher: TaskWatcher) -> None:
        """Forget a task."""
        watcher.due = NEVER

    def hurry(self, watcher: TaskWatcher) -> None:
        """Ask soon, for the task claims to be over: at once, unless it has claimed so before and was not."""
        if watcher.asking or watcher.is_over or watcher.claims:
            return
        if watcher.disproved:
            self._hasten(watcher)
        else:
            self._start(watcher)

    async def _run(self) -> None:
        while True:
            watcher = await self._next()
            if watcher.asking or watcher.is_over:
                continue
            left = self._quiet_until(watcher) - clock.loop_time()
            if left > 0:
                self._plan(watcher, left)
                continue
            self._start(watcher)
            await anyio.sleep(self._gap)

    async def _next(self) -> TaskWatcher:
        while True:
            now, nearest = clock.loop_time(), NEVER
            for agenda in (self._claims, self._silent):
                while agenda and agenda[0][0] != agenda[0][2].due:
                    heapq.heappop(agenda)
                if agenda and agenda[0][0] <= now:
                    return heapq.heappop(agenda)[2]
                nearest = min(nearest, agenda[0][0] if agenda else NEVER)
            self._changed = anyio.Event()
            with anyio.CancelScope(deadline=nearest):
                await self._changed.wait()

    def _quiet_until(self, watcher: TaskWatcher) -> float:
        """Until when a task need not be asked about, for its socket has brought something not long ago."""
        if watcher.state.claimed or not (watcher.by_socket and watcher.heard):
            return 0.0
        pause = (1 - JITTER / 2) * self._seconds(watcher)
        return min(watcher.moved_at + pause, watcher.asked_at + SILENCE_CAP)

    def _start(self, watcher: TaskWatcher) -> None:
        watcher.asking = True
        self._nursery.start(self._poll, watcher)

    async def _poll(self, watcher: TaskWatcher) -> None:
        watcher.claims += watcher.state.claimed
        watcher.polls += not watcher.state.claimed
        patience = DOUBTING_PATIENCE if watcher.disproved else PATIENCE
        try:
            await self._ask(watcher, patient=watcher.claims < patience)
        finally:
            watcher.asking = False
            watcher.asked_at = clock.loop_time()
        if watcher.is_over or not watcher.users:
            return
        if watcher.claims >= patience:
            watcher.state.claimed, watcher.claims = False, 0
            watcher.disproved += 1
            watcher.polls += 1
        self._plan(watcher, self._interval(watcher))

    async def _ask(self, watcher: TaskWatcher, patient: bool) -> None:
        try:
            task = await watcher.ask()
        except NotFoundError as error:
            self._note_refusal(watcher, error, FAILING_GRACE if watcher.is_known else REFUSED_GRACE)
        except (AuthenticationError, PermissionDeniedError) as error:
            self._note_refusal(watcher, error, UNKNOWN_GRACE if watcher.is_known else REFUSED_GRACE)
        except (APIError, TransportError, DecodingError) as error:
            self._note_failure(watcher, error)
        except WiroError as error:
            watcher.fail(error)
        except Exception as error:  # nobody foresaw it, but a wait must not hang because of it
            unforeseen = WiroError(f"task {watcher.task_id} could not be asked about: {error!r}")
            unforeseen.__cause__ = error
            watcher.fail(unforeseen)
        else:
            if task is not None:
                watcher.look(task, patient)
            else:
                missing = NotFoundError(message="the service lists no such task")
                self._note_refusal(watcher, missing, FAILING_GRACE if watcher.is_known else UNKNOWN_GRACE)

    def _note_failure(self, watcher: TaskWatcher, error: WiroError) -> None:
        now = clock.loop_time()
        watcher.failing_since = watcher.failing_since or now
        if now - watcher.failing_since >= FAILING_GRACE:
            watcher.fail(error)

    def _note_refusal(self, watcher: TaskWatcher, error: WiroError, grace: float) -> None:
        """One refusal may be an accident of the service's; several in a row, for a while, are none."""
        now = clock.loop_time()
        watcher.refused_since = watcher.refused_since if watcher.refusals else now
        watcher.refusals += 1
        enough = KNOWN_REFUSALS if watcher.is_known else REFUSALS
        if watcher.refusals >= enough and now - watcher.refused_since >= grace:
            watcher.fail(error)

    def _hasten(self, watcher: TaskWatcher) -> None:
        seconds = self._interval(watcher)
        if clock.loop_time() + seconds < watcher.due and not watcher.asking:
            self._plan(watcher, seconds)

    def _plan(self, watcher: TaskWatcher, seconds: float) -> None:
        agenda = self._claims if watcher.state.claimed else self._silent
        watcher.due = clock.loop_time() + seconds
        entry = (watcher.due, next(self._ticket), watcher)
        heapq.heappush(agenda, entry)
        if agenda[0] is entry:
            self._changed.set()

    def _interval(self, watcher: TaskWatcher) -> float:
        return min(SILENCE_CAP, self._seconds(watcher) * (1 + JITTER * (clock.chance() - 0.5)))

    def _seconds(self, watcher: TaskWatcher) -> float:
        if watcher.claims:
            return AGREEMENT
        if watcher.state.claimed:
            return min(SILENCE_CAP, SILENCE * 2.0**watcher.disproved) if watcher.disproved else 0.0
        if watcher.by_socket:
            looks = watcher.polls if watcher.heard else watcher.polls - 1
            return FIRST_LOOK if looks < 0 else min(SILENCE_CAP, SILENCE * 2.0 ** min(looks, 10))
        waited = clock.loop_time() - watcher.since
        return min(POLL_CAP, max(POLL_FLOOR, POLL_SHARE * waited))
