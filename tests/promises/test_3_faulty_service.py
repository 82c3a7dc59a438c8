"""Promise 3 with a service that is silent or faulty, and with loops that are torn down."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest

from wiro_async import (
    AsyncWiro,
    File,
    InvalidInputError,
    NotFoundError,
    SessionClosedError,
    TaskCancelledError,
    Tuning,
    WiroError,
)
from wiro_async.testing import Delay, DelayAnswer, Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until

STUCK = "emulator/stuck"


def statuses(emulator: WiroEmulator) -> list[str]:
    """Return the status of each task."""
    return [task.status for task in emulator.ledger.tasks.values()]


@pytest.mark.parametrize("mode", ["auto", "sse"])
@pytest.mark.tuning(submit_answer_wait=0.2, submit_search_wait=0.2)
async def test_3_a_response_that_never_arrives(
    emulator: WiroEmulator, short_timing: Tuning, until: Until, mode: Any
) -> None:
    """The cancelled caller waits for a while. Then the task is searched for and stopped."""
    emulator.faults.http("Run/*", DelayAnswer(60.0))
    async with AsyncWiro(**emulator.options(), updates=mode) as wiro:
        running = asyncio.create_task(wiro.run(STUCK))
        await until(lambda: emulator.ledger.submissions)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await until(lambda: statuses(emulator) == ["task_cancel"])
        await until(lambda: wiro.statistics().submissions == 0)


@pytest.mark.tuning(submit_answer_wait=0.2, submit_search_wait=0.2)
async def test_3_closing_while_a_response_never_arrives(
    emulator: WiroEmulator, short_timing: Tuning, until: Until
) -> None:
    """Closing the session finds and stops the task."""
    emulator.faults.http("Run/*", DelayAnswer(60.0))
    wiro = AsyncWiro(**emulator.options())
    running = asyncio.create_task(wiro.run(STUCK))
    await until(lambda: emulator.ledger.submissions)
    await wiro.aclose()
    with pytest.raises(SessionClosedError):
        await running
    assert statuses(emulator) == ["task_cancel"]


async def test_3_an_upload_of_a_cancelled_run_is_aborted(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """An incomplete upload is aborted, so that no task is made."""
    sent = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1000)
            sent.set()
            await asyncio.sleep(0.01)

    running = asyncio.create_task(wiro.run(STUCK, {"image": File(endless(), "a.bin")}))
    await sent.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError), anyio.fail_after(3):
        await running
    await until(lambda: wiro.statistics().requests == 0)
    assert not emulator.ledger.submissions


async def test_3_nothing_is_sent_after_a_cancellation(emulator: WiroEmulator, short_timing: Any, until: Until) -> None:
    """A run that waits for the end of a 429 pause is not sent after its cancellation."""
    emulator.faults.http("Task/List", Respond(429, "{}", headers={"retry-after": "0.6"}))
    async with AsyncWiro(**emulator.options(), max_concurrency=1) as wiro:
        listing = asyncio.create_task(anext(wiro.tasks.list()))
        await until(lambda: [call.status for call in emulator.ledger.calls] == [429] and not wiro.statistics().requests)
        running = asyncio.create_task(wiro.run(STUCK))
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError), anyio.fail_after(0.5):
            await running
        with pytest.raises(StopAsyncIteration):
            await listing
        assert emulator.ledger.count("Run/*") == 0
        assert (await wiro.run("emulator/sleeper", {"seconds": 1})).succeeded  # the slot is free


@pytest.mark.parametrize("error", [NotFoundError(message="mine"), TaskCancelledError, InvalidInputError(message="x")])
async def test_3_errors_of_a_listener_stop_the_task(emulator: WiroEmulator, wiro: AsyncWiro, error: Any) -> None:
    """A listener may raise an error of this SDK about another task. Its own task is stopped."""
    other = await wiro.submit("emulator/sleeper", {"seconds": 1})
    task = (await other.result()).info
    raised = error if isinstance(error, WiroError) else error(task)

    def listener(event: object) -> None:
        raise raised

    with pytest.raises(type(raised)) as caught:
        await wiro.run(STUCK, on_event=listener)
    assert caught.value is raised
    assert statuses(emulator)[-1] == "task_cancel"


@pytest.mark.tuning(refusal_grace_known=0.1)
async def test_3_a_run_that_cannot_be_followed_is_stopped(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """If a run cannot be followed, its task is stopped."""
    refused = Respond(401, '{"result":false,"errors":[{"code":99,"message":"expired"}]}')
    emulator.faults.http("Task/Detail", refused, times=None)
    with pytest.raises(WiroError, match="expired"):
        await wiro.run(STUCK)
    assert statuses(emulator) == ["task_cancel"]


@pytest.mark.tuning(stop_request=0.2)
async def test_3_a_silent_cancel_does_not_delay_the_kill(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """Each request that stops a task has a short timeout, so that the next one is in time."""
    emulator.faults.http("Task/Cancel", DelayAnswer(60.0), times=None)
    running = asyncio.create_task(wiro.run(STUCK))
    await until(lambda: wiro.statistics().owned_tasks)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert statuses(emulator) == ["task_cancel"]


async def test_3_a_429_pause_does_not_delay_a_stop(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """A 429 pauses the session, but not the requests that stop a task."""
    running = asyncio.create_task(wiro.run(STUCK))
    await until(lambda: wiro.statistics().owned_tasks)
    emulator.faults.http("Task/List", Respond(429, "{}", headers={"retry-after": "60"}))
    listing = asyncio.create_task(anext(wiro.tasks.list()))
    await until(lambda: emulator.ledger.calls[-1].status == 429 and not wiro.statistics().requests)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert statuses(emulator) == ["task_cancel"]
    listing.cancel()
    await asyncio.wait([listing])


@pytest.mark.tuning(stop_wait=0.2)
async def test_3_stopping_continues_in_the_background(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """The caller returns after a while, and stopping continues."""
    running = asyncio.create_task(wiro.run(STUCK))
    await until(lambda: wiro.statistics().owned_tasks)
    emulator.faults.http("Task/*", Respond(503, "{}"), times=None)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert statuses(emulator) == ["task_start"]
    emulator.faults.clear()
    await until(lambda: statuses(emulator) == ["task_cancel"])
    await until(lambda: wiro.statistics().owned_tasks == 0)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_3_a_refused_stop_is_retried(emulator: WiroEmulator, wiro: AsyncWiro, until: Until, status: int) -> None:
    """A refusal may come from a proxy. The task is stopped anyway."""
    running = asyncio.create_task(wiro.run(STUCK))
    await until(lambda: wiro.statistics().owned_tasks)
    for endpoint in ("Task/Cancel", "Task/Kill", "Task/Detail"):
        emulator.faults.http(endpoint, Respond(status, '{"result":false}'))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert statuses(emulator) == ["task_cancel"]


# the warning for a task that is cancelled before its first step
forgotten = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


async def all_cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks as `asyncio.run` does at its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    tasks.clear()
    gc.collect()


@forgotten
@pytest.mark.parametrize("moment", ["submitting", "running"])
async def test_3_every_task_of_the_loop_is_cancelled(
    emulator: WiroEmulator, short_timing: Tuning, until: Until, moment: str
) -> None:
    """The tasks of the session are among them. Owned tasks are stopped, and nothing is left."""
    if moment == "submitting":
        emulator.faults.http("Run/*", DelayAnswer(0.3))
    mine = asyncio.all_tasks()
    wiro = AsyncWiro(**emulator.options())
    running = asyncio.create_task(wiro.run(STUCK))
    await until(lambda: emulator.ledger.submissions)
    if moment == "running":
        await until(lambda: wiro.statistics().owned_tasks)
    await all_cancelled(asyncio.all_tasks() - mine)
    assert running.cancelled() or isinstance(running.exception(), SessionClosedError)
    assert statuses(emulator) == ["task_cancel"]
    await wiro.aclose()
    assert not any(attrs.astuple(wiro.statistics()))


@forgotten
async def test_3_every_task_is_cancelled_even_before_its_first_step(short_timing: Tuning) -> None:
    """At every iteration of the loop, a background task that stops the task may be among them."""
    for turns in range(0, 60, 2):
        with WiroEmulator(speed=50, tuning=short_timing) as emulator:
            mine = asyncio.all_tasks()
            wiro = AsyncWiro(**emulator.options())
            running = asyncio.create_task(wiro.run(STUCK))
            while not emulator.ledger.submissions:  # noqa: ASYNC110 (every iteration counts)
                await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            await all_cancelled(asyncio.all_tasks() - mine)
            assert running.done()
            assert statuses(emulator) == ["task_cancel"], turns
            await wiro.aclose()
            assert not any(attrs.astuple(wiro.statistics()))


@forgotten
@pytest.mark.parametrize("doing", ["stopping", "closing"])
async def test_3_every_task_is_cancelled_while_stopping_or_closing(
    emulator: WiroEmulator, short_timing: Tuning, until: Until, doing: str
) -> None:
    """Stopping and closing continue even if their tasks are cancelled."""
    mine = asyncio.all_tasks()
    wiro = AsyncWiro(**emulator.options())
    running = asyncio.create_task(wiro.run(STUCK))
    await until(lambda: wiro.statistics().owned_tasks and statuses(emulator) == ["task_start"])
    for endpoint in ("Task/Cancel", "Task/Kill"):
        emulator.faults.http(endpoint, Delay(0.4), times=1)
    leaving = asyncio.create_task(wiro.aclose()) if doing == "closing" else running
    if doing == "stopping":
        running.cancel()
    await asyncio.sleep(0.1)
    assert statuses(emulator) == ["task_start"]
    await all_cancelled(asyncio.all_tasks() - mine)
    assert leaving.done()
    assert statuses(emulator) == ["task_cancel"]
    await wiro.aclose()
    assert not any(attrs.astuple(wiro.statistics()))


async def test_3_the_sessions_own_task_is_cancelled(emulator: WiroEmulator, short_timing: Tuning, until: Until) -> None:
    """The session then closes itself: waits end, owned tasks are stopped, and later calls raise."""
    wiro = AsyncWiro(**emulator.options())
    held = await wiro.submit(STUCK)
    waiting = asyncio.create_task(held.result())
    running = asyncio.create_task(wiro.run(STUCK))
    await until(lambda: statuses(emulator) == ["task_start"] * 2 and wiro.statistics().watched_tasks == 2)
    (host,) = (task for task in asyncio.all_tasks() if task.get_name() == "wiro_async session")
    host.cancel()
    for task in (waiting, running):
        with pytest.raises(SessionClosedError):
            await task
    with pytest.raises(SessionClosedError):
        await wiro.submit(STUCK)
    await wiro.aclose()
    assert statuses(emulator) == ["task_start", "task_cancel"]
    assert not any(attrs.astuple(wiro.statistics()))


@pytest.mark.parametrize("again", ["by another", "meanwhile"])
async def test_3_closing_happens_once(emulator: WiroEmulator, short_timing: Tuning, until: Until, again: str) -> None:
    """Closing happens once and completely, even if a caller is cancelled or a second one waits."""
    emulator.faults.http("Task/*", Delay(0.4), times=2)
    wiro = AsyncWiro(**emulator.options())
    running = asyncio.create_task(wiro.run(STUCK))
    await until(lambda: wiro.statistics().owned_tasks)
    first = asyncio.create_task(wiro.aclose())
    await asyncio.sleep(0.05)
    if again == "by another":
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
    await wiro.aclose()
    assert not any(attrs.astuple(wiro.statistics()))
    assert statuses(emulator) == ["task_cancel"]
    await asyncio.wait([running, first])


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of aiohttp, whose connections went with their loop
def test_3_closing_in_another_loop(emulator: WiroEmulator) -> None:
    """Resources ended with their own loop. Calls raise, and closing again is harmless."""
    wiro = AsyncWiro(**emulator.options())

    async def submit() -> None:
        await wiro.submit("emulator/sleeper")

    asyncio.run(submit())
    for late in (wiro.aclose, submit):
        with pytest.raises(SessionClosedError):
            asyncio.run(late())
