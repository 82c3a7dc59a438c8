"""All that one session runs, wired together: shared by the session and its views."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import attrs

from wiro_async._engine.callbacks import Callbacks
from wiro_async._engine.event_runs import EventRuns
from wiro_async._engine.hub import SocketHub
from wiro_async._engine.limiter import Limiter
from wiro_async._engine.nursery import Nursery
from wiro_async._engine.poller import Poller
from wiro_async._engine.realtime import Realtime
from wiro_async._engine.running import Running
from wiro_async._engine.sender import Pace
from wiro_async._engine.stopping import Stopper
from wiro_async._engine.submitter import Submitter
from wiro_async._engine.watches import Watches
from wiro_async._errors import SessionClosedError
from wiro_async._transport.http import HttpTransport
from wiro_async._transport.websocket import Socket, connected
from wiro_async._transport.network.tls import Tls, Verify
from wiro_async._types import ProgressMode

if TYPE_CHECKING:
    import httpx


@attrs.frozen
class Statistics:
    """What a session holds at this moment; all zero after `aclose()`.

    Attributes:
        submissions: runs sent and not answered yet.
        waiting_submissions: runs that wait for others to end, because so many are allowed at a time.
        watched_tasks: tasks that somebody waits for or follows.
        owned_tasks: tasks that are stopped when the session closes, or are being stopped.
        requests: HTTP calls, event streams and downloads under way.
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
        transport: httpx.AsyncBaseTransport | None,
        *,
        verify: Verify,
        max_concurrency: int | None,
        compression: bool,
        tasks_per_socket: int,
        polls_per_second: float,
    ) -> None:
        self._socket_url = socket_url
        self._compression = compression
        self._tls = Tls(verify)
        self.user_agent = user_agent
        self.pace = Pace()
        self.http = HttpTransport(self._tls, transport)
        self.nursery = Nursery(self._stop_all, self.http.aclose)
        self.poller = Poller(self.nursery, polls_per_second)
        self.hub = SocketHub(self.nursery, self._connect, tasks_per_socket, self.poller.reconsider)
        self.limiter = Limiter(max_concurrency)
        self.running = Running(self.limiter)
        self.limiter.on_line = self.running.look_after
        self.watches = self.running.watches = Watches(self.poller, self.hub, self.running.over, self.running.made_at)
        self.callbacks = Callbacks(self.watches)
        self.stopper = Stopper(self.nursery)
        self.realtime = Realtime(self.nursery, self.stopper, self.watches, self._connect_realtime)
        event_runs = EventRuns(self.nursery, self.watches)
        self.submitter = Submitter(self.nursery, self.stopper, self.limiter, self.running, event_runs)
        self.submitter.on_made = self.callbacks.note

    def statistics(self) -> Statistics:
        """What is held at this moment."""
        return Statistics(
            len(self.submitter),
            self.limiter.waiting,
            len(self.watches),
            len(self.stopper),
            self.http.in_flight,
            self.hub.open_sockets + len(self.realtime),
            self.nursery.count,
        )

    async def open(self) -> None:
        """Be ready, in this event loop. Raises `SessionClosedError` if that cannot be."""
        await self.nursery.open()

    async def warm(self, mode: ProgressMode) -> None:
        """Be ready, and have a socket opened meanwhile if the mode needs one."""
        await self.open()
        if mode in ("auto", "websocket"):
            self.hub.warm()

    async def aclose(self) -> None:
        """Stop the tasks that are owned, end all waits with `SessionClosedError`, close everything.

        Cancelling ends the wait for that, not the closing.
        """
        self.submitter.give_up()
        await self.nursery.aclose()

    async def _stop_all(self) -> None:
        await self.submitter.aclose()
        await self.realtime.aclose()
        await self.stopper.aclose()
        self.pace.close()
        self.watches.fail_all(SessionClosedError("the session was closed while this was waited for"))

    def _connect(self) -> AbstractAsyncContextManager[Socket]:
        return connected(self._socket_url, self.user_agent, self._tls, self._compression)

    def _connect_realtime(self) -> AbstractAsyncContextManager[Socket]:
        return connected(self._socket_url, self.user_agent, self._tls, compression=False, pings=False)
