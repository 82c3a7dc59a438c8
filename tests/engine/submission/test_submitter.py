"""Submitting, searching and stopping: edge cases beyond the promises."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import anyio
import pytest
import pytest_asyncio

from wiro_async import (
    AsyncWiro,
    AuthenticationError,
    InvalidInputError,
    RetryPolicy,
    SessionClosedError,
    SubmissionUnknownError,
    Timeouts,
    Tuning,
)
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.throttle import ServerClock
from wiro_async._engine.submission.submission import Submission
from wiro_async._engine.tracking.id_memory import IdFact, IdMemory
from wiro_async._engine.tracking.tracker import Tracker
from wiro_async._protocol.submission.decision import Action
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async.testing import Delay, DelayAnswer, ResetAfter, ResetBefore, Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until
    from wiro_async._engine.calls.task_calls import TaskCalls
    from wiro_async._engine.tracking.socket_feed import Connect

SHORT = {"seconds": 5, "events": 9}
STUCK = "emulator/stuck"


def statuses(emulator: WiroEmulator) -> list[str]:
    """Return the status of each task."""
    return [task.status for task in emulator.ledger.tasks.values()]


@pytest_asyncio.fixture
async def one_at_a_time(emulator: WiroEmulator, short_timing: Tuning) -> AsyncIterator[AsyncWiro]:
    """A session with a single slot."""
    async with AsyncWiro(**emulator.options(), max_concurrency=1) as session:
        yield session


async def assert_no_slot_is_kept(wiro: AsyncWiro) -> None:
    """The only slot is free for another run."""
    with anyio.fail_after(5):
        await wiro.submit("emulator/sleeper", SHORT)


@pytest.mark.tuning(search_page=2)
async def test_the_search_goes_through_all_pages(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """A lost run may be several pages away, behind newer tasks."""
    emulator.faults.list_lag = 0.2
    emulator.faults.http("Run/*", ResetAfter())
    async with AsyncWiro(**emulator.options()) as wiro, AsyncWiro(**emulator.options()) as other:
        lost = asyncio.create_task(wiro.run("emulator/sleeper", {**SHORT, "n": 0}))
        for n in range(1, 6):
            await other.submit("emulator/sleeper", {**SHORT, "n": n})
        assert (await lost).info.parameters["n"] == "0"
    assert len(emulator.ledger.submissions) == 6


@pytest.mark.tuning(search_page=1, clock_skew=-3600.0)
async def test_the_search_ends_at_old_tasks(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """Tasks older than the request are not searched."""
    async with AsyncWiro(**emulator.options(), timeout=Timeouts(request=0.5)) as wiro:
        await wiro.submit(STUCK)
        emulator.faults.http("Run/*", ResetBefore())
        with pytest.raises(SubmissionUnknownError):
            await wiro.submit(STUCK)
    starts = [call.parameters["start"] for call in emulator.ledger.calls if call.endpoint == "Task/List"]
    assert set(starts) == {"0"}


async def test_rows_of_a_list_may_lack_fields(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """Then Task/Detail is read for them."""
    emulator.faults.http("Run/*", ResetAfter())
    made = asyncio.create_task(wiro.submit("emulator/sleeper", {**SHORT, "n": 1}))
    await until(lambda: emulator.ledger.submissions)
    rows = [{"id": emulator.ledger.submissions[0].task_id}]
    emulator.faults.http("Task/List", Respond(200, json.dumps({"result": True, "tasklist": rows})), times=None)
    assert (await made).id == rows[0]["id"]


def test_known_tasks_are_bounded() -> None:
    """A session remembers only the newest tasks."""
    memory = IdMemory(3)
    for number in range(5):
        memory.add(IdFact.OURS, str(number))
    assert [memory.has(IdFact.OURS, str(number)) for number in range(5)] == [False, False, True, True, True]


async def test_unfollowed_tasks_are_bounded() -> None:
    """Tasks that were submitted and never used are bounded too."""

    async def nothing() -> None: ...

    calls = cast("TaskCalls", SimpleNamespace(client=SimpleNamespace(account="")))
    background, connect = BackgroundTasks(nothing, nothing), cast("Connect", None)
    tracker = Tracker(background, Tuning(max_idle_slots=3), None, connect, 1, 1.0)
    for number in range(5):
        slot, ref = await tracker.limiter.acquire(), TaskRef(str(number))
        tracker.submitted(calls, ref, model=STUCK, slot=slot, mode="polling", callback_url=None)
    assert tracker.limiter.in_flight == 3


@pytest.mark.tuning(refusal_grace_known=0.2, window_other_probe=600.0)
async def test_slots_of_vanished_tasks_are_released(short_timing: Tuning) -> None:
    """If an unfollowed task cannot be read, its slot is not kept indefinitely."""
    with WiroEmulator(speed=50, balance=Decimal(1000), tuning=short_timing) as emulator:
        async with AsyncWiro(**emulator.options(), max_concurrency=1, updates="polling") as wiro:
            held = await wiro.submit(STUCK)
            gone = Respond(401, '{"result":false,"errors":[{"code":99,"message":"expired"}]}')
            emulator.faults.http(
                "Task/Detail", gone, None, when=lambda call: call.parameters.get("tasktoken") == held.token
            )
            with anyio.fail_after(10):
                assert (await wiro.run("emulator/sleeper", SHORT)).succeeded


async def test_checking_slots_opens_no_socket_in_a_polling_session(
    emulator: WiroEmulator, short_timing: Tuning
) -> None:
    """Unfollowed tasks are polled too."""
    async with AsyncWiro(**emulator.options(), max_concurrency=1, updates="polling") as wiro:
        await wiro.submit("emulator/sleeper", SHORT)
        assert (await wiro.run("emulator/sleeper", SHORT)).succeeded
    assert not emulator.ledger.sockets


@pytest.mark.tuning(window_other_probe=600.0)
async def test_no_more_slots_than_the_limit_are_kept(short_timing: Tuning) -> None:
    """Once a limit is known, older tasks beyond it must be over."""
    with WiroEmulator(speed=50, balance=Decimal(29), tuning=short_timing) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro:
            for _ in range(6):
                await (await wiro.submit("emulator/sleeper", SHORT)).cancel()
            emulator.faults.http("Task/Detail", Delay(0.1), times=None)
            with anyio.fail_after(20):
                results = await asyncio.gather(*(wiro.run("emulator/sleeper", SHORT) for _ in range(4)))
    assert all(result.succeeded for result in results)


async def test_a_refused_key_ends_a_submit(emulator: WiroEmulator, one_at_a_time: AsyncWiro) -> None:
    """No retry, no search, and no slot is kept."""
    emulator.faults.http("Run/*", Respond(401, '{"result":false,"errors":[{"code":99,"message":"expired"}]}'))
    with pytest.raises(AuthenticationError):
        await one_at_a_time.run(STUCK)
    assert emulator.ledger.count() == 1
    await assert_no_slot_is_kept(one_at_a_time)


async def test_the_last_refusal_is_raised(emulator: WiroEmulator, one_at_a_time: AsyncWiro) -> None:
    """After the policy's attempts a 429 goes to the caller."""
    emulator.faults.http("Run/*", Respond(429, "{}", headers={"retry-after": "0"}), times=None)
    view = one_at_a_time.with_options(retry=RetryPolicy(attempts=3, base=0.01))
    with pytest.raises(Exception, match="429"):
        await view.run(STUCK)
    assert emulator.ledger.count("Run/*") == 3
    emulator.faults.clear()
    await assert_no_slot_is_kept(one_at_a_time)


