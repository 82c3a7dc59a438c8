"""One poller for all tasks: asks Task/Detail when a task has claimed to be over, or has been silent."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TypeAlias

import anyio

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.tracking.tracked_task import TrackedTask
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

Agenda: TypeAlias = list[tuple[float, int, TrackedTask]]


class Poller:
    """Asks about watched tasks, never faster than `per_second`. Only a task's first claim does not wait for that."""

    def __init__(self, background: BackgroundTasks, per_second: float) -> None:
        self._background = background
        self._gap = 1 / per_second
        self._claims: Agenda = []
        self._silent: Agenda = []
        self._ticket = count()
        self._changed = anyio.Event()
        self._running = False

    def __len__(self) -> int:
        return len(self._claims) + len(self._silent)

    def add(self, tracked: TrackedTask) -> None:
        """Look after a task from now on; a task that was not made just now is asked about at once."""
        if not self._running:
            self._running = True
            self._background.start(self._run)
        self._plan(tracked, self._interval(tracked) if tracked.age < SILENCE else 0.0)

    def reconsider(self, tracked: TrackedTask) -> None:
        """Its socket went away: do not wait for the next question that was planned with it."""
        tracked.polls = 0
        self._hasten(tracked)

    def remove(self, tracked: TrackedTask) -> None:
        """Forget a task."""
        tracked.due = NEVER

    def hurry(self, tracked: TrackedTask) -> None:
        """Ask soon, for the task claims to be over: at once, unless it has claimed so before and was not."""
        if tracked.asking or tracked.is_over or tracked.claims:
            return
        if tracked.disproved:
            self._hasten(tracked)
        else:
            self._start(tracked)

    async def _run(self) -> None:
        while True:
            tracked = await self._next()
            if tracked.asking or tracked.is_over:
                continue
            left = self._quiet_until(tracked) - clock.loop_time()
            if left > 0:
                self._plan(tracked, left)
                continue
            self._start(tracked)
            await anyio.sleep(self._gap)

    async def _next(self) -> TrackedTask:
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

    def _quiet_until(self, tracked: TrackedTask) -> float:
        """Until when a task need not be asked about, for its socket has brought something not long ago."""
        if tracked.state.claimed or not (tracked.by_socket and tracked.heard):
            return 0.0
        pause = (1 - JITTER / 2) * self._seconds(tracked)
        return min(tracked.moved_at + pause, tracked.asked_at + SILENCE_CAP)

    def _start(self, tracked: TrackedTask) -> None:
        tracked.asking = True
        self._background.start(self._poll, tracked)

    async def _poll(self, tracked: TrackedTask) -> None:
        tracked.claims += tracked.state.claimed
        tracked.polls += not tracked.state.claimed
        patience = DOUBTING_PATIENCE if tracked.disproved else PATIENCE
        try:
            await self._ask(tracked, patient=tracked.claims < patience)
        finally:
            tracked.asking = False
            tracked.asked_at = clock.loop_time()
        if tracked.is_over or not tracked.users:
            return
        if tracked.claims >= patience:
            tracked.state.claimed, tracked.claims = False, 0
            tracked.disproved += 1
            tracked.polls += 1
        self._plan(tracked, self._interval(tracked))

    async def _ask(self, tracked: TrackedTask, patient: bool) -> None:
        try:
            task = await tracked.ask()
        except NotFoundError as error:
            self._note_refusal(tracked, error, FAILING_GRACE if tracked.is_known else REFUSED_GRACE)
        except (AuthenticationError, PermissionDeniedError) as error:
            self._note_refusal(tracked, error, UNKNOWN_GRACE if tracked.is_known else REFUSED_GRACE)
        except (APIError, TransportError, DecodingError) as error:
            self._note_failure(tracked, error)
        except WiroError as error:
            tracked.fail(error)
        except Exception as error:  # nobody foresaw it, but a wait must not hang because of it
            unforeseen = WiroError(f"task {tracked.task_id} could not be asked about: {error!r}")
            unforeseen.__cause__ = error
            tracked.fail(unforeseen)
        else:
            if task is not None:
                tracked.look(task, patient)
            else:
                missing = NotFoundError(message="the service lists no such task")
                self._note_refusal(tracked, missing, FAILING_GRACE if tracked.is_known else UNKNOWN_GRACE)

    def _note_failure(self, tracked: TrackedTask, error: WiroError) -> None:
        now = clock.loop_time()
        tracked.failing_since = tracked.failing_since or now
        if now - tracked.failing_since >= FAILING_GRACE:
            tracked.fail(error)

    def _note_refusal(self, tracked: TrackedTask, error: WiroError, grace: float) -> None:
        """One refusal may be an accident of the service's; several in a row, for a while, are none."""
        now = clock.loop_time()
        tracked.refused_since = tracked.refused_since if tracked.refusals else now
        tracked.refusals += 1
        enough = KNOWN_REFUSALS if tracked.is_known else REFUSALS
        if tracked.refusals >= enough and now - tracked.refused_since >= grace:
            tracked.fail(error)

    def _hasten(self, tracked: TrackedTask) -> None:
        seconds = self._interval(tracked)
        if clock.loop_time() + seconds < tracked.due and not tracked.asking:
            self._plan(tracked, seconds)

    def _plan(self, tracked: TrackedTask, seconds: float) -> None:
        agenda = self._claims if tracked.state.claimed else self._silent
        tracked.due = clock.loop_time() + seconds
        entry = (tracked.due, next(self._ticket), tracked)
        heapq.heappush(agenda, entry)
        if agenda[0] is entry:
            self._changed.set()

    def _interval(self, tracked: TrackedTask) -> float:
        return min(SILENCE_CAP, self._seconds(tracked) * (1 + JITTER * (clock.chance() - 0.5)))

    def _seconds(self, tracked: TrackedTask) -> float:
        if tracked.claims:
            return AGREEMENT
        if tracked.state.claimed:
            return min(SILENCE_CAP, SILENCE * 2.0**tracked.disproved) if tracked.disproved else 0.0
        if tracked.by_socket:
            looks = tracked.polls if tracked.heard else tracked.polls - 1
            return FIRST_LOOK if looks < 0 else min(SILENCE_CAP, SILENCE * 2.0 ** min(looks, 10))
        waited = clock.loop_time() - tracked.since
        return min(POLL_CAP, max(POLL_FLOOR, POLL_SHARE * waited))
