"""Prepares runs and has them submitted: from a model and an input to a task."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, assert_never
from uuid import uuid4

import anyio
import attrs

from wiro_async._api.keys.key_log import KeyLog
from wiro_async._api.keys.key_requests import KeyRequest
from wiro_async._api.keys.keyed_runs import KeyedRuns, KeyMade, check_key, required
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
from wiro_async._protocol.journal.record import Record
from wiro_async._protocol.journal.rules import FollowTask, ReplayEnd
from wiro_async._protocol.submission.intent import Intent, with_intent
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport.user_code import uncancelled
from wiro_async._types import Input, OnCancel, OnUnknown, Timeouts, merge_timeouts, start_timeout

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
    key: str | None = attrs.field(default=None, converter=attrs.converters.optional(check_key))
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
    keyed: KeyedRuns | None
    _options: Options

    @property
    def on_unknown(self) -> OnUnknown:
        """What becomes of runs of which it cannot be found out whether there is a task."""
        return self._options.on_unknown

    async def submit(self, spec: RunSpec) -> TaskHandle:
        """Make the task, once. Errors as of `AsyncWiro.submit`."""
        timeouts = self._options.timeout
        if spec.key is None:
            return self.handle(await self.start(spec, timeouts), timeouts)
        begun, runs, context = await self.begin(spec, timeouts), required(self.keyed, "key"), self.context
        end = partial(runs.end, begun.record)
        match begun:
            case KeyMade(_, task):
                return TaskHandle(task.ref, task.model, context, task.made_at, on_over=end)
            case FollowTask(_, ref):
                return TaskHandle(ref, spec.model, context, on_over=end)
            case ReplayEnd(_, info):
                return TaskHandle(TaskRef(info.id or None, info.token), spec.model, context, over=info)
            case _:
                assert_never(begun)

    def handle(self, task: TrackedTask, timeouts: Timeouts) -> TaskHandle:
        """The handle of a task that was just made."""
        return TaskHandle(task.ref, task.model, self.context.within(timeouts), task.made_at)

    def without_socket(self) -> Runner:
        """Copy the runner for tasks that are not followed by the shared socket."""
        return attrs.evolve(self, options=attrs.evolve(self._options, updates="polling"))

    async def start(self, spec: RunSpec, timeouts: Timeouts, start: float | None = None) -> TrackedTask:
        """Make the task, once, within the timeouts that count before there is a task.

        Args:
            start: the loop time from which they count; now, if not given.
        """
        phase, seconds = start_timeout(timeouts)
        deadline = (anyio.current_time() if start is None else start) + (float("inf") if seconds is None else seconds)
        submission: Submission | None = None
        async with self.explaining(spec.model, spec.input):
            with anyio.CancelScope(deadline=deadline):
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

    async def begin(self, spec: RunSpec, timeouts: Timeouts) -> KeyMade[TrackedTask] | FollowTask | ReplayEnd:
        """Take the steps that the record of the run's key asks for, within the timeouts before there is a task."""
        runs, calls = required(self.keyed, "key"), self.context.calls.within(timeouts.request)
        phase, seconds = start_timeout(timeouts)
        submission: Submission | None = None

        async def send(log: KeyLog) -> KeyMade[TrackedTask]:
            nonlocal submission
            plan = attrs.evolve(await self.plan(spec), log=log)
            await self.engine.warm("polling" if plan.intent.callback_url else self._options.updates)
            submission = Submission(calls, plan)
            task = await self.engine.submitter.submit(submission)
            return KeyMade(log.made, task)

        async def intent() -> Intent:
            return (await self.plan(spec)).intent

        async with self.explaining(spec.model, spec.input):
            with anyio.move_on_after(seconds):
                request = await KeyRequest.of(spec.model, spec.input, spec.key)
                return await runs.begin(request, calls, intent, send, self.on_unknown)
            raise timed_out(submission, phase, seconds)

    async def run(self, spec: RunSpec, timeouts: Timeouts, on_event: EventListener | None = None) -> TaskResult:
        """Make the task and wait for its result. Errors as of `AsyncWiro.run`."""
        start = anyio.current_time()
        if spec.key is not None:
            return await self._run_keyed(spec, timeouts, on_event, start)
        task = await self.start(spec, timeouts)
        async with task.owned(spec.on_cancel):
            info = await self._ended(task.ref, spec.model, task.made_at, timeouts, on_event, start)
            return self.context.within(timeouts).result(info)

    async def _run_keyed(
        self, spec: RunSpec, timeouts: Timeouts, on_event: EventListener | None, start: float
    ) -> TaskResult:
        runs, context = required(self.keyed, "key"), self.context.within(timeouts)
        while True:
            begun = await self.begin(spec, timeouts)
            match begun:
                case ReplayEnd(_, info):
                    return context.result(info, replayed=True)
                case FollowTask(record, ref):
                    # The call that made the task owns it. This one takes its result, and leaves it running.
                    info = await self._ended(ref, spec.model, None, timeouts, on_event, start)
                    runs.end(record, info)
                    if not info.was_cancelled:
                        return context.result(info, replayed=True)
                case KeyMade(record, task):
                    try:
                        async with task.owned(spec.on_cancel):
                            info = await self._ended(task.ref, spec.model, task.made_at, timeouts, on_event, start)
                            runs.end(record, info)
                            return context.result(info)
                    except BaseException:
                        if not task.is_over and spec.on_cancel == "stop":
                            await self._record_stop(runs, record, task)
                        raise
                case _:
                    assert_never(begun)

    async def _record_stop(self, runs: KeyedRuns, record: Record, task: TrackedTask) -> None:
        """Write the end of a task that was stopped. If it is not to be seen yet, the next call with the key sees it."""
        seconds = self.engine.tuning.stop_request
        with anyio.move_on_after(seconds, shield=True), suppress(WiroError):
            info = await self.context.calls.urgent(seconds).detail(task.ref)
            if info is not None and info.is_over:
                runs.end(record, info)

    async def _ended(
        self,
        ref: TaskRef,
        model: str,
        made_at: float | None,
        timeouts: Timeouts,
        on_event: EventListener | None,
        start: float,
    ) -> TaskInfo:
        context = self.context.within(timeouts)
        if on_event is None:
            return await context.wait(ref, model, made_at, start)
        async with events_since(TaskHandle(ref, model, context, made_at), start, timeouts) as events:
            return await events.report_to(on_event)

    async def run_parsed(
        self, spec: RunSpec, timeouts: Timeouts, on_event: EventListener | None, wanted: ResponseModel[T]
    ) -> ParsedResult[T]:
        """Run with an answer of a given form. Raises `ResponseFormatError` too."""
        from wiro_async._api.results.answer_reader import AnswerForm

        form = await AnswerForm.of(wanted)
        await self.check_form(spec.model, spec.validate)
        result = await self.run(attrs.evolve(spec, input=form.add_to(spec.input)), timeouts, on_event)
        return ParsedResult(result.info, self.context.downloader, form, replayed=result.replayed)

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
