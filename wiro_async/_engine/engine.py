"""The parts of a session that run, wired together. The session and its views share one engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import attrs

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.throttle import ServerClock, Throttle
from wiro_async._engine.realtime.realtime_connections import RealtimeConnections
from wiro_async._engine.submission.list_reader import ListReader
from wiro_async._engine.submission.submitter import Submitter
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import SessionClosedError
from wiro_async._protocol.submission.seen_ids import SeenIds
from wiro_async._public import public
from wiro_async._transport import threads
from wiro_async._transport.http import HttpTransport
from wiro_async._transport.http.library import Transport
from wiro_async._transport.network.tls import Tls, Verify
from wiro_async._transport.websocket import Socket, connected
from wiro_async._tuning import Tuning
from wiro_async._types import UpdateMode


@public
@attrs.frozen
class Statistics:
    """What a session holds at this moment; all zero after `aclose()`.

    Attributes:
        submissions: runs that were sent and have no response yet.
        waiting_submissions: runs that wait for a slot, because only so many tasks may run at once.
        watched_tasks: tasks that somebody waits for or listens to.
        owned_tasks: tasks that are stopped when the session closes, or are being stopped.
        requests: HTTP requests, event streams and downloads in flight.
        sockets: open WebSockets.
        background_tasks: asyncio tasks of the session besides its own one.
    """

    submissions: int
    waiting_submissions: int
    watched_tasks: int
    owned_tasks: int
    requests: int
    sockets: int
    background_tasks: int


class Engine:
    """The resources of a session. Nothing is opened before `open`."""

    def __init__(
        self,
        socket_url: str,
        user_agent: str,
        transport: Transport | None,
        *,
        verify: Verify,
        max_concurrency: int | None,
        compression: bool,
        tasks_per_socket: int,
        polls_per_second: float,
        tuning: Tuning,
    ) -> None:
        self.tuning = tuning
        self._socket_url = socket_url
        self._compression = compression
        self._tls = Tls(verify)
        self.user_agent = user_agent
        self.throttle = Throttle()
        self.server_clock = ServerClock()
        self.seen_ids: defaultdict[str, SeenIds] = defaultdict(SeenIds)  # by account
        self.http = HttpTransport(self._tls, tuning, transport)
        self.background = BackgroundTasks(self._stop_all, self._free)
        self.tracker = Tracker(
            self.background, tuning, max_concurrency, self._connect, tasks_per_socket, polls_per_second
        )
        self.limiter = self.tracker.limiter
        self.realtime = RealtimeConnections(tuning, self.background, self.tracker, self._connect_realtime)
        self.submitter = Submitter(tuning, self.background, self.limiter, self.tracker)
        self.list_reader = ListReader(tuning)
        self._closings: dict[object, Callable[[], Awaitable[None]]] = {}

    def statistics(self) -> Statistics:
        """Count what is held at this moment."""
        return Statistics(
            len(self.submitter),
            self.limiter.waiting,
            self.tracker.followed,
            self.tracker.owned,
            self.http.in_flight,
            self.tracker.socket.open_sockets + len(self.realtime),
            self.background.count,
        )

    async def open(self) -> None:
        """Bind the session to this event loop. Raises `SessionClosedError` if that cannot be done."""
        await self.background.open()
        threads.keep_for(self)

    def close_also(self, owner: object, closing: Callable[[], Awaitable[None]]) -> None:
        """Have something closed with the session, when all its background tasks have ended."""
        self._closings[owner] = closing

    def is_closed(self, owner: object) -> None:
        """It was closed before."""
        self._closings.pop(owner, None)

    async def warm(self, mode: UpdateMode) -> None:
        """Open the session, and begin to open a socket if the mode needs one: a task will want it soon."""
        await self.open()
        if mode in ("auto", "websocket"):
            self.tracker.socket.warm()

    async def aclose(self) -> None:
        """Stop the owned tasks, end all waits with `SessionClosedError`, and close everything.

        Cancelling ends the wait only. The session still closes.
        """
        self.submitter.give_up()
        await self.background.aclose()

    async def _stop_all(self) -> None:
        # The order matters: runs in flight may still become tasks, and those must be known before all are stopped.
        await self.submitter.aclose()
        await self.realtime.aclose()
        await self.tracker.stop_owned()
        # Waiting requests would hold up the background tasks that are cancelled after this.
        self.throttle.close()
        self.tracker.fail_all(SessionClosedError("the session was closed while this was waited for"))

    async def _free(self) -> None:
        for close in list(self._closings.values()):
            await close()
        await self.http.aclose()
        await threads.end_for(self)

    def _connect(self) -> AbstractAsyncContextManager[Socket]:
        return connected(self._socket_url, self.user_agent, self._tls, self._compression, self.tuning)

    def _connect_realtime(self) -> AbstractAsyncContextManager[Socket]:
        # No pings: a reader of audio may be slow on purpose, and pongs wait behind what was not read.
        return connected(self._socket_url, self.user_agent, self._tls, False, self.tuning, pings=False)
