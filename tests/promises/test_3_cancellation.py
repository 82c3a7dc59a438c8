"""Promise 3. Cancellation reaches the GPU."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest

from wiro_async import AsyncWiro, SessionClosedError, TaskTimeoutError
from wiro_async.testing import DelayAnswer, ResetAfter, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until


STUCK = "emulator/stuck"
QUEUED = "emulator/queued"


def statuses(emulator: WiroEmulator) -> list[str]:
    """Return the status of each task."""
    return [task.status for task in emulator.ledger.tasks.values()]


Stop = Callable[["asyncio.Task[Any]"], Awaitable[None]]


async def by_cancel(wait: Awaitable[Any], ready: Callable[[], Awaitable[None]]) -> None:
    """Cancel with `task.cancel()`."""
    task = asyncio.ensure_future(wait)
    await ready()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_fail_after(wait: Awaitable[Any], ready: Callable[[], Awaitable[None]]) -> None:
    """Cancel with an anyio deadline around an anyio task group."""

    async def timed() -> None:
        with anyio.fail_after(60) as scope:
            async with anyio.create_task_group() as group:

                async def end() -> None:
                    await ready()
                    scope.deadline = anyio.current_time()

                group.start_soon(end)
                await wait

    with pytest.raises(TimeoutError):
        await timed()


async def by_timeout(wait: Awaitable[Any], ready: Callable[[], Awaitable[None]]) -> None:
    """Cancel with an asyncio deadline."""

    async def timed() -> None:
        async with asyncio.timeout(60) as scope:
            scopes.append(scope)
            await wait

    scopes: list[asyncio.Timeout] = []
    task = asyncio.create_task(timed())
    await ready()
    scopes[0].reschedule(asyncio.get_running_loop().time())
    with pytest.raises(TimeoutError):
        await task


async def by_task_group(wait: Awaitable[Any], ready: Callable[[], Awaitable[None]]) -> None:
    """Cancel with an asyncio task group whose other task fails."""

    async def run() -> None:
        await wait

    async def fail() -> None:
        await ready()
        raise ZeroDivisionError

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(run())
            group.create_task(fail())

    with pytest.raises(ExceptionGroup, match="TaskGroup"):
        await both()


WAYS = [by_cancel, by_fail_after, by_timeout, by_task_group]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", [STUCK, QUEUED])
async def test_3_a_cancelled_run_is_stopped(
    emulator: WiroEmulator, wiro: AsyncWiro, until: Until, way: Callable[..., Awaitable[None]], model: str
) -> None:
    """The task is over on the service when the cancellation returns, queued or running."""

    async def ready() -> None:
        wanted = "task_queue" if model == QUEUED else "task_start"
        await until(lambda: statuses(emulator) == [wanted] and wiro.statistics().owned_tasks)

    began = anyio.current_time()
    await way(wiro.run(model), ready)
    assert statuses(emulator) == ["task_cancel"]
    assert anyio.current_time() - began < 6
    assert wiro.statistics().owned_tasks == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", ["run", "submit", "stream"])
async def test_3_cancelled_during_the_submit(
    emulator: WiroEmulator, wiro: AsyncWiro, until: Until, way: Callable[..., Awaitable[None]], call: str
) -> None:
    """The response is awaited under a shield, then the task is stopped."""
    emulator.faults.http("Run/*", DelayAnswer(0.3))

    async def ready() -> None:
        await until(lambda: emulator.ledger.submissions)

    waits: dict[str, Callable[[], Awaitable[Any]]] = {
        "run": lambda: wiro.run(STUCK),
        "submit": lambda: wiro.submit(STUCK),
        "stream": lambda: wiro.stream(STUCK).__aenter__(),
    }
    await way(waits[call](), ready)
    await until(lambda: statuses(emulator) == ["task_cancel"], 6)


async def test_3_cancelled_during_a_submit_whose_response_is_lost(
    emulator: WiroEmulator, quick_session: AsyncWiro, until: Until
) -> None:
    """The task is searched for and stopped."""
    emulator.faults.http("Run/*", ResetAfter())
    emulator.faults.list_lag = 0.2
    await by_cancel(quick_session.run(STUCK), lambda: until(lambda: emulator.ledger.submissions))
    await until(lambda: statuses(emulator) == ["task_cancel"], 6)


async def test_3_cancelled_before_anything_was_sent(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Nothing is sent."""
    running = asyncio.ensure_future(wiro.run(STUCK))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not emulator.ledger.calls


