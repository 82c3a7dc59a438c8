"""The feed of messages: one socket for all tasks of a session, and more only past a number of tasks.

The service documents a socket that serves a list of tasks, but nobody has promised it for runs. So what a socket brings
is held against what the polls say. Where tasks move unheard while others on the same socket are heard, sockets are not
shared for a while. A socket costs time at worst: the poller takes over wherever one is closed, late or silent.

A closed socket is opened again: at once if it brought news, else after a backoff. One task may be the reason that its
socket is closed whenever it is registered. So the tasks of a socket that keeps closing are divided between two. If the
other half has peace, one of the tasks is the reason, and the rest are divided into many parts, until it is alone: until
then, each step is a gap in the news of its neighbours. If neither half has peace, the service is the reason, and more
sockets would not help, unless they bring no news at all: then both halves may have such a task, and are divided once.
https://wiro.ai/docs/websocket
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing

import anyio

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.background.change import Change
from wiro_async._engine.tracking.tracked_task import Effect, TrackedTask
from wiro_async._errors import ConfigurationError, ConnectionFailedError
from wiro_async._protocol.messages.frames import Message, parse_frame, registration
from wiro_async._transport import clock
from wiro_async._transport.websocket import Socket
from wiro_async._tuning import Tuning

logger = logging.getLogger("wiro_async")

Connect = Callable[[], AbstractAsyncContextManager[Socket]]
LONGEST_TOKEN = 200


class SocketFeed:
    """Brings the messages of the tasks that are attached.

    Args:
        connect: opens a socket.
        per_socket: how many tasks one socket carries.
        route: finds a task by its token, or else by its id.
        apply: takes a message about a task.
        lost: takes note of a task whose socket went away.
    """

    def __init__(
        self,
        background: BackgroundTasks,
        tuning: Tuning,
        connect: Connect,
        per_socket: int,
        route: Callable[[str, str], TrackedTask | None],
        apply: Callable[[TrackedTask, Message], Effect],
        lost: Callable[[TrackedTask], None],
    ) -> None:
        self.tuning = tuning
        self.connect = connect
        self.lost = lost
        self._background = background
        self._per_socket = per_socket
        self._route = route
        self._apply = apply
        self._unshared_until = 0.0
        self._unheard = 0
        self._connections: list[SocketConnection] = []

    @property
    def per_socket(self) -> int:
        """How many tasks one socket carries now."""
        return self._per_socket if clock.loop_time() >= self._unshared_until else 1

    @property
    def open_sockets(self) -> int:
        """How many sockets are open."""
        return sum(connection.is_open for connection in self._connections)

    def warm(self) -> None:
        """Open the first socket: a task will need it soon."""
        if not self._connections:
            self._connect(needed=True)

    def attach(self, task: TrackedTask) -> None:
        """Register a task, if it has a token. Repeating it is harmless.

        Two records may turn out to be one task. Messages go to the one that `route` finds, and the other is polled.
        """
        token = task.ref.token
        if not token or self._route(token, "") is not task:
            return
        connection = self._connection_of(task)
        if connection is None:
            limit = self.per_socket
            with_room = (other for other in self._connections if other.has_room(limit))
            connection = min(with_room, key=lambda other: other.flaps, default=None) or self._connect()
            connection.add(task)
        elif connection.is_open:
            task.feed_opened()

    def detach(self, task: TrackedTask) -> None:
        """Let go of a task. The service cannot unregister it, so what still comes for it is dropped."""
        connection = self._connection_of(task)
        if connection is not None:
            connection.remove(task)

    def suspect(self, task: TrackedTask, since: float) -> None:
        """Polls show that a task has moved since a moment, and no message has said so."""
        connection = self._connection_of(task)
        if connection is not None and self.per_socket > 1:
            connection.suspect(task, since)

    def deliver(self, frame: bytes) -> tuple[TrackedTask, Effect] | None:
        """Hand a frame to its task, and return what it has changed. None if nobody follows such a task."""
        message = parse_frame(frame)
        if message is not None:
            task = self._route(message.token, message.task_id)
            return None if task is None or task.is_over or not task.users else (task, self._apply(task, message))
        token, bar, _ = frame[:LONGEST_TOKEN].partition(b"|")
        task = self._route(token.decode(errors="replace"), "") if bar else None
        if task is None or task.is_over:
            return None
        task.touch()  # audio, which is a sign of life
        return task, "nothing"

    def heard_shared(self) -> None:
        """A task was heard that was not the first on its socket, so sockets can be shared."""
        self._unheard = 0

    def count_unheard(self, tasks: list[TrackedTask]) -> None:
        """These tasks moved and were not heard, on a socket on which another one was heard."""
        self._unheard += len(tasks)
        if self._unheard < self.tuning.unheard_tasks or self.per_socket == 1:
            return
        seconds = self.tuning.unshared_seconds
        logger.warning("the service serves one task a socket; for %g s each task gets its own", seconds)
        self._unshared_until, self._unheard = clock.loop_time() + seconds, 0
        for connection in list(self._connections):
            for task in connection.unheard():
                connection.remove(task)
                self._connect().add(task)

    def divide(self, connection: SocketConnection, parts: int) -> None:
        """Leave a part of the tasks on a connection that keeps closing, and give each other part a new one."""
        tasks = connection.tasks
        siblings = [connection, *(self._connect() for _ in range(min(parts, len(tasks)) - 1))]
        connection.extend_siblings(siblings[1:])
        for number, sibling in enumerate(siblings):
            sibling.begin_division([other for other in siblings if other is not sibling])
            for task in tasks[number :: len(siblings)] if sibling is not connection else ():
                connection.remove(task)
                sibling.add(task, is_lost=True)

    def closed(self, connection: SocketConnection) -> None:
        """A connection is not needed any more."""
        self._connections.remove(connection)

    def _connection_of(self, task: TrackedTask) -> SocketConnection | None:
        return next((connection for connection in self._connections if connection.carries(task)), None)

    def _connect(self, needed: bool = False) -> SocketConnection:
        connection = SocketConnection(self, needed)
        self._connections.append(connection)
        self._background.start(connection.run)
        return connection


class SocketConnection:
    """One connection and the tasks on it. It connects, registers and reads, and connects again while it is needed.

    Args:
        needed: a task will come soon, so connect already.
    """

    def __init__(self, feed: SocketFeed, needed: bool) -> None:
        self._feed = feed
        self._needed = needed
        self._tasks: dict[str, TrackedTask] = {}
        self._unregistered: list[str] = []
        self._registered_at: dict[str, float] = {}
        self._registrations = 0
        self._first = ""
        self._changed = Change()
        self._failures = 0  # connections in a row that brought no news
        self._seen: dict[tuple[int, bytes], None] = {}  # the first messages of each connection, oldest first
        self._has_news = False
        self._flaps = 0  # connections in a row that were closed early
        self._openings = deque[float](maxlen=feed.tuning.socket_flaps)
        self._siblings: list[SocketConnection] = []  # the other parts, if its tasks were divided
        self._opened_at = 0.0
        self._suspects: set[TrackedTask] = set()
        self._lost: list[TrackedTask] = []
        self.is_open = False

    @property
    def flaps(self) -> int:
        """How often in a row it was closed early."""
        return 0 if self.is_open and self._age >= self._feed.tuning.socket_steady else self._flaps

    @property
    def _age(self) -> float:
        return clock.loop_time() - self._opened_at

    @property
    def tasks(self) -> list[TrackedTask]:
        """The tasks on it."""
        return list(self._tasks.values())

    def has_been_open_since(self, time: float) -> bool:
        """Whether it has been open since a moment, or before it."""
        return self.is_open and self._opened_at <= time

    def has_room(self, limit: int) -> bool:
        """Whether it takes another task; one that is to carry a single task takes none after it."""
        most = 1 if limit == 1 else self._feed.tuning.socket_max_registrations
        return len(self._tasks) < limit and self._registrations + len(self._unregistered) < most

    def carries(self, task: TrackedTask) -> bool:
        """Whether the task is on this connection."""
        return self._tasks.get(task.ref.token or "") is task

    def unheard(self) -> list[TrackedTask]:
        """The tasks of which no message has come."""
        return [task for task in self._tasks.values() if not task.schedule.was_heard]

    def suspect(self, task: TrackedTask, since: float) -> None:
        """It was registered at that moment and has moved since, unheard: the next message of another one decides."""
        if self._registered_at.get(task.ref.token or "", float("inf")) < since:
            self._suspects.add(task)

    def extend_siblings(self, parts: list[SocketConnection]) -> None:
        """Show its siblings the parts that it is divided into: it alone may carry nothing but the reason."""
        for sibling in self._siblings:
            sibling._siblings.extend(parts)

    def begin_division(self, siblings: list[SocketConnection]) -> None:
        """Carry a part of the tasks, and begin without a past."""
        self._failures = self._flaps = 0
        self._siblings = siblings

    def add(self, task: TrackedTask, is_lost: bool = False) -> None:
        """Carry a task, which another connection may have lost."""
        if is_lost:
            self._lost.append(task)
        token = task.ref.token or ""
        self._tasks[token] = task
        self._unregistered.append(token)
        if self.is_open:
            task.feed_opened()
        self._changed.notify()

    def remove(self, task: TrackedTask) -> None:
        """Carry it no longer."""
        token = task.ref.token or ""
        del self._tasks[token]
        self._registered_at.pop(token, None)
        task.feed_closed()
        if not self._tasks:
            self._changed.notify()

    async def run(self) -> None:
        """Serve until there has been nothing to carry for a while."""
        try:
            while await self._is_needed():
                await self._serve()
                parts = self._parts()
                if parts > 1:
                    self._feed.divide(self, parts)  # and open it at once: tasks without a fault wait for it
                else:
                    await anyio.sleep(self._backoff())
        finally:
            self._feed.closed(self)

    async def _is_needed(self) -> bool:
        while not self._tasks and not self._needed:
            with anyio.move_on_after(self._feed.tuning.socket_idle if self._feed.per_socket > 1 else 0):
                await self._changed.wait()
                continue
            return False
        return True

    async def _serve(self) -> None:
        self._needed = self._has_news = False
        try:
            async with self._feed.connect() as socket:
                self._opened()
                async with anyio.create_task_group() as group:
                    group.start_soon(self._write, socket, group.cancel_scope)
                    async with aclosing(socket.frames()) as frames:
                        async for frame in frames:
                            self._take(frame)
                    group.cancel_scope.cancel()
        except (ConnectionFailedError, ConfigurationError) as error:
            logger.info("%s Runs are polled meanwhile.", error)
        finally:
            self._closed()

    async def _write(self, socket: Socket, connection: anyio.CancelScope) -> None:
        try:
            while await self._is_needed():
                tokens, self._unregistered = self._unregistered, []
                for token in tokens:
                    if token in self._tasks:
                        self._registrations += 1
                        self._first = self._first or token
                        self._registered_at[token] = clock.loop_time()
                        await socket.send(registration(token))
                if not self._unregistered:
                    await self._changed.wait()
        except ConnectionFailedError as error:
            logger.info("socket lost: %s", error)
        connection.cancel()

    def _take(self, frame: bytes) -> None:
        delivered = self._feed.deliver(frame)
        if delivered is None:
            return
        task, _ = delivered
        self._has_news = self._has_news or self._is_new(frame)
        if task.ref.token != self._first:
            self._feed.heard_shared()
        if self._suspects:
            suspects, self._suspects = self._suspects, set()
            unheard = [other for other in suspects if self.carries(other) and not other.schedule.was_heard]
            self._feed.count_unheard(unheard)

    def _is_new(self, frame: bytes) -> bool:
        """Whether it is no repetition. A service that repeats what has happened, and closes, has brought no news."""
        key = len(frame), frame[-256:]
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > self._feed.tuning.socket_seen:
            del self._seen[next(iter(self._seen))]
        return True

    def _opened(self) -> None:
        # A new connection knows nothing of the old one's registrations.
        self.is_open = True
        self._opened_at = clock.loop_time()
        self._openings.append(self._opened_at)
        self._registrations, self._first = 0, ""
        self._registered_at.clear()
        self._suspects.clear()
        self._unregistered = list(self._tasks)
        for task in self._tasks.values():
            task.feed_opened()
        for task in self._lost:
            if self.carries(task):
                task.reconnected()

    def _closed(self) -> None:
        was_steady = self.is_open and self._age >= self._feed.tuning.socket_steady
        # It has done its work, so the next one is opened at once: some services close a socket after each task. A
        # socket that closes at once again and again, without news, must not be reopened in a tight loop.
        self._failures = 0 if self._has_news else 1 if was_steady else self._failures + 1
        if self.is_open:
            self._flaps = 0 if was_steady else self._flaps + 1
        self._lost = list(self._tasks.values()) if self.is_open else self._lost
        self.is_open = False
        for task in list(self._tasks.values()):
            task.feed_closed()
            self._feed.lost(task)

    def _backoff(self) -> float:
        tuning = self._feed.tuning
        jitter = 0.5 + tuning.random() / 2
        if not self._failures:
            return max(0.0, tuning.socket_reopen * jitter - self._age)
        seconds = tuning.socket_backoff * 2.0 ** min(self._failures - 1, 10)
        return min(tuning.socket_max_backoff, seconds) * jitter

    def _parts(self) -> int:
        """Into how many parts its tasks are divided: one of them may be the reason that it keeps closing."""
        tuning = self._feed.tuning
        if len(self._tasks) < 2 or self._flaps < tuning.socket_flaps:
            return 1
        siblings = [sibling for sibling in self._siblings if sibling.tasks]  # without tasks it shows nothing
        if not siblings:
            return 2
        at_peace = sum(sibling.has_been_open_since(self._openings[0]) for sibling in siblings)
        # Both halves may carry such a task. If the service itself closes sockets, it brings news before it does so, or
        # there is no more to lose than a few connections: the parts of a half are not divided in this way again.
        is_mute_half = len(self._siblings) == 1 and self._failures >= tuning.socket_flaps
        return tuning.socket_parts if 2 * at_peace >= len(siblings) or is_mute_half else 1
