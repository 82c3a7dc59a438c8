"""Threads for work that blocks: files, host names, imports, and the user's own functions.

The pools of anyio and asyncio belong to the app. An app whose handlers run in them and wait there for the SDK fills
them, and then nothing that queues behind the handlers ever runs. Their threads also keep a process alive after Ctrl-C:
the interpreter waits at its end for every thread of an executor, however long its file or its pipe blocks.

So the SDK has threads of its own, for each event loop. They are daemons, which the interpreter does not wait for. Each
kind of work has its own limit: a resolver that does not answer holds up no file. Only the loop's thread hands out work
and counts threads, so nothing here needs a lock. A caller that is cancelled leaves at once. Its thread ends when the
work does, and counts no more until then: work that is stuck does not use the limit up.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, Literal, TypeAlias, TypeVar, TypeVarTuple, Unpack
from weakref import WeakKeyDictionary, WeakSet

import anyio
import attrs

Kind: TypeAlias = Literal["files", "lookups", "callbacks", "tools", "pipes"]
Arguments = TypeVarTuple("Arguments")
T = TypeVar("T")

LIMITS: dict[Kind, float] = {
    "files": 8,  # everything short: disks, imports, certificates
    "lookups": 8,  # host names
    "callbacks": 1,  # bodies that anybody may post
    "tools": 64,  # functions of the user that a model calls
    "pipes": float("inf"),  # what waits for another program, perhaps without end
}
IDLE_SECONDS = 10.0  # after which a thread without work ends
END_SECONDS = 1.0  # for the work that is under way when the last session of a loop is closed


async def run(work: Callable[[Unpack[Arguments]], T], *arguments: *Arguments, kind: Kind = "files") -> T:
    """Return what a function gives that runs in a thread, in the caller's context. Raises what it raises.

    Cancelling ends the wait at once. Work that has begun goes on, and its outcome is dropped.
    """
    lane = _threads().lanes[kind]
    job = lane.begin(partial(work, *arguments))
    try:
        return await job.future
    finally:
        if job.future.cancelled():
            lane.abandon(job)


def start(work: Callable[[], T], kind: Kind = "files") -> asyncio.Future[T]:
    """Hand work to a thread before anything is awaited, so that no cancellation can prevent it.

    If nobody awaits the future, an error of the work is dropped.
    """
    future = _threads().lanes[kind].begin(work).future
    future.add_done_callback(_retrieve_error)
    return future


def keep_for(session: object) -> None:
    """Let threads of this loop wait for more work, until `end_for`. Without a session they end with their work."""
    _threads().sessions.add(session)


async def end_for(session: object) -> None:
    """A session of this loop is closed. With the last one all threads end, apart from those whose work is stuck."""
    threads = _threads()
    threads.sessions.discard(session)
    if not threads.sessions:
        ending = [worker for lane in threads.lanes.values() for worker in lane.dismiss()]
        with anyio.move_on_after(END_SECONDS, shield=True):
            while any(worker.is_alive() for worker in ending):  # noqa: ASYNC110 - no thread can tell that it has ended
                await anyio.sleep(0.001)


@attrs.define(eq=False)
class _Job(Generic[T]):
    """Some work, and its outcome on the way back."""

    work: Callable[[], T]
    context: Context
    future: asyncio.Future[T]

    def settle(self, value: T | None, error: BaseException | None) -> None:
        if self.future.done():  # its caller was cancelled
            return
        if isinstance(error, StopIteration):  # no future takes it
            error, cause = RuntimeError("the function raised StopIteration"), error
            error.__cause__ = cause
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)  # type: ignore[arg-type]  # a T, where there is no error


class _Worker(threading.Thread):
    """A thread of one lane. It runs the jobs in its queue, until it finds None there or its loop is closed."""

    def __init__(self, lane: _Lane, kind: Kind, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name=f"wiro_async {kind}", daemon=True)
        self.jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._lane = lane
        self._loop = loop

    def run(self) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            while True:
                try:
                    job = self.jobs.get(timeout=IDLE_SECONDS)
                except Empty:
                    self._loop.call_soon_threadsafe(self._lane.expire, self)
                    continue
                if job is None:
                    return
                value, error = None, None
                try:
                    value = job.context.run(job.work)
                except BaseException as raised:
                    error = raised
                self._loop.call_soon_threadsafe(self._lane.finish, self, job, value, error)
                del job, value, error


class _Lane:
    """The threads of one kind of work. Its methods run in the thread of the loop."""

    def __init__(self, kind: Kind, sessions: WeakSet[object]) -> None:
        self._kind: Kind = kind
        self._sessions = sessions
        self._waiting: deque[_Job[Any]] = deque()
        self._running: dict[_Job[Any], _Worker] = {}
        self._idle: list[_Worker] = []

    def begin(self, work: Callable[[], T]) -> _Job[T]:
        """Give work to a thread, or let it wait for one."""
        loop = asyncio.get_running_loop()
        job = _Job(work, copy_context(), loop.create_future())
        if self._idle:
            self._give(self._idle.pop(), job)
        elif len(self._running) < LIMITS[self._kind]:
            self._give(self._new_worker(loop), job)
        else:
            self._waiting.append(job)
        return job

    def finish(self, worker: _Worker, job: _Job[Any], value: object, error: BaseException | None) -> None:
        """Take the outcome of a job, and find more work for its thread."""
        job.settle(value, error)
        is_counted = self._running.pop(job, None) is not None
        following = self._next() if is_counted else None
        if following is not None:
            self._give(worker, following)
        elif is_counted and self._sessions:
            self._idle.append(worker)
        else:
            worker.jobs.put(None)

    def abandon(self, job: _Job[Any]) -> None:
        """Nobody waits for a job any more: another one may begin in its place."""
        if self._running.pop(job, None) is not None and (following := self._next()) is not None:
            self._give(self._new_worker(following.future.get_loop()), following)

    def expire(self, worker: _Worker) -> None:
        """End a thread that has had no work for long."""
        if worker in self._idle:  # else it has just got some
            self._idle.remove(worker)
            worker.jobs.put(None)

    def dismiss(self) -> list[_Worker]:
        """End the idle threads. Return all that will end soon."""
        idle, self._idle = self._idle, []
        for worker in idle:
            worker.jobs.put(None)
        return idle + [worker for job, worker in self._running.items() if not job.future.cancelled()]

    def _next(self) -> _Job[Any] | None:
        while self._waiting:
            job = self._waiting.popleft()
            if not job.future.cancelled():
                return job
        return None

    def _give(self, worker: _Worker, job: _Job[Any]) -> None:
        self._running[job] = worker
        worker.jobs.put(job)

    def _new_worker(self, loop: asyncio.AbstractEventLoop) -> _Worker:
        worker = _Worker(self, self._kind, loop)
        worker.start()
        return worker


class _LoopThreads:
    """The threads of one event loop."""

    def __init__(self) -> None:
        self.sessions: WeakSet[object] = WeakSet()
        self.lanes: dict[Kind, _Lane] = {kind: _Lane(kind, self.sessions) for kind in LIMITS}


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopThreads] = WeakKeyDictionary()


def _threads() -> _LoopThreads:
    loop = asyncio.get_running_loop()
    threads = _of_loops.get(loop)
    if threads is None:
        threads = _of_loops[loop] = _LoopThreads()
    return threads


def _retrieve_error(future: asyncio.Future[Any]) -> None:
    """Mark the error as seen, so that asyncio does not log it when nobody awaits the future."""
    if not future.cancelled():
        future.exception()