async def test_3_on_cancel_leave(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """With on_cancel="leave" the run continues, even after the session."""

    async def ready() -> None:
        await until(lambda: wiro.statistics().watched_tasks)

    await by_cancel(wiro.run(STUCK, on_cancel="leave"), ready)
    emulator.faults.http("Run/*", DelayAnswer(0.1))
    await by_cancel(wiro.run(STUCK, on_cancel="leave"), lambda: until(lambda: len(emulator.ledger.submissions) == 2))
    await wiro.aclose()
    assert statuses(emulator) == ["task_start"] * 2
    assert emulator.ledger.count("Task/Kill") == 0


async def test_3_waiting_for_a_handle_stops_nothing(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """The owner of a handle decides about the task."""
    task = await wiro.submit(STUCK)

    async def ready() -> None:
        await until(lambda: wiro.statistics().watched_tasks and statuses(emulator) == ["task_start"])

    async def follow() -> None:
        async for _ in task.events():
            pass

    await by_cancel(task.result(), ready)
    await by_cancel(follow(), ready)
    with pytest.raises(TaskTimeoutError):
        await task.result(timeout=0.05)
    await wiro.aclose()
    assert statuses(emulator) == ["task_start"]


async def test_3_an_abandoned_stream_is_stopped(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Leaving a text stream before its end stops the task."""
    async with wiro.stream("emulator/writer", {"prompt": "a lighthouse", "seconds": 600}) as stream:
        async for _ in stream:
            break
    assert statuses(emulator) == ["task_cancel"]
    assert wiro.statistics().watched_tasks == 0


async def test_3_a_batch_that_is_left_is_stopped(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """All running tasks of a batch are over when its block is left."""
    async with wiro.batch(STUCK, ({} for _ in range(1000)), concurrency=5):
        await until(lambda: statuses(emulator) == ["task_start"] * 5)
    assert statuses(emulator) == ["task_cancel"] * 5


async def test_3_a_run_that_times_out_is_stopped(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A timeout is a cancellation."""
    with pytest.raises(TaskTimeoutError):
        await wiro.run(STUCK, timeout=0.3)
    assert statuses(emulator) == ["task_cancel"]


async def test_3_a_listener_that_raises_stops_its_run(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The error goes to the caller, and the task is stopped."""

    def listener(event: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await wiro.run(STUCK, on_event=listener)
    assert statuses(emulator) == ["task_cancel"]


async def test_3_closing_the_session_stops_owned_tasks(emulator: WiroEmulator, until: Until) -> None:
    """Tasks of `run()`, a stream and a batch are stopped. The task of a handle continues."""
    wiro = AsyncWiro(**emulator.options())
    held = await wiro.submit(STUCK)
    running = asyncio.create_task(wiro.run(STUCK))
    stream = await wiro.stream(STUCK).__aenter__()
    batch = await wiro.batch(STUCK, [{}] * 20, concurrency=2).__aenter__()
    await until(lambda: statuses(emulator) == ["task_start"] * 5)
    await wiro.aclose()
    with pytest.raises(Exception, match=r"closed|cancelled"):
        await running
    assert emulator.ledger.tasks[str(held.id)].status == "task_start"
    assert sorted(statuses(emulator)) == ["task_cancel"] * 4 + ["task_start"]
    await stream.__aexit__(None, None, None)
    await batch.__aexit__(None, None, None)


async def test_3_closing_the_session_starts_nothing_new(emulator: WiroEmulator, until: Until) -> None:
    """A batch submits nothing more while its tasks are being stopped."""
    wiro = AsyncWiro(**emulator.options())
    emulator.faults.http("Task/Kill", DelayAnswer(0.5))
    batch = await wiro.batch(STUCK, [{}] * 20, concurrency=4).__aenter__()
    await until(lambda: statuses(emulator) == ["task_start"] * 4)
    await wiro.aclose()
    assert statuses(emulator) == ["task_cancel"] * 4
    await batch.__aexit__(None, None, None)


async def test_3_closing_the_session_ends_waits_for_a_slot(poor: WiroEmulator, until: Until) -> None:
    """Runs that wait for a slot raise."""
    wiro = AsyncWiro(**poor.options())
    for _ in range(5):
        await wiro.submit(STUCK)
    runs = [asyncio.create_task(wiro.run(STUCK)) for _ in range(3)]
    await until(lambda: wiro.statistics().waiting_submissions == 3)
    await wiro.aclose()
    done, waiting = await asyncio.wait(runs, timeout=5)
    assert not waiting
    assert all(isinstance(run.exception(), SessionClosedError) for run in done)
    assert statuses(poor) == ["task_start"] * 5
    assert not any(attrs.astuple(wiro.statistics()))


async def test_3_closing_the_session_during_a_submit(emulator: WiroEmulator, until: Until) -> None:
    """The response is awaited, then the task is stopped."""
    emulator.faults.http("Run/*", DelayAnswer(0.3))
    wiro = AsyncWiro(**emulator.options())
    submitting = asyncio.create_task(wiro.submit(STUCK))
    await until(lambda: emulator.ledger.submissions)
    await wiro.aclose()
    assert statuses(emulator) == ["task_cancel"]
    with pytest.raises(SessionClosedError):
        await submitting


@pytest.mark.tuning(stop_wait=0.3)
async def test_3_stopping_is_bounded(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """A service that does not respond delays a cancellation only for a limited time."""
    emulator.faults.http("Task/Cancel", DelayAnswer(1.0), times=None)
    emulator.faults.http("Task/Kill", DelayAnswer(1.0), times=None)
    running = asyncio.create_task(wiro.run(STUCK))
    await until(lambda: wiro.statistics().owned_tasks)
    began = anyio.current_time()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert anyio.current_time() - began < 0.9