async def test_a_run_that_cannot_be_sent_releases_its_slot(one_at_a_time: AsyncWiro) -> None:
    """An unreadable file is found only while it is sent."""

    class Broken:
        def read(self, size: int = -1) -> bytes:
            raise OSError("broken")

        def seekable(self) -> bool:
            return False

    with pytest.raises(Exception, match="broken"):
        await one_at_a_time.run("emulator/sleeper", {"image": Broken()})
    assert one_at_a_time.statistics().submissions == 0
    await assert_no_slot_is_kept(one_at_a_time)


@pytest.mark.tuning(max_submissions=2)
async def test_cancelled_while_waiting_to_be_sent(emulator: WiroEmulator, short_timing: Tuning, until: Until) -> None:
    """A bounded number is sent at once. A cancelled run leaves the queue without a trace."""
    emulator.faults.http("Run/*", DelayAnswer(2.0), times=None)
    async with AsyncWiro(**emulator.options(), max_concurrency=4) as wiro:
        runs = [asyncio.create_task(wiro.run(STUCK)) for _ in range(5)]
        await until(lambda: wiro.statistics().waiting_submissions == 1 and len(emulator.ledger.submissions) == 2)
        for run in runs[2:4]:
            run.cancel()
        await asyncio.wait(runs[2:4])
        await until(lambda: wiro.statistics().waiting_submissions == 0)
        runs[4].cancel()
        await asyncio.wait([runs[4]])
        await until(lambda: wiro.statistics().owned_tasks == 2)
        assert len(emulator.ledger.submissions) == 2
        for run in runs:
            run.cancel()
        await asyncio.wait(runs)


