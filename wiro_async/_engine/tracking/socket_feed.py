"""One socket for all tasks of a session; more only past a number of tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing

import anyio

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._errors import ConnectionFailedError
from wiro_async._protocol.messages.frames import parse_frame, registration
from wiro_async._transport import clock
from wiro_async._transport.websocket import Socket

logger = logging.getLogger("wiro_async")

Connect = Callable[[], AbstractAsyncContextManager[Socket]]

BACKOFF, BACKOFF_CAP = 0.1, 30.0
IDLE_SECONDS = 30.0  # an open socket that carries no task is closed after so long
STEADY_SECONDS = 5.0  # a socket that was open for so long was a good one
DOUBTS = 2  # unheard tasks that moved while others were heard, before sockets are not shared any more
ALONE_SECONDS = 600.0  # for so long; then it is tried again
LONGEST_TOKEN = 200
MAX_REGISTRATIONS = 10_000  # the service knows no way to take one back, so a socket is given up after so many


class SocketFeed:
    """Brings tasks the messages about them.

    Args:
        connect: opens a socket.
        per_socket: how many tasks one socket may carry at a time.
        on_lost: told of every task whose socket went away.
    """

    def __init__(
        self, background: BackgroundTasks, connect: Connect, per_socket: int, on_lost: Callable[[TrackedTask], None]
    ) -> None:
        self.background = background
        self.connect = connect
        self.on_lost = on_lost
        self._per_socket = per_socket
        self._alone_until = 0.0
        self._doubts = 0
        self.lines: list[Line] = []
        self._by_token: dict[str, TrackedTask] = {}
        self._by_id: dict[str, TrackedTask] = {}

    @property
    def per_socket(self) -> int:
        """How many tasks one socket may carry now."""
        return self._per_socket if clock.loop_time() >= self._alone_until else 1

    @property
    def open_sockets(self) -> int:
        """How many sockets are open."""
        return sum(line.is_open for line in self.lines)

    def follow(self, tracked: TrackedTask) -> None:
        """Register a task; its messages go to the watcher until `unfollow`. Called again when an id became known.

        A task has one watcher here; another one for the same task is left to the poller.
        """
        if not tracked.token or self._by_token.setdefault(tracked.token, tracked) is not tracked:
            return
        if tracked.task_id:
            self._by_id[tracked.task_id] = tracked
        line = self._line_of(tracked)
        if line is not None:
            tracked.by_socket = line.is_open
            return
        limit = self.per_socket
        line = next((line for line in self.lines if line.has_room(limit)), None) or self._new_line()
        line.add(tracked)

    def unfollow(self, tracked: TrackedTask) -> None:
        """Let go of a task."""
        if self._by_token.get(tracked.token or "") is tracked:
            del self._by_token[tracked.token or ""]
        if self._by_id.get(tracked.task_id or "") is tracked:
            del self._by_id[tracked.task_id or ""]
        for line in self.lines:
            line.remove(tracked)

    def doubt(self, tracked: TrackedTask, since: float) -> None:
        """A task has moved since a moment, and no message told so.

        Where its socket goes on to bring messages of others, that is how the service is: nobody has said that one
        connection may carry many tasks. Then every task gets a socket of its own, for some time.
        """
        line = self._line_of(tracked)
        if line is not None and self.per_socket > 1:
            line.suspect(tracked, since)

    def doubt_sharing(self, count: int) -> None:
        """So many tasks are not heard on a socket on which others are."""
        self._doubts += count
        if self._doubts >= DOUBTS and self.per_socket > 1:
            logger.warning("the service serves one task a socket; for %g s each task gets its own", ALONE_SECONDS)
            self._alone_until = clock.loop_time() + ALONE_SECONDS
            self._doubts = 0
            for unheard in [other for other in self._by_token.values() if not other.heard]:
                self._move(unheard)

    def trust_sharing(self) -> None:
        """A task was heard that was not the first on its socket."""
        self._doubts = 0

    def deliver(self, frame: bytes) -> tuple[TrackedTask, bool] | None:
        """Hand a frame to the watcher of its task, and tell whether it took the task further.

        What is for nobody is dropped.
        """
        message = parse_frame(frame)
        if message is None:
            return self._deliver_audio(frame)
        tracked = self._by_token.get(message.token) or self._by_id.get(message.task_id)
        return None if tracked is None or tracked.is_over else (tracked, tracked.receive(message))

    def _deliver_audio(self, frame: bytes) -> tuple[TrackedTask, bool] | None:
        token, bar, _ = frame[:LONGEST_TOKEN].partition(b"|")
        tracked = self._by_token.get(token.decode(errors="replace")) if bar else None
        if tracked is None or tracked.is_over:
            return None
        tracked.touch()
        return tracked, False

    def _line_of(self, tracked: TrackedTask) -> Line | None:
        return next((line for line in self.lines if line.carries(tracked)), None)

    def _move(self, tracked: TrackedTask) -> None:
        line = self._line_of(tracked)
        if line is not None:
            line.remove(tracked)
            self._new_line().add(tracked)

    def warm(self) -> None:
        """Open the first socket, for a task will need it soon."""
        if not self.lines:
            self._new_line(needed=True)

    def _new_line(self, needed: bool = False) -> Line:
        line = Line(self, needed)
        self.lines.append(line)
        self.background.start(line.run)
        return line


class Line:
    """One connection and the tasks on it. It connects, registers, reads, and connects again while it is needed."""

    def __init__(self, socket_feed: SocketFeed, needed: bool) -> None:
        self._socket_feed = socket_feed
        self._needed = needed
        self._tasks: dict[str, TrackedTask] = {}
        self._unregistered: list[str] = []
        self._registered_at: dict[str, float] = {}
        self._registered = 0
        self._first = ""
        self._news = anyio.Event()
        self._drops = 0
        self._opened_at = 0.0
        self._suspects: set[TrackedTask] = set()
        self._lost: list[TrackedTask] = []
        self.is_open = False

    def has_room(self, limit: int) -> bool:
        """Whether it takes another task; one that is to carry a single task takes none after it."""
        most = 1 if limit == 1 else MAX_REGISTRATIONS
        return len(self._tasks) < limit and self._registered + len(self._unregistered) < most

    def carries(self, tracked: TrackedTask) -> bool:
        """Whether the task is on this connection."""
        return self._tasks.get(tracked.token or "") is tracked

    def suspect(self, tracked: TrackedTask, since: float) -> None:
        """It was registered at that moment, has moved since, and nothing was heard of it: the next message decides."""
        if self._registered_at.get(tracked.token or "", float("inf")) < since:
            self._suspects.add(tracked)

    def add(self, tracked: TrackedTask) -> None:
        """Carry a task."""
        assert tracked.token
        self._tasks[tracked.token] = tracked
        self._unregistered.append(tracked.token)
        tracked.by_socket = self.is_open
        self._news.set()

    def remove(self, tracked: TrackedTask) -> None:
        """Carry it no longer."""
        if self.carries(tracked):
            del self._tasks[tracked.token or ""]
            self._registered_at.pop(tracked.token or "", None)
            tracked.by_socket = False
            if not self._tasks:
                self._news.set()

    async def run(self) -> None:
        """Serve until there has been nothing to carry for a while."""
        try:
            while await self._is_needed():
                await self._serve()
                await anyio.sleep(self._backoff())
        finally:
            self._socket_feed.lines.remove(self)

    async def _is_needed(self) -> bool:
        while not self._tasks and not self._needed:
            self._news = anyio.Event()
            with anyio.move_on_after(IDLE_SECONDS if self._socket_feed.per_socket > 1 else 0):
                await self._news.wait()
                continue
            return False
        return True

    async def _serve(self) -> None:
        self._needed = False
        try:
            async with self._socket_feed.connect() as socket:
                self._opened()
                async with anyio.create_task_group() as group:
                    group.start_soon(self._write, socket, group.cancel_scope)
                    await self._read(socket)
                    group.cancel_scope.cancel()
        except ConnectionFailedError as error:
            logger.info("%s Runs are polled meanwhile.", error)
        finally:
            self._closed()

    async def _read(self, socket: Socket) -> None:
        async with aclosing(socket.frames()) as frames:
            async for frame in frames:
                if (delivered := self._socket_feed.deliver(frame)) is not None:
                    self._heard(*delivered)

    def _heard(self, tracked: TrackedTask, moved: bool) -> None:
        if moved:
            self._drops = 0
        if tracked.token != self._first:
            self._socket_feed.trust_sharing()
        if self._suspects:
            unheard = [suspect for suspect in self._suspects if self.carries(suspect) and not suspect.heard]
            self._suspects.clear()
            self._socket_feed.doubt_sharing(len(unheard))

    async def _write(self, socket: Socket, connection: anyio.CancelScope) -> None:
        try:
            while await self._is_needed():
                await self._register(socket)
                if not self._unregistered:
                    self._news = anyio.Event()
                    await self._news.wait()
        except ConnectionFailedError as error:
            logger.info("socket lost: %s", error)
        connection.cancel()

    async def _register(self, socket: Socket) -> None:
        tokens, self._unregistered = self._unregistered, []
        for token in tokens:
            if token in self._tasks:
                self._registered += 1
                self._first = self._first or token
                self._registered_at[token] = clock.loop_time()
                await socket.send(registration(token))

    def _opened(self) -> None:
        self.is_open = True
        self._opened_at = clock.loop_time()
        self._registered, self._first = 0, ""
        self._registered_at.clear()
        self._suspects.clear()
        self._unregistered = list(self._tasks)
        for tracked in self._tasks.values():
            tracked.by_socket = True
        for tracked in self._lost:
            tracked.reconnected()

    def _closed(self) -> None:
        was_steady = self.is_open and clock.loop_time() - self._opened_at >= STEADY_SECONDS
        self._drops = 1 if was_steady else self._drops + 1
        self._lost = list(self._tasks.values()) if self.is_open else self._lost
        self.is_open = False
        for tracked in list(self._tasks.values()):
            tracked.by_socket = False
            self._socket_feed.on_lost(tracked)

    def _backoff(self) -> float:
        return min(BACKOFF_CAP, BACKOFF * 2.0 ** min(self._drops - 1, 10)) * (0.5 + clock.chance() / 2)
