"""Runs whose own answer is an event stream (`progress="sse"`): Run/…/sync?stream=true."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import anyio
import attrs

from wiro_async._engine.nursery import Nursery
from wiro_async._engine.sender import Departure
from wiro_async._engine.task_calls import TaskCalls, TaskRef
from wiro_async._engine.watches import Watches
from wiro_async._errors import ConnectionFailedError, DecodingError
from wiro_async._protocol.entities import Submitted
from wiro_async._protocol.requests import Request
from wiro_async._protocol.sse import ServerEvent, told_by

logger = logging.getLogger("wiro_async")


@attrs.define
class _Opening:
    ref: TaskRef | None = None
    error: Exception | None = None
    known: anyio.Event = attrs.field(factory=anyio.Event)


class EventRuns:
    """Opens event streams and hands what they bring to the tasks' watchers, until they end or break."""

    def __init__(self, nursery: Nursery, watches: Watches) -> None:
        self._nursery = nursery
        self._watches = watches

    async def start(self, calls: TaskCalls, request: Request, departure: Departure) -> TaskRef:
        """Send a run; its ids are known as soon as the stream begins.

        Raises:
            WiroError: what became of it otherwise; it may have been sent.
        """
        opening = _Opening()
        self._nursery.start(self._run, calls, request, departure, opening)
        await opening.known.wait()
        if opening.ref is not None:
            return opening.ref
        raise opening.error or ConnectionFailedError("the event stream ended before it told which task it is")

    async def _run(self, calls: TaskCalls, request: Request, departure: Departure, opening: _Opening) -> None:
        try:
            async with calls.sender.events(request, departure) as answer:
                if isinstance(answer, dict):
                    self._note(opening, Submitted.from_wire(answer))
                else:
                    await self._read(answer, opening)
        except Exception as error:
            opening.error = error
            if opening.ref is not None:
                logger.info("event stream of task %s lost: %s", opening.ref.task_id, error)
        finally:
            if opening.ref is not None:
                self._watches.stream_ended(opening.ref)
            opening.known.set()

    async def _read(self, events: AsyncIterator[ServerEvent], opening: _Opening) -> None:
        async for event in events:
            told = told_by(event)
            if isinstance(told, Submitted):
                self._note(opening, told)
            elif told is not None and opening.ref is not None:
                self._watches.stream_told(opening.ref, told)

    def _note(self, opening: _Opening, submitted: Submitted | None) -> None:
        if submitted is None:
            raise DecodingError("the answer holds no task id", 200)
        if opening.ref is None:
            opening.ref = TaskRef(submitted.task_id or None, submitted.token)
            self._watches.stream_began(opening.ref)
            opening.known.set()
