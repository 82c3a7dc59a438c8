"""From a model and an input to a task of the service."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import anyio
import attrs

from wiro_async._api.batch import RunRequest
from wiro_async._api.handle import Following, TaskHandle
from wiro_async._api.models import Models
from wiro_async._api.options import Options, next_url
from wiro_async._engine.engine import Engine
from wiro_async._engine.submitter import RunLog, RunPlan
from wiro_async._errors import TaskTimeoutError
from wiro_async._protocol import requests
from wiro_async._protocol.matching import Intent, with_intent
from wiro_async._types import Input, OnCancel, Timeouts


@attrs.frozen
class Launch:
    """One wish of the caller for a run; its attributes are the arguments of `AsyncWiro.run`."""

    model: str
    input: Input | None = None
    callback_url: str | None = attrs.field(default=None, repr=False)
    project_id: str | None = None
    on_cancel: OnCancel = "stop"
    check: bool | None = None


@attrs.frozen
class Launcher:
    """Submits what a session, or a view on it, is asked to run."""

    engine: Engine
    following: Following
    models: Models
    _options: Options

    async def submit(self, launch: Launch) -> TaskHandle:
        """Make the task, once. Errors as of `AsyncWiro.submit`."""
        return await self._submit(launch, self.following)

    async def submit_within(self, timeouts: Timeouts, launch: Launch) -> TaskHandle:
        """The same within the time-outs that count before there is a task."""
        phase, seconds = timeouts.before_start
        with anyio.move_on_after(seconds):
            return await self._submit(launch, self.following.within(timeouts))
        raise TaskTimeoutError(phase, seconds or 0.0)

    async def plan_item(self, request: RunRequest, on_exit: OnCancel, log: RunLog | None) -> RunPlan:
        """How an item of a batch is run."""
        plan = await self._plan(Launch(request.model, request.input, request.callback_url, on_cancel=on_exit))
        return plan if log is None else attrs.evolve(plan, log=log)

    async def estimate_item(self, request: RunRequest) -> Decimal:
        """What an item of a batch may cost."""
        return (await self.models.estimate(request.model, request.input)).total

    async def _submit(self, launch: Launch, following: Following) -> TaskHandle:
        plan = await self._plan(launch)
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
            Intent.of(launch.model, given, callback_url),
            launch.on_cancel,
            options.on_unknown,
            mode,
        )
