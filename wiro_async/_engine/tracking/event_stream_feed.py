"""Runs whose own answer is an event stream (`updates="sse"`): Run/…/sync?stream=true."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import anyio
import attrs

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.sender import Departure
from wiro_async._engine.calls.task_calls import TaskCalls, TaskRef
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._errors import ConnectionFailedError, DecodingError, RequestTimeoutError
from wiro_async._protocol.http.event_stream import ServerEvent, find_ids, parse_event
from wiro_async._protocol.http.requests import Request
from wiro_async._protocol.messages.frames import Message
from wiro_async._protocol.tasks.records import Submitted, TaskInfo

logger = logging.getLogger("wiro_async")


@attrs.define
class _Opening:
    """A stream that may not have told yet which task it is about; if it does not in time, it is given up."""

    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    ref: TaskRef | None = None
    error: Exception | None = None
    known: anyio.Event = attrs.field(factory=anyio.Event)


class EventRuns:
    """Opens event streams and hands what they bring to the tasks' watchers, until they end or break."""

    def __init__(self, background: BackgroundTasks, tracker: Tracker) -> None:
        self._background = background
        self._tracker = tracker

    async def start(self, calls: TaskCalls, request: Request, departure: Departure) -> TaskRef:
        """Send a run; its ids are known as soon as the stream tells them. Cancelling drops the stream.

        Raises:
            WiroError: what became of it otherwise; it may have been sent.
        """
        opening = _Opening()
        self._background.start(self._run, calls, request, departure, opening)
        try:
            await opening.known.wait()
        except BaseException:
            opening.scope.cancel()
            raise
        if opening.ref is not None:
            return opening.ref
        raise opening.error or ConnectionFailedError("the event stream ended before it told which task it is")

    async def _run(self, calls: TaskCalls, request: Request, departure: Departure, opening: _Opening) -> None:
        try:
            with opening.scope:
                async with calls.sender.events(request, departure) as answer:
                    if isinstance(answer, dict):
                        self._note(opening, Submitted.from_wire(answer))
                    else:
                        opening.scope.deadline = _deadline(calls.sender.timeout)
                        await self._read(answer, opening)
            if opening.scope.cancelled_caught:
                opening.error = RequestTimeoutError("the event stream did not tell in time which task it is")
        except Exception as error:
            opening.error = error
            if opening.ref is not None:
                logger.info("event stream of task %s lost: %s", opening.ref.task_id, error)
        finally:
            if opening.ref is not None:
                self._tracker.stream_ended(opening.ref)
            opening.known.set()

    async def _read(self, events: AsyncIterator[ServerEvent], opening: _Opening) -> None:
        async for event in events:
            told = parse_event(event)
            if opening.ref is None and (submitted := find_ids(told)) is not None:
                self._note(opening, submitted)
            if opening.ref is not None and isinstance(told, (Message, TaskInfo)):
                self._tracker.stream_told(opening.ref, told)

    def _note(self, opening: _Opening, submitted: Submitted | None) -> None:
        if submitted is None:
            raise DecodingError("the answer holds no task id", http_status=200)
        if opening.ref is None:
            opening.ref = TaskRef(submitted.task_id or None, submitted.token)
            opening.scope.deadline = float("inf")
            self._tracker.stream_began(opening.ref)
            opening.known.set()


def _deadline(seconds: float | None) -> float:
    return float("inf") if seconds is None else anyio.current_time() + seconds
