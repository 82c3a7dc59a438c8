"""From a model and an input to a task of the service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, TypeAlias, TypedDict, TypeVar
from uuid import uuid4

import anyio
import attrs

from wiro_async._api.following import EventStream, Following
from wiro_async._api.handle import TaskHandle
from wiro_async._api.models import Models
from wiro_async._api.options import Options, next_url
from wiro_async._api.results import ParsedResult, TaskResult
from wiro_async._engine.engine import Engine
from wiro_async._engine.submitter import RunLog, RunPlan, Trace
from wiro_async._errors import InvalidInputError
from wiro_async._protocol import requests
from wiro_async._protocol.entities import Task
from wiro_async._protocol.events import TaskEvent
from wiro_async._protocol.matching import Intent, with_intent
from wiro_async._types import Input, OnCancel, Timeouts

if TYPE_CHECKING:
    from wiro_async._api.batch import RunRequest
    from wiro_async._api.forms import ResponseModel
    from wiro_async._protocol.pricing import Estimate

T = TypeVar("T")
Listener: TypeAlias = Callable[[TaskEvent], Awaitable[None] | None]


class RunSettings(TypedDict, total=False):
    """Keyword arguments of `AsyncWiro.run`, which tells what they mean."""

    timeout: float | Timeouts | None
    queue_timeout: float | None
    callback_url: str | None
    project_id: str | int | None
    on_event: Listener | None
    on_cancel: OnCancel
    check: bool | None


@attrs.frozen
class Launch:
    """One wish of the caller for a run; its attributes are the arguments of `AsyncWiro.run`."""

    model: str
    input: Input | None = None
    callback_url: str | None = attrs.field(default=None, repr=False)
    project_id: str | int | None = None
    on_cancel: OnCancel = "stop"
    check: bool | None = None

    def __attrs_post_init__(self) -> None:
        if self.on_cancel not in ("stop", "leave"):
            raise InvalidInputError(message=f"on_cancel is {self.on_cancel!r}; give 'stop' or 'leave'")


@attrs.frozen
class Launcher:
    """Submits what a session, or a view on it, is asked to run."""

    engine: Engine
    following: Following
    models: Models
    _options: Options

    async def submit(self, launch: Launch) -> TaskHandle:
        """Make the task, once. Errors as of `AsyncWiro.submit`."""
        return await self.submit_within(self._options.timeouts, launch)

    def without_socket(self) -> Launcher:
        """The same for tasks that are followed in another way than by the shared socket."""
        return attrs.evolve(self, options=attrs.evolve(self._options, progress="polling"))

    async def submit_within(self, timeouts: Timeouts, launch: Launch) -> TaskHandle:
        """The same within the time-outs that count before there is a task."""
        phase, seconds = timeouts.before_start
        trace = Trace()
        with anyio.move_on_after(seconds):
            return await self._submit(launch, self.following.within(timeouts), trace)
        raise trace.timed_out(phase, seconds)

    def timeouts(self, timeout: float | Timeouts | None, queue_timeout: float | None) -> Timeouts:
        """Those of one run, else the session's."""
        return Timeouts.of(timeout, self._options.timeouts).with_queue(queue_timeout)

    async def run(self, launch: Launch, timeouts: Timeouts, on_event: Listener | None = None) -> TaskResult:
        """Make the task and wait for its result. Errors as of `AsyncWiro.run`."""
        start = anyio.current_time()
        handle = await self.submit_within(timeouts, launch)
        async with self.engine.stopper.owning(self.following.calls, handle.ref, launch.on_cancel):
            if on_event is None:
                return await handle.result_since(start, timeouts)
            return self.following.result(await _pass_on(handle.events_since(start, timeouts), on_event))

    async def run_parsed(
        self, launch: Launch, timeouts: Timeouts, on_event: Listener | None, wanted: ResponseModel[T]
    ) -> ParsedResult[T]:
        """The same, with an answer of a form. Raises `ResponseFormatError` too."""
        from wiro_async._api.forms import AnswerForm, check_form

        form = await AnswerForm.of(wanted)
        check_form(self.models.known(launch.model))
        result = await self.run(attrs.evolve(launch, input=form.asked_for(launch.input)), timeouts, on_event)
        return ParsedResult(result.task, self.following.downloader, form)

    async def plan_item(self, request: RunRequest, on_exit: OnCancel, log: RunLog | None) -> RunPlan:
        """How an item of a batch is run."""
        plan = await self._plan(
            Launch(request.model, request.input, request.callback_url, request.project_id, on_cancel=on_exit)
        )
        return plan if log is None else attrs.evolve(plan, log=log)

    async def estimate_item(self, request: RunRequest) -> Estimate:
        """What an item of a batch may cost."""
        return await self.models.estimate(request.model, request.input)

    async def _submit(self, launch: Launch, following: Following, trace: Trace) -> TaskHandle:
        plan = attrs.evolve(await self._plan(launch), trace=trace)
        await self.engine.warm("polling" if plan.intent.callback_url else self._options.progress)
        ref = await self.engine.submitter.submit(following.calls, plan)
        return TaskHandle(ref, launch.model, following, anyio.current_time())

    async def _plan(self, launch: Launch) -> RunPlan:
        options = self._options
        given = await self.models.prepared(launch.model, launch.input, options.check_inputs, launch.check)
        callback_url = launch.callback_url or next_url(options.callback_url)
        if callback_url is not None:
            callback_url = with_intent(callback_url, uuid4().hex)
        mode = options.progress
        return RunPlan(
            requests.run(launch.model, given, callback_url, launch.project_id, mode == "sse"),
            Intent.of(launch.model, given, callback_url, launch.project_id),
            launch.on_cancel,
            options.on_unknown,
            mode,
        )


async def _pass_on(events: EventStream, listener: Listener) -> Task:
    async with events:
        async for event in events:
            answer = listener(event)
            if isawaitable(answer):
                await answer
    assert events.over is not None
    return events.over