@pytest.mark.tuning(max_submissions=2)
async def test_closed_while_waiting_to_be_sent(emulator: WiroEmulator, short_timing: Tuning, until: Until) -> None:
    """The waiting runs fail, and are not sent."""
    emulator.faults.http("Run/*", DelayAnswer(2.0), times=None)
    wiro = AsyncWiro(**emulator.options(), max_concurrency=4)
    runs = [asyncio.create_task(wiro.run(STUCK)) for _ in range(5)]
    await until(lambda: wiro.statistics().waiting_submissions == 1 and len(emulator.ledger.submissions) == 2)
    await wiro.aclose()
    results = await asyncio.gather(*runs, return_exceptions=True)
    assert all(isinstance(result, SessionClosedError) for result in results)
    assert statuses(emulator) == ["task_cancel"] * 2


@pytest.mark.tuning(submit_answer_wait=0.1)
async def test_closed_without_a_response(emulator: WiroEmulator, short_timing: Tuning, until: Until) -> None:
    """Closing waits for a response for a limited time."""
    emulator.faults.http("Run/*", Delay(1.0))
    wiro = AsyncWiro(**emulator.options())
    submitting = asyncio.create_task(wiro.submit(STUCK))
    await until(lambda: emulator.ledger.count("Run/*"))
    with anyio.fail_after(0.8):
        await wiro.aclose()
    with pytest.raises(SessionClosedError):
        await submitting


