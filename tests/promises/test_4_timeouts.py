"""Promise 4. Timeouts are four and named."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from wiro_async import (
    AsyncWiro,
    Batch,
    ConfigurationError,
    RequestTimeoutError,
    RetryPolicy,
    RunRequest,
    TaskResult,
    TaskTimeoutError,
    TextStream,
    Timeouts,
    Tuning,
)
from wiro_async.testing import DelayAnswer, WiroEmulator

STUCK = "emulator/stuck"
QUEUED = "emulator/queued"


def ids(emulator: WiroEmulator) -> list[str]:
    """Return the ids of all submitted tasks, in order."""
    return [submission.task_id for submission in emulator.ledger.submissions]


def statuses(emulator: WiroEmulator) -> list[str]:
    """Return the status of each task."""
    return [task.status for task in emulator.ledger.tasks.values()]


async def test_4_request(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A request without a response in time raises."""
    emulator.faults.http("Task/Detail", DelayAnswer(1.0))
    view = wiro.with_options(timeout=Timeouts(request=0.1), retry=RetryPolicy(attempts=1))
    task = await wiro.submit(STUCK)
    with pytest.raises(RequestTimeoutError, match=r"0\.1 s"):
        await view.tasks.get(task)


@pytest.mark.parametrize("way", ["run", "batch"])
async def test_4_request_of_one_call(emulator: WiroEmulator, wiro: AsyncWiro, way: str) -> None:
    """The response to the submission is awaited as long as the call says. Then the task is found and followed."""
    emulator.faults.http("Run/*", DelayAnswer(30.0))
    timeouts = Timeouts(request=0.3)
    with anyio.fail_after(20):
        if way == "run":
            result = await wiro.run("emulator/sleeper", {"seconds": 1}, timeout=timeouts)
        else:
            async with wiro.batch([RunRequest("emulator/sleeper", {"seconds": 1}, timeout=timeouts)]) as batch:
                (item,) = await batch.results()
            assert item.result is not None
            result = item.result
    assert result.succeeded
    assert len(emulator.ledger.submissions) == 1


@pytest.mark.parametrize(
    "phase, model, options",
    [
        ("run", STUCK, {"timeout": 0.4}),
        ("run", STUCK, {"timeout": Timeouts(run=0.4)}),
        ("queue", QUEUED, {"queue_timeout": 0.4}),
        ("queue", QUEUED, {"timeout": Timeouts(queue=0.4, run=60)}),
        ("idle", STUCK, {"timeout": Timeouts(idle=0.4)}),
    ],
    ids=["run", "run of Timeouts", "queue", "queue of Timeouts", "idle"],
)
@pytest.mark.parametrize("mode", ["auto", "polling"])
async def test_4_the_phases(
    emulator: WiroEmulator, wiro: AsyncWiro, short_timing: Tuning, phase: str, model: str, options: Any, mode: Any
) -> None:
    """The error says which timeout passed, its length, the last status and the task."""
    began = anyio.current_time()
    with pytest.raises(TaskTimeoutError, match=phase) as caught:
        await wiro.with_options(updates=mode).run(model, on_cancel="leave", **options)
    assert 0.35 <= anyio.current_time() - began < 2
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert (error.phase, error.seconds) == (phase, 0.4)
    assert [error.task_id] == ids(emulator)
    assert error.last_status == ("task_queue" if model == QUEUED else "task_start")
    assert wiro.task(error.token).token == emulator.ledger.submissions[0].token


async def test_4_the_wait_for_a_slot_counts_as_queue_time(emulator: WiroEmulator) -> None:
    """The wait for a slot counts as queue time. Nothing is sent after it."""
    async with AsyncWiro(**emulator.options(), max_concurrency=1) as wiro:
        holder = await wiro.submit(STUCK)
        with pytest.raises(TaskTimeoutError, match=r"queue timeout of 0\.3 s passed before there was a task"):
            await wiro.run(STUCK, timeout=60, queue_timeout=0.3)
        await holder.cancel()
    assert len(emulator.ledger.submissions) == 1


async def test_4_a_running_task_is_not_queued(wiro: AsyncWiro) -> None:
    """The queue timeout ends when the task starts."""
    assert (await wiro.run("emulator/sleeper", {"seconds": 40}, queue_timeout=0.6)).succeeded


async def test_4_a_task_that_sends_messages_is_not_idle(wiro: AsyncWiro) -> None:
    """Every message restarts the idle timeout."""
    timeouts = Timeouts(idle=0.8)
    assert (await wiro.run("emulator/sleeper", {"seconds": 75, "events": 40}, timeout=timeouts)).succeeded


