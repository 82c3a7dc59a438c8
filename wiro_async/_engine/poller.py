"""One poller for all tasks: asks Task/Detail when a task has claimed to be over, or has been silent."""

from __future__ import annotations

import heapq
from itertools import count

import anyio

from wiro_async._engine.nursery import Nursery
from wiro_async._engine.watcher import TaskWatcher
from wiro_async._errors import (
    DecodingError,
    NotFoundError,
    RateLimitError,
    ServerError,
    TransportError,
    WiroError,
)
from wiro_async._transport import clock

FIRST_LOOK = 0.5  # seconds after which a new task is asked about once, if nothing was heard: it may be over already
SILENCE = 2.0  # seconds after which a followed task is looked after
SILENCE_CAP = 30.0
POLL_SHARE = 0.1  # without a socket: ask again after this share of the time waited so far,
POLL_FLOOR, POLL_CAP = 0.5, 5.0  # within these seconds
AGREEMENT = 0.5  # seconds between two questions after a task has claimed to be over
PATIENCE = 10  # how often to ask then before going back to the usual pace
UNKNOWN_GRACE = 30.0  # seconds a task may be unknown after its submit
FAILING_GRACE = 600.0  # seconds of nothing but failed polls before a wait is given up
JITTER = 0.2


class Poller:
    """Asks about watched tasks; between two silent tasks never faster than `per_second`."""

    def __init__(self, nursery: Nursery, per_second: float) -> None:
        self._nursery = nursery
        self._gap = 1 / per_second
        self._agenda: list[tuple[float, int, TaskWatcher]] = []
        self._ticket = count()
        self._changed = anyio.Event()
        self._running = False

    def __len__(self) -> int:
        return len(self._agenda)

    def add(self, watcher: TaskWatcher) -> None:
        """Look after a task from now on; a task that was not made just now is asked about at once."""
        if not self._running:
            self._running = True
            self._nursery.start(self._run)
        self._plan(watcher, clock.loop_time() + (self._interval(watcher) if watcher.age < SILENCE else 0.0))

    def reconsider(self, watcher: TaskWatcher) -> None:
        """Its socket went away: do not wait for the next question that was planned with it."""
        due = clock.loop_time() + self._interval(watcher)
        if due < watcher.due and not watcher.asking:
            self._plan(watcher, due)

    def remove(self, watcher: TaskWatcher) -> None:
        """Forget a task."""
        watcher.due = float("inf")

    def hurry(self, watcher: TaskWatcher) -> None:
        """Ask at once, for the task has claimed to be over. This needs no permission of the pace."""
        if not watcher.asking and not watcher.is_over:
            watcher.asking = True
            self._nursery.start(self._confirm, watcher)

    async def _run(self) -> None:
        while True:
            watcher = await self._next()
            if watcher.asking or watcher.is_over:
                continue
            quiet_until = watcher.last_sign + SILENCE
            if watcher.heard and quiet_until > clock.loop_time():
                self._plan(watcher, quiet_until)
                continue
            watcher.asking = True
            self._nursery.start(self._poll, watcher)
            await anyio.sleep(self._gap)

    async def _next(self) -> TaskWatcher:
        while True:
            due = self._agenda[0][0] if self._agenda else float("inf")
            if due <= clock.loop_time():
                _, _, watcher = heapq.heappop(self._agenda)
                if watcher.due == due:
                    return watcher
                continue
            self._changed = anyio.Event()
            with anyio.CancelScope(deadline=due):
                await self._changed.wait()

    async def _poll(self, watcher: TaskWatcher) -> None:
        try:
            await self._ask(watcher, patient=True)
        finally:
            watcher.asking = False
        watcher.polls += 1
        if watcher.state.claimed and not watcher.is_over:
            self.hurry(watcher)
        elif not watcher.is_over:
            self._plan(watcher, clock.loop_time() + self._interval(watcher))

    async def _confirm(self, watcher: TaskWatcher) -> None:
        try:
            for left in reversed(range(PATIENCE)):
                await self._ask(watcher, patient=left > 0)
                if watcher.is_over or not watcher.users:
                    return
                await anyio.sleep(AGREEMENT)
        finally:
            watcher.asking = False
        watcher.state.claimed = False
        self._plan(watcher, clock.loop_time() + self._interval(watcher))

    async def _ask(self, watcher: TaskWatcher, patient: bool) -> None:
        try:
            task = await watcher.ask()
        except (TransportError, RateLimitError, ServerError, DecodingError) as error:
            self._note_failure(watcher, error)
        except NotFoundError as error:
            self._note_absence(watcher, error)
        except WiroError as error:
            watcher.fail(error)
        except Exception as error:  # nobody foresaw it, but a wait must not hang because of it
            unforeseen = WiroError(f"task {watcher.task_id} could not be asked about: {error!r}")
            unforeseen.__cause__ = error
            watcher.fail(unforeseen)
        else:
            if task is not None:
                watcher.look(task, patient)

    def _note_failure(self, watcher: TaskWatcher, error: WiroError) -> None:
        now = clock.loop_time()
        watcher.failing_since = watcher.failing_since or now
        if now - watcher.failing_since >= FAILING_GRACE:
            watcher.fail(error)

    def _note_absence(self, watcher: TaskWatcher, error: WiroError) -> None:
        if watcher.state.task is not None or watcher.age >= UNKNOWN_GRACE:
            watcher.fail(error)

    def _plan(self, watcher: TaskWatcher, due: float) -> None:
        watcher.due = due
        entry = (due, next(self._ticket), watcher)
        heapq.heappush(self._agenda, entry)
        if self._agenda[0] is entry:
            self._changed.set()

    def _interval(self, watcher: TaskWatcher) -> float:
        if watcher.by_socket:
            looks = watcher.polls if watcher.heard else watcher.polls - 1
            seconds = FIRST_LOOK if looks < 0 else min(SILENCE_CAP, SILENCE * 2.0 ** min(looks, 10))
        else:
            waited = clock.loop_time() - watcher.since
            seconds = min(POLL_CAP, max(POLL_FLOOR, POLL_SHARE * waited))
        return seconds * (1 + JITTER * (clock.chance() - 0.5))