async def test_closed_in_the_moment_of_a_response(
    emulator: WiroEmulator, short_timing: Tuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response arrived before the caller woke up. The task has no owner, so it is stopped."""
    wiro = AsyncWiro(**emulator.options())
    settle, answered = Submission.settle, asyncio.Event()

    def report_and_settle(submission: Submission, action: Action) -> None:
        answered.set()  # a task that waits for this wakes up before the caller
        settle(submission, action)

    monkeypatch.setattr(Submission, "settle", report_and_settle)

    async def close() -> None:
        await answered.wait()
        await wiro.aclose()

    closing = asyncio.create_task(close())
    with pytest.raises(SessionClosedError) as caught:
        await wiro.submit(STUCK)
    await closing
    assert caught.value.task_id == emulator.ledger.submissions[0].task_id
    assert statuses(emulator) == ["task_cancel"]


async def test_cancelled_in_the_moment_of_a_response(
    emulator: WiroEmulator, wiro: AsyncWiro, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is cancelled before it sees the response. The task is stopped."""
    settle = Submission.settle

    def settle_and_cancel(submission: Submission, action: Action) -> None:
        settle(submission, action)
        submitting.cancel()

    monkeypatch.setattr(Submission, "settle", settle_and_cancel)
    submitting = asyncio.create_task(wiro.submit(STUCK))
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert statuses(emulator) == ["task_cancel"]


@pytest.mark.tuning(stop_pause=0.02)
async def test_a_task_between_queue_and_start_is_stopped(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Cancel and kill may both fail for a moment. Both are tried until one works."""
    task = await wiro.submit(STUCK)
    refusal = Respond(200, '{"result":false,"errors":[{"code":1,"message":"Task is not in a cancellable state."}]}')
    emulator.faults.http("Task/Cancel", refusal, times=3)
    emulator.faults.http("Task/Kill", refusal, times=3)
    assert await task.cancel()
    assert emulator.ledger.count("Task/Kill") == 4


@pytest.mark.tuning(stop_wait=0.5)
async def test_a_stop_that_fails_is_logged(
    emulator: WiroEmulator,
    wiro: AsyncWiro,
    until: Until,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The cancellation is raised. The log names the task that may still run."""
    view = wiro.with_options(retry=RetryPolicy(attempts=1))
    running_task = asyncio.create_task(view.run(STUCK))
    await until(lambda: wiro.statistics().owned_tasks)
    emulator.faults.http("Task/*", Respond(500, "<html>", "text/html"), times=None)
    running_task.cancel()
    with caplog.at_level(logging.WARNING, "wiro_async"), pytest.raises(asyncio.CancelledError):
        await running_task
    assert "could not be stopped" in caplog.text
    assert wiro.statistics().owned_tasks == 1
    emulator.faults.clear()
    await until(lambda: wiro.statistics().owned_tasks == 0)
    assert statuses(emulator) == ["task_cancel"]


async def test_a_stop_is_retried(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """A stop that fails now may work a moment later."""
    view = wiro.with_options(retry=RetryPolicy(attempts=1))
    running_task = asyncio.create_task(view.run(STUCK))
    await until(lambda: wiro.statistics().owned_tasks)
    emulator.faults.http("Task/Cancel", Respond(502, "<html>", "text/html"))
    emulator.faults.http("Task/Kill", Respond(500))
    running_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running_task
    assert statuses(emulator) == ["task_cancel"]


async def test_closing_waits_for_stops_in_flight(emulator: WiroEmulator, short_timing: Tuning, until: Until) -> None:
    """A stop that was in flight when the session began to close is completed."""
    wiro = AsyncWiro(**emulator.options())
    running_task = asyncio.create_task(wiro.run(STUCK))
    await until(lambda: wiro.statistics().owned_tasks and statuses(emulator) == ["task_start"])
    emulator.faults.http("Task/Cancel", Delay(0.2))
    running_task.cancel()
    await asyncio.wait([running_task], timeout=0.05)
    await wiro.aclose()
    assert statuses(emulator) == ["task_cancel"]
    await asyncio.wait([running_task])


async def test_an_input_that_is_refused_locally_holds_no_slot(one_at_a_time: AsyncWiro) -> None:
    """An invalid input is refused before it takes a slot."""
    with pytest.raises(InvalidInputError):
        await one_at_a_time.run("nowhere")
    await assert_no_slot_is_kept(one_at_a_time)


def test_the_services_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Date header gives the service's time, whatever becomes of the local clock. An invalid one is ignored."""
    clock = ServerClock()
    assert clock.at(100.0) is None
    clock.observe(None)
    assert clock.at(100.0) is None
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    clock.observe("Thu, 01 Jan 2099 00:00:00 GMT")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.at(90.0) == datetime(2099, 1, 1, tzinfo=UTC).timestamp() - 10.0
    clock.observe("yesterday")
    assert clock.at(100.0) is None
