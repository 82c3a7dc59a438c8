"""From a model and an input to a task of the service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, TypedDict, TypeVar
from uuid import uuid4

import anyio
import attrs

from wiro_async._api.resources.model_catalog import Models
from wiro_async._api.results.task_result import ParsedResult, TaskResult
from wiro_async._api.session_options import Options, next_url
from wiro_async._api.tasks.handle import TaskHandle
from wiro_async._api.tasks.task_context import TaskContext
from wiro_async._api.tasks.task_events import EventStream
from wiro_async._engine.background.user_callback import call_user
from wiro_async._engine.engine import Engine
from wiro_async._engine.submission.submitter import RunLog, RunPlan, Trace
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._errors import InvalidInputError
from wiro_async._protocol.http import requests
from wiro_async._protocol.submission.intent import Intent, with_intent
from wiro_async._protocol.tasks.events import TaskEvent
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._types import Input, OnCancel, Timeouts

if TYPE_CHECKING:
    from wiro_async._api.batch import RunRequest
    from wiro_async._api.conversation.answer_reader import ResponseModel
    from wiro_async._protocol.models.pricing import Estimate

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
class RunSpec:
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
class Runner:
    """Submits what a session, or a view on it, is asked to run."""

    engine: Engine
    context: TaskContext
    models: Models
    _options: Options

    async def submit(self, spec: RunSpec) -> TaskHandle:
        """Make the task, once. Errors as of `AsyncWiro.submit`."""
        return self.handle(await self.start(spec, self._options.timeouts), self._options.timeouts)

    def handle(self, task: TrackedTask, timeouts: Timeouts) -> TaskHandle:
        """The handle of a task that was just made."""
        return TaskHandle(task.ref, task.model, self.context.within(timeouts), task.made_at)

    def without_socket(self) -> Runner:
        """The same for tasks that are followed in another way than by the shared socket."""
        return attrs.evolve(self, options=attrs.evolve(self._options, progress="polling"))

    async def start(self, spec: RunSpec, timeouts: Timeouts) -> TrackedTask:
        """Make the task, once, within the timeouts that count before there is a task."""
        phase, seconds = timeouts.before_start
        trace = Trace()
        with anyio.move_on_after(seconds):
            plan = attrs.evolve(await self._plan(spec), trace=trace)
            await self.engine.warm("polling" if plan.intent.callback_url else self._options.progress)
            return await self.engine.submitter.submit(self.context.calls.within(timeouts.request), plan)
        raise trace.timed_out(phase, seconds)

    def timeouts(self, timeout: float | Timeouts | None, queue_timeout: float | None) -> Timeouts:
        """Those of one run, else the session's."""
        return Timeouts.of(timeout, self._options.timeouts).with_queue(queue_timeout)

    async def run(self, spec: RunSpec, timeouts: Timeouts, on_event: Listener | None = None) -> TaskResult:
        """Make the task and wait for its result. Errors as of `AsyncWiro.run`."""
        start = anyio.current_time()
        task = await self.start(spec, timeouts)
        context = self.context.within(timeouts)
        async with task.owned(spec.on_cancel):
            if on_event is None:
                info = await context.wait(task.ref, spec.model, task.made_at, start)
            else:
                info = await self._report_events(self.handle(task, timeouts).events_since(start, timeouts), on_event)
            return context.result(info)

    async def _report_events(self, events: EventStream, on_event: Listener) -> TaskInfo:
        async with events:
            async for event in events:
                await call_user(on_event, event)
        assert events.over is not None
        return events.over

    async def run_parsed(
        self, spec: RunSpec, timeouts: Timeouts, on_event: Listener | None, wanted: ResponseModel[T]
    ) -> ParsedResult[T]:
        """The same, with an answer of a form. Raises `ResponseFormatError` too."""
        from wiro_async._api.conversation.answer_reader import AnswerForm, check_form

        form = await AnswerForm.of(wanted)
        check_form(self.models.known(spec.model))
        result = await self.run(attrs.evolve(spec, input=form.add_to(spec.input)), timeouts, on_event)
        return ParsedResult(result.info, self.context.downloader, form)

    async def plan_item(self, request: RunRequest, on_exit: OnCancel, log: RunLog | None) -> RunPlan:
        """How an item of a batch is run."""
        plan = await self._plan(
            RunSpec(request.model, request.input, request.callback_url, request.project_id, on_cancel=on_exit)
        )
        return plan if log is None else attrs.evolve(plan, log=log)

    async def estimate_item(self, request: RunRequest) -> Estimate:
        """What an item of a batch may cost."""
        return await self.models.estimate(request.model, request.input)

    async def _plan(self, spec: RunSpec) -> RunPlan:
        options = self._options
        given = await self.models.prepared(spec.model, spec.input, options.check_inputs, spec.check)
        callback_url = spec.callback_url or next_url(options.callback_url)
        if callback_url is not None:
            callback_url = with_intent(callback_url, uuid4().hex)
        mode = options.progress
        return RunPlan(
            requests.run(spec.model, given, callback_url, spec.project_id, mode == "sse"),
            Intent.of(spec.model, given, callback_url, spec.project_id),
            spec.on_cancel,
            options.on_unknown,
            mode,
        )
