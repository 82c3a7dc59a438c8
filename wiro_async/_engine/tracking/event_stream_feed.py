"""The feed of runs whose own response is an event stream (`updates="sse"`).

The stream brings the ids, the messages and the final state of one task. It may break at any moment, and what it says of
the end is believed as little as what a socket says. Then the socket and the poller take over.
https://wiro.ai/docs/run-a-model
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import anyio

from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.background.change import Change
from wiro_async._engine.calls.api_client import Check
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.tracking.tracked_task import Effect, TrackedTask
from wiro_async._errors import ConnectionFailedError, DecodingError, RequestTimeoutError
from wiro_async._protocol.http.requests import Request
from wiro_async._protocol.messages.event_stream import ServerEvent, find_ids, parse_event
from wiro_async._protocol.messages.frames import Message
from wiro_async._protocol.submission.decision import Left
from wiro_async._protocol.tasks.records import Submitted
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo

logger = logging.getLogger("wiro_async")


class EventStreamFeed:
    """Opens event streams, and hands what they bring to their tasks until they end or break.

    Args:
        apply: takes a message or a state of a task.
        ended: takes note of a task whose stream is gone.
    """

    def __init__(
        self,
        background: BackgroundTasks,
        apply: Callable[[TrackedTask, Message | TaskInfo], Effect],
        ended: Callable[[TrackedTask], None],
    ) -> None:
        self._background = background
        self._apply = apply
        self._ended = ended
        self._streams: set[_EventStream] = set()

    async def start(
        self, calls: TaskCalls, request: Request, on_leaving: Callable[[Left], None], check: Check | None = None
    ) -> TaskRef:
        """Send a run, and return its ids as soon as the stream reports them. Cancelling drops the stream.

        Raises:
            WiroError: the ids did not come; the run may have been sent.
        """
        stream = _EventStream(self._apply)
        self._streams.add(stream)
        self._background.start(self._run, stream, calls, request, on_leaving, check)
        try:
            return await stream.ids()
        except BaseException:
            stream.drop()
            raise

    def attach(self, task: TrackedTask) -> None:
        """Bring a task the messages of its stream, if it has one."""
        for stream in self._streams:
            if stream.is_about(task.ref):
                stream.bring_to(task)
                task.use_own_feed(True)

    def detach(self, task: TrackedTask) -> None:
        """Bring it nothing more. The stream is read to its end, so that its connection can be used again."""
        for stream in self._streams:
            if stream.task is task:
                stream.bring_to(None)

    async def _run(
        self,
        stream: _EventStream,
        calls: TaskCalls,
        request: Request,
        on_leaving: Callable[[Left], None],
        check: Check | None,
    ) -> None:
        try:
            await stream.read(calls, request, on_leaving, check)
        finally:
            self._streams.discard(stream)
            if stream.task is not None:
                self._ended(stream.task)


class _EventStream:
    """One stream. It may not have reported yet which task it is about; if it does not in time, it is dropped."""

    def __init__(self, apply: Callable[[TrackedTask, Message | TaskInfo], Effect]) -> None:
        self._apply = apply
        self._scope = anyio.CancelScope()
        self._ref: TaskRef | None = None
        self._error: BaseException | None = None
        self._changed = Change()
        self.task: TrackedTask | None = None

    def is_about(self, ref: TaskRef) -> bool:
        """Whether it brings news of a task."""
        own = self._ref
        return own is not None and bool({own.token, own.task_id} & {ref.token, ref.task_id} - {None})

    def bring_to(self, task: TrackedTask | None) -> None:
        """Hand what comes to a task, or to none."""
        self.task = task

    def drop(self) -> None:
        """Close the connection."""
        self._scope.cancel()

    async def ids(self) -> TaskRef:
        """Wait for the ids of the task. Raises `WiroError` if they do not come."""
        await self._changed.until(lambda: self._ref or self._error)
        if self._ref is not None:
            return self._ref
        assert self._error is not None
        raise self._error

    async def read(
        self, calls: TaskCalls, request: Request, on_leaving: Callable[[Left], None], check: Check | None
    ) -> None:
        """Send the request and read its response to the end."""
        try:
            with self._scope:
                async with calls.client.events(request, on_leaving, check) as answer:
                    if isinstance(answer, dict):
                        self._learn(Submitted.from_wire(answer))
                    else:
                        timeout = calls.client.timeout
                        self._set_deadline(float("inf") if timeout is None else anyio.current_time() + timeout)
                        await self._read_events(answer)
            if self._scope.cancelled_caught:
                self._error = RequestTimeoutError("the event stream did not report in time which task it is about")
            else:
                self._error = ConnectionFailedError("the event stream ended before it reported which task it is about")
        except Exception as error:
            self._error = error
            if self._ref is not None:
                logger.info("event stream of task %s lost: %s", self._ref.task_id, error)
        except asyncio.CancelledError:
            self._error = ConnectionFailedError("the event stream ended before it reported which task it is about")
            raise
        except BaseException as error:  # of the source of an upload
            self._error = error
        finally:
            self._changed.notify()

    async def _read_events(self, events: AsyncIterator[ServerEvent]) -> None:
        async for event in events:
            news = parse_event(event)
            # Not only the first event may hold the ids: nobody has promised its form.
            if self._ref is None and (submitted := find_ids(news)) is not None:
                self._learn(submitted)
            # Nobody may follow the task yet. Nothing is lost then: each message holds the whole text so far.
            if self.task is not None and isinstance(news, (Message, TaskInfo)):
                self._apply(self.task, news)

    def _learn(self, submitted: Submitted | None) -> None:
        if submitted is None:
            raise DecodingError("the response holds no task id", http_status=200)
        if self._ref is None:
            self._ref = TaskRef(submitted.task_id or None, submitted.token)
            self._set_deadline(float("inf"))
            self._changed.notify()

    def _set_deadline(self, deadline: float) -> None:
        self._scope.deadline = deadline