async def test_4_run_counts_from_the_submit(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The run timeout includes the submission. The task is stopped."""
    emulator.faults.http("Run/*", DelayAnswer(0.5))
    with pytest.raises(TaskTimeoutError) as caught:
        await wiro.run(STUCK, timeout=0.2)
    assert caught.value.phase == "run"
    assert statuses(emulator) == ["task_cancel"]


async def test_4_the_wait_for_a_slot_counts_as_run_time(emulator: WiroEmulator) -> None:
    """The wait for a slot counts as run time. Nothing is sent after it."""
    async with AsyncWiro(**emulator.options(), max_concurrency=1) as wiro:
        await wiro.submit(STUCK)
        with anyio.fail_after(5), pytest.raises(TaskTimeoutError, match="run timeout"):
            await wiro.run(STUCK, timeout=0.2)
        assert wiro.statistics().waiting_submissions == 0
    assert len(emulator.ledger.submissions) == 1


@pytest.mark.parametrize("wait", ["result", "events"])
async def test_4_a_handle_continues_after_a_timeout(emulator: WiroEmulator, wiro: AsyncWiro, wait: str) -> None:
    """The timeout ends only the wait, and another wait may follow."""
    task = await wiro.submit("emulator/sleeper", {"seconds": 30})

    async def follow() -> None:
        async for _ in task.events(timeout=0.2):
            pass

    with pytest.raises(TaskTimeoutError) as caught:
        await (task.result(timeout=0.2) if wait == "result" else follow())
    assert (caught.value.phase, caught.value.task_id) == ("run", task.id)
    assert (await task).succeeded


async def test_4_a_timeout_during_the_submission_names_the_task(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The ids arrive after the timeout, and the error has them."""
    emulator.faults.http("Run/*", DelayAnswer(0.5), times=2)
    for wait in (
        lambda: wiro.run(STUCK, timeout=0.2, on_cancel="leave"),
        lambda: only(wiro.batch([RunRequest(STUCK, timeout=0.2)], on_exit="leave")),
    ):
        with pytest.raises(TaskTimeoutError) as caught:
            await wait()
        submission = emulator.ledger.submissions[-1]
        assert (caught.value.task_id, caught.value.token) == (submission.task_id, submission.token)
        assert "before there was a task" not in str(caught.value)
    assert statuses(emulator) == ["task_start"] * 2


async def only(batch: Batch) -> None:
    """Raise the error of the only item of a batch."""
    async with batch:
        (item,) = await batch.results()
    assert item.error is not None
    raise item.error


Call = Callable[[AsyncWiro], Awaitable[Any]]


async def only_result(results: Awaitable[list[TaskResult | Exception]]) -> None:
    """Raise the error of the only run."""
    [result] = await results
    if isinstance(result, Exception):
        raise result


async def entered(stream: TextStream) -> None:
    """Read a stream to its end."""
    async with stream:
        await stream.result()


@pytest.mark.parametrize(
    "call",
    [
        lambda wiro: entered(wiro.stream(STUCK, timeout=0.3)),
        lambda wiro: entered(wiro.with_options(timeout=0.3).stream(STUCK)),
        lambda wiro: only_result(wiro.map(STUCK, [{}], timeout=0.3, return_exceptions=True)),
        lambda wiro: only(wiro.batch(STUCK, [{}], timeout=0.3)),
        lambda wiro: wiro.run(STUCK, timeout=0.3),
    ],
    ids=["stream", "stream of a view", "map", "batch", "run"],
)
async def test_4_every_call_has_a_timeout(emulator: WiroEmulator, wiro: AsyncWiro, call: Call) -> None:
    """Every call that waits for a task accepts a timeout, and stops the task."""
    with anyio.fail_after(10), pytest.raises(TaskTimeoutError, match=r"run timeout of 0\.3 s"):
        await call(wiro)
    assert statuses(emulator) == ["task_cancel"]


@pytest.mark.parametrize(
    "call",
    [
        lambda wiro: entered(wiro.stream(STUCK, queue_timeout=0.2)),
        lambda wiro: wiro.with_options(timeout=Timeouts(queue=0.2)).submit(STUCK),
        lambda wiro: only(wiro.batch(STUCK, [{}], queue_timeout=0.2)),
    ],
    ids=["stream", "submit", "batch"],
)
async def test_4_no_call_waits_for_a_slot_indefinitely(
    emulator: WiroEmulator, short_timing: Tuning, call: Call
) -> None:
    """The time before there is a task counts."""
    async with AsyncWiro(**emulator.options(), max_concurrency=1) as wiro:
        await wiro.submit(STUCK)
        with anyio.fail_after(10), pytest.raises(TaskTimeoutError, match="queue timeout"):
            await call(wiro)
    assert len(emulator.ledger.submissions) == 1


@pytest.mark.parametrize("value", [-1, float("nan"), "5", True])
@pytest.mark.parametrize("phase", ["request", "queue", "run", "idle"])
def test_4_invalid_times(phase: str, value: Any) -> None:
    """It is refused in the constructor."""
    with pytest.raises(ConfigurationError, match=phase):
        Timeouts(**{phase: value})
