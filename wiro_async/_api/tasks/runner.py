"""Prepares runs and has them submitted: from a model and an input to a task."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import anyio
import attrs

from wiro_async._api.resources.model_lookup import ModelLookup
from wiro_async._api.resources.run_inputs import RunInputs
from wiro_async._api.results.task_result import ParsedResult, TaskResult
from wiro_async._api.run_options import EventListener
from wiro_async._api.session_options import Options, next_url
from wiro_async._api.tasks.handle import TaskHandle, events_since
from wiro_async._api.tasks.task_context import TaskContext
from wiro_async._engine.engine import Engine
from wiro_async._engine.submission.submission import RunPlan, Submission, timed_out
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._errors import InvalidInputError, WiroError
from wiro_async._protocol.http import requests
from wiro_async._protocol.submission.intent import Intent, with_intent
from wiro_async._transport.user_code import uncancelled
from wiro_async._types import Input, OnCancel, Timeouts, merge_timeouts, start_timeout

if TYPE_CHECKING:
    from wiro_async._api.results.answer_reader import ResponseModel

T = TypeVar("T")


def _on_cancel(_: object, attribute: attrs.Attribute[OnCancel], value: OnCancel) -> None:
    if value not in ("stop", "leave"):
        raise InvalidInputError(message=f"on_cancel is {value!r}; give 'stop' or 'leave'")


def _validate(_: object, attribute: attrs.Attribute[bool | None], value: object) -> None:
    if value not in (True, False, None):
        raise InvalidInputError(message=f"validate is {value!r}; give True, False or None")


@attrs.frozen
class RunSpec:
    """One run that the caller asks for. The attributes are options of `AsyncWiro.run`."""

    model: str
    input: Input | None = None
    callback_url: str | None = attrs.field(default=None, repr=False)
    project_id: str | int | None = None
    on_cancel: OnCancel = attrs.field(default="stop", validator=_on_cancel)
    validate: bool | None = attrs.field(default=None, validator=_validate)

    @classmethod
    def of(cls, model: str, input: Input | None, options: Mapping[str, object]) -> RunSpec:
        """Pick the options that decide what is sent."""
        known: dict[str, Any] = {name: value for name, value in options.items() if name in _SPEC_OPTIONS}
        return cls(model, input, **known)


_SPEC_OPTIONS = {field.name for field in attrs.fields(RunSpec)}


@attrs.frozen
class Runner:
    """Makes the runs of a session, or of a view of it."""

    engine: Engine
    context: TaskContext
    lookup: ModelLookup
    inputs: RunInputs
    _options: Options

    async def submit(self, spec: RunSpec) -> TaskHandle:
        """Make the task, once. Errors as of `AsyncWiro.submit`."""
        return self.handle(await self.start(spec, self._options.timeout), self._options.timeout)

    def handle(self, task: TrackedTask, timeouts: Timeouts) -> TaskHandle:
        """The handle of a task that was just made."""
        return TaskHandle(task.ref, task.model, self.context.within(timeouts), task.made_at)

    def without_socket(self) -> Runner:
        """Copy the runner for tasks that are not followed by the shared socket."""
        return attrs.evolve(self, options=attrs.evolve(self._options, updates="polling"))

    async def start(self, spec: RunSpec, timeouts: Timeouts) -> TrackedTask:
        """Make the task, once, within the timeouts that count before there is a task."""
        phase, seconds = start_timeout(timeouts)
        submission: Submission | None = None
        async with self.explaining(spec.model, spec.input):
            with anyio.move_on_after(seconds):
                plan = await self.plan(spec)
                await self.engine.warm("polling" if plan.intent.callback_url else self._options.updates)
                submission = Submission(self.context.calls.within(timeouts.request), plan)
                return await self.engine.submitter.submit(submission)
            raise timed_out(submission, phase, seconds)

    @asynccontextmanager
    async def explaining(self, model: str, input: Input | None) -> AsyncGenerator[None]:
        """Name the model in errors of a submit, and explain the refusal of an input by the model's schema."""
        try:
            yield
        except WiroError as error:
            if isinstance(error, InvalidInputError) and error.http_status is not None:  # the service refused it
                await self.inputs.explain(error, model, input)
            error.with_task(model=str(model))
            raise

    def timeouts(self, timeout: float | Timeouts | None, queue_timeout: float | None) -> Timeouts:
        """Combine the timeouts of one run with those of the session."""
        return merge_timeouts(timeout, self._options.timeout, queue_timeout)

    async def run(self, spec: RunSpec, timeouts: Timeouts, on_event: EventListener | None = None) -> TaskResult:
        """Make the task and wait for its result. Errors as of `AsyncWiro.run`."""
        start = anyio.current_time()
        task = await self.start(spec, timeouts)
        context = self.context.within(timeouts)
        async with task.owned(spec.on_cancel):
            if on_event is None:
                info = await context.wait(task.ref, spec.model, task.made_at, start)
            else:
                async with events_since(self.handle(task, timeouts), start, timeouts) as events:
                    info = await events.report_to(on_event)
            return context.result(info)

    async def run_parsed(
        self, spec: RunSpec, timeouts: Timeouts, on_event: EventListener | None, wanted: ResponseModel[T]
    ) -> ParsedResult[T]:
        """Run with an answer of a given form. Raises `ResponseFormatError` too."""
        from wiro_async._api.results.answer_reader import AnswerForm

        form = await AnswerForm.of(wanted)
        await self.check_form(spec.model, spec.validate)
        result = await self.run(attrs.evolve(spec, input=form.add_to(spec.input)), timeouts, on_event)
        return ParsedResult(result.info, self.context.downloader, form)

    def validates(self, validate: bool | None) -> bool:
        """Whether inputs are validated: the call's own option, else the session's."""
        return self._options.validate if validate is None else validate

    async def check_form(self, model: str, validate: bool | None) -> None:
        """If inputs are validated, raise `InvalidInputError` for a model that cannot give its answer a form."""
        if self.validates(validate):
            from wiro_async._api.results.answer_reader import check_form

            check_form(await self.lookup.get(model))

    async def plan(self, spec: RunSpec) -> RunPlan:
        """Prepare what is sent for a run. Raises `InvalidInputError`."""
        options = self._options
        given = await self.inputs.prepare(spec.model, spec.input, self.validates(spec.validate))
        with uncancelled("callback_url"):
            callback_url = spec.callback_url or next_url(options.callback_url)
        if callback_url is not None:
            callback_url = with_intent(callback_url, uuid4().hex)
        mode = options.updates
        return RunPlan(
            requests.run(spec.model, given, callback_url, spec.project_id, mode == "sse"),
            Intent.of(spec.model, given, callback_url, spec.project_id),
            spec.on_cancel,
            options.on_unknown,
            mode,
        )
