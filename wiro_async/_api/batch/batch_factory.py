"""Makes batches for a session, and the list of results that `map` gives."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from pathlib import Path

import attrs

from wiro_async._api.batch.batch import Batch
from wiro_async._api.batch.batch_inputs import Inputs
from wiro_async._api.batch.batch_journal import BatchJournal
from wiro_async._api.batch.batch_options import BatchOptions, CheckedBatchOptions
from wiro_async._api.batch.item_runs import Runs
from wiro_async._api.keys.keyed_runs import KeyedRuns
from wiro_async._api.options import check_options
from wiro_async._api.results.batch_items import BatchFailedError, BatchItem, RunRequest
from wiro_async._api.results.task_result import TaskResult
from wiro_async._api.tasks.runner import Runner, RunSpec
from wiro_async._engine.submission.submission import RunLog, RunPlan
from wiro_async._errors import InvalidInputError, UsageError
from wiro_async._protocol.models.pricing import Estimate
from wiro_async._types import OnCancel


def new_batch(
    runner: Runner,
    model_or_requests: str | Iterable[RunRequest | BatchItem] | AsyncIterable[RunRequest | BatchItem],
    inputs: Inputs | None,
    options: BatchOptions,
    function: str = "batch",
) -> Batch:
    """Make a batch. Raises `InvalidInputError` for wrong options."""
    check_options(function, options, BatchOptions)
    model = model_or_requests if isinstance(model_or_requests, str) else None
    wanted = inputs if isinstance(model_or_requests, str) else model_or_requests
    if wanted is None or (model is None and inputs is not None):
        raise InvalidInputError(message="give batch(model, inputs), or batch(requests) without inputs")
    checked = CheckedBatchOptions(**options)
    timeouts = runner.timeouts(checked.timeout, checked.queue_timeout)

    async def plan(request: RunRequest, on_exit: OnCancel, log: RunLog | None) -> RunPlan:
        spec = RunSpec(request.model, request.input, request.callback_url, request.project_id, on_cancel=on_exit)
        made = await runner.plan(spec)
        return made if log is None else attrs.evolve(made, log=log)

    async def estimate(request: RunRequest) -> Estimate:
        from wiro_async._protocol.models import pricing

        return pricing.estimate(await runner.lookup.get(request.model), request.input)

    engine = runner.engine
    runs = Runs(
        plan,
        runner.explaining,
        runner.context.within(timeouts),
        engine.submitter,
        checked.on_exit,
        runner.on_unknown,
    )
    journal = _journal(runner, checked.journal)
    return Batch(runs, engine.background, engine.open, model, wanted, checked, journal, estimate, engine.tuning)


def _journal(runner: Runner, place: str | Path | bool | None) -> BatchJournal | None:
    """Return the journal of a batch: the session's, or one of its own. Raises `UsageError`."""
    engine, keyed = runner.engine, runner.keyed
    match place:
        case False:
            return None
        case None | True:
            if keyed is None and place is True:
                raise UsageError("journal=True needs a session with a journal: AsyncWiro(journal=…)")
            return None if keyed is None else BatchJournal(keyed, False, engine.background)
        case _ if keyed is not None and keyed.place == place:
            return BatchJournal(keyed, False, engine.background)
        case _:
            return BatchJournal(KeyedRuns(place, engine), True, engine.background)


async def run_all(batch: Batch, return_exceptions: bool) -> list[TaskResult | Exception]:
    """Run a batch to its end, and give its results in the order of the inputs.

    Raises:
        BatchFailedError: some runs failed, and `return_exceptions` is not set.
    """
    async with batch:
        items = sorted(await batch.results(), key=lambda item: item.index)
    first_error = next((item.error for item in items if item.error is not None), None)
    if first_error is not None and not return_exceptions:
        raise BatchFailedError(items) from first_error
    return [item.result or item.error for item in items]  # type: ignore[misc]
