"""The promises that people trust with their money, each with the tests that fail when it is broken.

The numbers are those of the design: 1 one intent, one bill; 2 poll decides, socket decorates; 3 cancellation
reaches the GPU; 4 four time-outs; 5 concurrency finds its level; 9 nothing leaks; 10 nothing new breaks it;
12 one session, one loop, any number of tasks.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import httpx
import pytest
import pytest_asyncio

from wiro_async import (
    AsyncWiro,
    ConnectionFailedError,
    File,
    Progress,
    RateLimitError,
    Reconnected,
    RequestTimeoutError,
    RetryPolicy,
    SessionClosedError,
    StatusChanged,
    SubmissionUnknownError,
    Task,
    TaskFinished,
    TaskHandle,
    TaskTimeoutError,
    TextDelta,
    Timeouts,
    UnknownEvent,
)
from wiro_async._engine import limiter, stopping
from wiro_async._engine.task_calls import TaskCalls
from wiro_async.testing import (
    CloseAfterTask,
    DelayAnswer,
    DelayMessages,
    DropAfter,
    Duplicate,
    HalfOpen,
    HttpFault,
    ModelScript,
    Mute,
    MuteAfter,
    NoWelcome,
    RefuseUpgrade,
    Reorder,
    ResetAfter,
    ResetBefore,
    Respond,
    Rubbish,
    RunInput,
    Script,
    SocketFault,
    Step,
    WiroEmulator,
    timeline,
)

if TYPE_CHECKING:
    from tests.conftest import Until
    from wiro_async.testing._socket_faults import Forward, Line, Outgoing

psutil = import_module("psutil")  # it has no types of its own
HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
SHORT = {"seconds": 5, "events": 9}  # a tenth of a second, as the emulator runs fifty times as fast as life
STUCK = "emulator/stuck"
QUEUED = "emulator/queued"
LIMIT = RetryPolicy(base=0.02, cap=1.0)


@pytest_asyncio.fixture
async def impatient(emulator: WiroEmulator, hurried: None) -> AsyncIterator[AsyncWiro]:
    """A session that gives up an HTTP call, and a search for a lost run, soon."""
    async with AsyncWiro(**emulator.options(), timeout=Timeouts(request=1.0), retry=LIMIT) as session:
        yield session


@pytest.fixture
def poor() -> Iterator[WiroEmulator]:
    """An emulator whose account may run five tasks at a time."""
    with WiroEmulator(speed=50, balance=Decimal(59)) as running:
        yield running


def ids(emulator: WiroEmulator) -> list[str]:
    """The ids of all that was submitted, in order."""
    return [submission.task_id for submission in emulator.ledger.submissions]


def statuses(emulator: WiroEmulator) -> list[str]:
    """How all tasks stand."""
    return [task.status for task in emulator.ledger.tasks.values()]


# 1. One intent, one bill


@pytest.mark.parametrize(
    "fault",
    [
        ResetAfter(),
        DelayAnswer(0.6),
        Respond(502, HTML, "text/html", handled=True),
        Respond(503, '{"result":false,"errors":[]}', handled=True),
        Respond(200, '{"result":true,"errors":[],"tas', handled=True),
        Respond(200, '{"result":true,"errors":[]}', handled=True),
        Respond(500, "", handled=True),
    ],
    ids=["reset", "late", "html", "503", "half a JSON", "no ids", "empty"],
)
@pytest.mark.parametrize("transport", [None, httpx.AsyncHTTPTransport], ids=["own", "httpx"])
async def test_1_a_run_whose_answer_is_lost_is_found_and_not_sent_again(
    emulator: WiroEmulator, fault: HttpFault, transport: Callable[[], httpx.AsyncBaseTransport] | None, hurried: None
) -> None:
    """Whatever swallows the answer, over whichever transport: one submission, and its result arrives."""
    emulator.faults.http("Run/*", fault)
    options: Any = {"timeout": Timeouts(request=0.3), "transport": transport and transport()}
    async with AsyncWiro(**emulator.options(), **options) as wiro:
        result = await wiro.run("emulator/sleeper", {**SHORT, "flag": True, "share": 0.5, "list": [1, "a"]})
    assert [result.task.id] == ids(emulator)
    assert emulator.ledger.count("Run/*") == 1


async def test_1_a_run_that_never_arrived_is_not_sent_again(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """It may have arrived, for all one can know: so nobody sends it twice, and the error says what happened."""
    emulator.faults.http("Run/*", ResetBefore())
    with pytest.raises(SubmissionUnknownError, match="answer was lost") as caught:
        await impatient.run("emulator/sleeper", SHORT)
    assert (caught.value.model, caught.value.candidates) == ("emulator/sleeper", ())
    assert isinstance(caught.value.__cause__, ConnectionFailedError)
    assert emulator.ledger.count("Run/*") == 1


async def test_1_a_lost_run_with_files_is_found(emulator: WiroEmulator, impatient: AsyncWiro, tmp_path: Path) -> None:
    """The service echoes files in its own way, which does not hide the run."""
    picture = tmp_path / "picture.bin"
    picture.write_bytes(b"not a picture")
    emulator.faults.http("Run/*", ResetAfter())
    given = {**SHORT, "image": picture, "other": File(b"data", "data.bin")}
    result = await impatient.run("emulator/sleeper", given)
    assert [result.task.id] == ids(emulator)


async def test_1_a_lost_submit_is_found_too(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """The handle is that of the task that was made."""
    emulator.faults.http("Run/*", ResetAfter())
    task = await impatient.submit("emulator/sleeper", SHORT)
    assert (task.id, task.token) == (
        emulator.ledger.submissions[0].task_id,
        emulator.ledger.submissions[0].token,
    )
    assert (await task).succeeded


async def test_1_a_task_that_is_listed_late_is_found(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """The search goes on for a grace, for lists may lag."""
    emulator.faults.list_lag = 0.4
    emulator.faults.http("Run/*", ResetAfter())
    assert (await impatient.run("emulator/sleeper", SHORT)).succeeded
    assert emulator.ledger.count("Task/List") > 1
    assert len(emulator.ledger.submissions) == 1


Page = Callable[..., Awaitable[list[Task]]]


def _three_a_page(page: Page) -> Page:
    """A service that gives at most three tasks a page, however many are asked for."""

    async def short(calls: TaskCalls, start: int, limit: int, *others: object) -> list[Task]:
        return await page(calls, start, min(limit, 3), *others)

    return short


async def test_1_a_task_on_a_later_page_is_found(
    emulator: WiroEmulator, impatient: AsyncWiro, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that are shorter than asked for are not the end of the list."""
    monkeypatch.setattr(TaskCalls, "page", _three_a_page(TaskCalls.page))
    emulator.faults.list_lag = 0.3
    emulator.faults.http("Run/*", ResetAfter())
    lost = asyncio.create_task(impatient.run("emulator/sleeper", {**SHORT, "which": "lost"}))
    others = [impatient.run("emulator/sleeper", {**SHORT, "which": number}) for number in range(8)]
    await asyncio.gather(lost, *others)
    assert len(emulator.ledger.submissions) == 9
    assert lost.result().succeeded


@pytest.mark.parametrize("lost", [1, 3, 6])
async def test_1_identical_runs_do_not_steal_each_others_tasks(
    emulator: WiroEmulator, impatient: AsyncWiro, lost: int
) -> None:
    """Of six equal runs in flight some answers are lost: each run ends up with a task of its own."""
    emulator.faults.http("Run/*", ResetAfter(), times=lost, after=(6 - lost) // 2)
    results = await asyncio.gather(*(impatient.run("emulator/sleeper", SHORT) for _ in range(6)))
    assert sorted(result.task.id for result in results) == ids(emulator)


async def test_1_an_equal_run_under_way_keeps_its_task(
    emulator: WiroEmulator, impatient: AsyncWiro, until: Until
) -> None:
    """One of two equal runs waits for its answer, the other has lost its own: the search tells their tasks apart."""
    emulator.faults.http("Run/*", DelayAnswer(0.4))
    emulator.faults.http("Run/*", ResetAfter())
    waiting = asyncio.create_task(impatient.run("emulator/sleeper", SHORT))
    await until(lambda: emulator.ledger.submissions)
    lost = await impatient.run("emulator/sleeper", SHORT)
    assert [(await waiting).task.id, lost.task.id] == ids(emulator)


async def test_1_runs_of_different_parameters_are_told_apart(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """All answers are lost, yet everyone gets the task of their own parameters."""
    emulator.faults.http("Run/*", ResetAfter(), times=8)
    results = await asyncio.gather(*(impatient.run("emulator/sleeper", {**SHORT, "n": n}) for n in range(8)))
    assert [result.task.parameters["n"] for result in results] == [str(n) for n in range(8)]
    assert len(emulator.ledger.submissions) == 8


async def test_1_an_older_equal_task_is_not_taken_for_the_lost_one(
    emulator: WiroEmulator, impatient: AsyncWiro
) -> None:
    """What this session made before is known to be somebody's."""
    before = await impatient.run("emulator/sleeper", SHORT)
    emulator.faults.http("Run/*", ResetBefore())
    with pytest.raises(SubmissionUnknownError):
        await impatient.run("emulator/sleeper", SHORT)
    assert [before.task.id] == ids(emulator)


async def test_1_tasks_that_could_be_somebody_elses_are_not_guessed_at(
    emulator: WiroEmulator, impatient: AsyncWiro
) -> None:
    """Another process made the same run: two candidates, so the caller decides."""
    async with AsyncWiro(**emulator.options()) as other:
        await other.submit(STUCK)
        emulator.faults.http("Run/*", ResetAfter())
        with pytest.raises(SubmissionUnknownError, match="2 tasks could be it") as caught:
            await impatient.run(STUCK)
    assert sorted(task.id for task in caught.value.candidates) == ids(emulator)


async def test_1_a_callback_url_makes_the_search_exact(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """With an id in its callback URL the lost run is found among equal ones."""
    url = "http://127.0.0.1:9/hook?a=1"
    async with AsyncWiro(**emulator.options()) as other:
        await other.submit("emulator/sleeper", SHORT, callback_url=url)
        emulator.faults.http("Run/*", ResetAfter())
        result = await impatient.run("emulator/sleeper", SHORT, callback_url=url)
    assert result.task.id == emulator.ledger.submissions[1].task_id
    assert all(made.callback_url.startswith(f"{url}&") for made in emulator.ledger.submissions)


async def test_1_a_list_that_cannot_be_had_is_no_proof(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """If the search itself fails, the run may exist: the error says unknown, even with on_unknown="resubmit"."""
    emulator.faults.http("Run/*", ResetAfter())
    emulator.faults.http("Task/List", Respond(500, "{}"), times=None)
    view = impatient.with_options(on_unknown="resubmit", retry=RetryPolicy(attempts=1))
    with pytest.raises(SubmissionUnknownError):
        await view.run("emulator/sleeper", SHORT)
    assert len(emulator.ledger.submissions) == 1


async def test_1_sent_again_only_where_the_caller_says_so(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """With on_unknown="resubmit" a run that is nowhere to be found is sent again."""
    emulator.faults.http("Run/*", ResetBefore())
    assert (await impatient.with_options(on_unknown="resubmit").run("emulator/sleeper", SHORT)).succeeded
    assert emulator.ledger.count("Run/*") == 2
    assert len(emulator.ledger.submissions) == 1


async def test_1_a_refused_connection_is_tried_again(hurried: None) -> None:
    """No byte left, so another attempt costs nothing: the service comes up while we try."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    emulator = WiroEmulator(speed=50, port=port)
    address: Any = {**emulator.options(), "base_url": f"http://127.0.0.1:{port}/v1"}
    async with AsyncWiro(**address, progress="polling", retry=RetryPolicy(attempts=100, base=0.02, cap=0.05)) as wiro:
        running = asyncio.create_task(wiro.run("emulator/sleeper", SHORT))
        done, _ = await asyncio.wait([running], timeout=0.2)
        assert not done
        with emulator:
            assert (await running).succeeded
    assert len(emulator.ledger.submissions) == 1


async def test_1_a_refused_connection_is_not_tried_for_ever(hurried: None) -> None:
    """After the last attempt the caller learns that nothing was sent."""
    address: Any = {"base_url": "http://127.0.0.1:9/v1", "socket_url": "ws://127.0.0.1:9/v1"}
    async with AsyncWiro("key", **address, retry=RetryPolicy(attempts=2, base=0.01)) as wiro:
        with pytest.raises(ConnectionFailedError) as caught:
            await wiro.run("emulator/sleeper")
    assert caught.value.sent is False


async def test_1_a_429_is_sent_again_when_the_service_says(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Refused is refused: sent again after `Retry-After`, made once."""
    emulator.faults.http("Run/*", Respond(429, "slow down", "text/plain", {"retry-after": "1"}))
    result = await wiro.run("emulator/sleeper", SHORT)
    first, second = [call for call in emulator.ledger.calls if call.endpoint.startswith("Run/")]
    assert second.at - first.at >= 0.98
    assert [result.task.id] == ids(emulator)


async def test_1_a_429_with_an_upload_is_sent_again(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """A file is read anew for the second attempt."""
    emulator.faults.http("Run/*", Respond(429, "{}", headers={"retry-after": "0"}))
    result = await impatient.run("emulator/sleeper", {**SHORT, "image": File(b"picture", "a.png")})
    assert result.succeeded
    assert [file.data for file in emulator.ledger.submissions[0].files] == [b"picture"]


async def test_1_a_429_with_a_stream_is_told(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """An async iterator can be sent only once, so the refusal goes to the caller."""

    async def data() -> AsyncIterator[bytes]:
        yield b"once"

    emulator.faults.http("Run/*", Respond(429, "{}"))
    with pytest.raises(RateLimitError):
        await impatient.run("emulator/sleeper", {"image": File(data(), "a.png")})
    assert emulator.ledger.count("Run/*") == 1


async def test_1_reads_are_retried(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """What does no harm is asked again."""
    emulator.faults.http("Task/Detail", ResetBefore())
    emulator.faults.http("Task/Detail", Respond(502, HTML, "text/html"))
    task = await impatient.submit(STUCK)
    detail = await impatient.tasks.detail(task)
    assert detail is not None
    assert detail.id == task.id


# 2. Poll decides, socket decorates

FAULTS: list[list[SocketFault]] = [
    [RefuseUpgrade()],
    [Mute()],
    [MuteAfter(1)],
    [HalfOpen(0)],
    [HalfOpen(4)],
    [DropAfter(0)],
    [DropAfter(3)],
    [NoWelcome()],
    [CloseAfterTask()],
    [Rubbish()],
    [Duplicate()],
    [Reorder(0.01)],
    [DelayMessages(0.2)],
    [Duplicate(), Reorder(0.01), Rubbish(), DropAfter(20)],
]


@pytest.mark.parametrize("faults", FAULTS, ids=repr)
async def test_2_a_bad_socket_costs_no_result(
    emulator: WiroEmulator, impatient: AsyncWiro, faults: list[SocketFault]
) -> None:
    """Late, silent, refused, dropped, lying or speaking rubbish: every result is right."""
    for fault in faults:
        emulator.faults.socket(fault)
    inputs = [{"prompt": f"fox {n}", "width": 16, "height": 16, "seconds": 5} for n in range(4)]
    with anyio.fail_after(20):
        results = await asyncio.gather(*(impatient.run("emulator/painter", given) for given in inputs))
    assert [result.task.parameters["prompt"] for result in results] == [given["prompt"] for given in inputs]
    assert all(result.output.content_type == "image/png" for result in results)
    assert len(emulator.ledger.submissions) == 4


@pytest.mark.parametrize("faults", FAULTS, ids=repr)
async def test_2_events_of_a_bad_socket_go_forward_and_end_once(
    emulator: WiroEmulator, impatient: AsyncWiro, faults: list[SocketFault]
) -> None:
    """The text is whole and nothing of it comes twice, statuses only go forward, and the end comes last."""
    for fault in faults:
        emulator.faults.socket(fault)
    task = await impatient.submit("emulator/writer", {"prompt": "a lighthouse", "seconds": 5})
    events = [event async for event in task.events()]
    answer = "".join(event.text for event in events if isinstance(event, TextDelta) and event.kind == "answer")
    last = events[-1]
    assert isinstance(last, TaskFinished)
    assert answer == last.result.text
    assert sum(isinstance(event, TaskFinished) for event in events) == 1
    reached = [event.status for event in events if isinstance(event, StatusChanged)]
    assert len(set(reached)) == len(reached)
    assert reached[-1] == "task_postprocess_end"


async def test_2_a_healthy_socket_costs_one_run_and_two_details(emulator: WiroEmulator, patient: AsyncWiro) -> None:
    """No polling, one socket, however many runs and listeners there are, and however long they take."""

    async def follow(n: int) -> None:
        given = {"seconds": 150, "events": 40, "n": n}
        assert (await patient.run("emulator/sleeper", given, on_event=lambda event: None)).succeeded

    await asyncio.gather(*map(follow, range(10)))
    assert emulator.ledger.count("Run/*") == 10
    assert 10 <= emulator.ledger.count("Task/Detail") <= 15  # one each, and a few where this machine was slow
    assert emulator.ledger.count() == emulator.ledger.count("Run/*") + emulator.ledger.count("Task/Detail")
    assert len(emulator.ledger.sockets) == 1
    assert len(emulator.ledger.sockets[0].tokens) == 10


async def test_2_a_silent_socket_is_caught_up_with(emulator: WiroEmulator, patient: AsyncWiro) -> None:
    """A new task is looked at once, then after two seconds of silence, with the real patience of the library."""
    emulator.faults.socket(MuteAfter(1))
    assert (await patient.run("emulator/sleeper", {"seconds": 20})).succeeded
    before, began = emulator.ledger.count("Task/Detail"), time.monotonic()
    assert (await patient.run("emulator/sleeper", {"seconds": 50})).succeeded
    assert 2 <= time.monotonic() - began <= 6
    assert emulator.ledger.count("Task/Detail") == before + 2


async def test_2_polling_opens_no_socket(emulator: WiroEmulator, polling: AsyncWiro) -> None:
    """Nor does following events need one."""
    task = await polling.submit("emulator/writer", {"prompt": "a lighthouse", "seconds": 5})
    events = [event async for event in task.events()]
    assert isinstance(events[-1], TaskFinished)
    assert not emulator.ledger.sockets


async def test_2_progress_by_event_stream(emulator: WiroEmulator, hurried: None) -> None:
    """With "sse" the run's own answer tells what happens: text comes, without a socket."""
    async with AsyncWiro(**emulator.options(), progress="sse") as wiro:
        task = await wiro.submit("emulator/writer", {"prompt": "a lighthouse", "seconds": 20})
        text = "".join([event.text async for event in task.events() if isinstance(event, TextDelta)])
        assert text.endswith((await task).text)
    assert not emulator.ledger.sockets
    assert [call.endpoint for call in emulator.ledger.calls if "sync" in call.path] == ["Run/emulator/writer/sync"]
    assert len(emulator.ledger.submissions) == 1


@attrs.frozen
class Lie:
    """Says of every task, right away, that it is over."""

    def wrap(self, line: Line, forward: Forward) -> Forward:
        """Lie before the first message of each task."""
        told: set[int] = set()

        def send(message: Outgoing) -> None:
            if message.ordinal >= 0 and message.ordinal not in told:
                told.add(message.ordinal)
                body = json.loads(message.payload)
                for kind in ("task_cancel", "task_postprocess_end"):
                    lie = {**body, "type": kind, "message": [], "terminal": True, "success": False, "exitCode": 1}
                    forward(attrs.evolve(message, type=kind, payload=json.dumps(lie).encode()))
            forward(message)

        return send


async def test_2_only_detail_ends_a_run(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """A socket that says too early that all is over is asked to prove it, and cannot."""
    emulator.faults.socket(Lie())
    result = await impatient.run("emulator/sleeper", {"seconds": 15})
    assert result.output.name == "slept.txt"
    assert emulator.ledger.tasks[result.task.id].finished


async def test_2_detail_may_lag_behind(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """After the last message Detail is asked until it agrees."""
    emulator.faults.detail_lag = 0.3
    result = await impatient.run("emulator/sleeper", SHORT)
    assert result.succeeded
    assert emulator.ledger.count("Task/Detail") > 2


async def test_2_a_list_that_is_empty_after_the_run(
    emulator: WiroEmulator, impatient: AsyncWiro, polling: AsyncWiro
) -> None:
    """Not listed yet is not an end."""
    emulator.faults.empty_tasklist = 3
    for wiro in (impatient, polling):
        assert (await wiro.run("emulator/sleeper", SHORT)).succeeded


@pytest.mark.parametrize("mode", ["auto", "polling"])
async def test_2_a_stored_task_error_is_not_the_end(hurried: None, mode: Any) -> None:
    """It waits to be queued again, however long that takes."""
    stumble = (Step("task_accept"), Step("task_error", stored=True, error="No worker.\n"), Step("task_queue", after=30))
    model = ModelScript("emulator/stumbling", lambda given: Script((*stumble, *timeline(5))))
    with WiroEmulator(speed=50, models=[model]) as emulator:
        async with AsyncWiro(**emulator.options(), progress=mode) as wiro:
            assert (await wiro.run("emulator/stumbling")).succeeded


async def test_2_failed_polls_are_endured(emulator: WiroEmulator, polling: AsyncWiro) -> None:
    """Errors while asking cost time only."""
    view = polling.with_options(retry=RetryPolicy(attempts=1))
    emulator.faults.http("Task/Detail", Respond(502, HTML, "text/html"), times=3)
    emulator.faults.http("Task/Detail", ResetBefore(), times=3)
    emulator.faults.http("Task/Detail", Respond(200, "{"), times=3)
    assert (await view.run("emulator/sleeper", SHORT)).succeeded


async def test_2_a_lost_socket_is_replaced(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """It is told as an event, and what follows comes over the new one."""
    emulator.faults.socket(DropAfter(4), times=1)
    task = await impatient.submit("emulator/writer", {"prompt": "a lighthouse", "seconds": 30})
    events = [event async for event in task.events()]
    assert sum(isinstance(event, Reconnected) for event in events) == 1
    assert [len(record.tokens) for record in emulator.ledger.sockets] == [1, 1]


# 3. Cancellation reaches the GPU

Stop = Callable[["asyncio.Task[Any]"], Awaitable[None]]


async def by_cancel(wait: Awaitable[Any], ready: Callable[[], Awaitable[None]]) -> None:
    """asyncio's own way."""
    task = asyncio.ensure_future(wait)
    await ready()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_fail_after(wait: Awaitable[Any], ready: Callable[[], Awaitable[None]]) -> None:
    """A deadline of anyio, around a task group of anyio."""

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
    """A deadline of asyncio."""

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
    """A task group of asyncio whose other task fails."""

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
    """Queued or running, by whatever means: the task is over on the service when the cancellation arrives."""

    async def ready() -> None:
        wanted = "task_queue" if model == QUEUED else "task_start"
        await until(lambda: statuses(emulator) == [wanted] and wiro.statistics().owned_tasks)

    began = time.monotonic()
    await way(wiro.run(model), ready)
    assert statuses(emulator) == ["task_cancel"]
    assert time.monotonic() - began < 6
    assert wiro.statistics().owned_tasks == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", ["run", "submit", "stream"])
async def test_3_cancelled_during_the_submit(
    emulator: WiroEmulator, wiro: AsyncWiro, until: Until, way: Callable[..., Awaitable[None]], call: str
) -> None:
    """The answer is awaited under a shield, then the task is stopped, for nobody else can."""
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


async def test_3_cancelled_during_a_submit_that_loses_its_answer(
    emulator: WiroEmulator, impatient: AsyncWiro, until: Until
) -> None:
    """The task is looked for, and stopped, even then."""
    emulator.faults.http("Run/*", ResetAfter())
    emulator.faults.list_lag = 0.2
    await by_cancel(impatient.run(STUCK), lambda: until(lambda: emulator.ledger.submissions))
    await until(lambda: statuses(emulator) == ["task_cancel"], 6)


async def test_3_cancelled_before_anything_was_sent(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Nothing was made, nothing is stopped."""
    running = asyncio.ensure_future(wiro.run(STUCK))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not emulator.ledger.calls


async def test_3_left_if_the_caller_says_so(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """on_cancel="leave": the run goes on, before and after its submit was answered, and beyond the session."""

    async def ready() -> None:
        await until(lambda: wiro.statistics().watched_tasks)

    await by_cancel(wiro.run(STUCK, on_cancel="leave"), ready)
    emulator.faults.http("Run/*", DelayAnswer(0.1))
    await by_cancel(wiro.run(STUCK, on_cancel="leave"), lambda: until(lambda: len(emulator.ledger.submissions) == 2))
    await wiro.aclose()
    assert statuses(emulator) == ["task_start"] * 2
    assert emulator.ledger.count("Task/Kill") == 0


async def test_3_waiting_for_a_handle_stops_nothing(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """Who holds a handle owns the task."""
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
    """Leaving a text stream before its end stops the writer."""
    async with wiro.stream("emulator/writer", {"prompt": "a lighthouse", "seconds": 600}) as stream:
        async for _ in stream:
            break
    assert statuses(emulator) == ["task_cancel"]
    assert wiro.statistics().watched_tasks == 0


async def test_3_a_batch_that_is_left_is_stopped(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """All that it had running is over when its block is left."""
    async with wiro.batch(STUCK, ({} for _ in range(1000)), concurrency=5):
        await until(lambda: statuses(emulator) == ["task_start"] * 5)
    assert statuses(emulator) == ["task_cancel"] * 5


async def test_3_a_run_out_of_time_is_stopped(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A time-out is a cancellation, too."""
    with pytest.raises(TaskTimeoutError):
        await wiro.run(STUCK, timeout=0.3)
    assert statuses(emulator) == ["task_cancel"]


async def test_3_a_listener_that_raises_stops_its_run(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The error goes to the caller, who has no other hold on the task."""

    def listener(event: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await wiro.run(STUCK, on_event=listener)
    assert statuses(emulator) == ["task_cancel"]


async def test_3_closing_the_session_stops_what_nobody_holds(emulator: WiroEmulator, until: Until) -> None:
    """What `run()`, a stream and a batch own is stopped; what a handle owns goes on."""
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


async def test_3_closing_the_session_lets_nothing_new_begin(emulator: WiroEmulator, until: Until) -> None:
    """A batch that goes on while its tasks are being stopped does not make new ones."""
    wiro = AsyncWiro(**emulator.options())
    emulator.faults.http("Task/Kill", DelayAnswer(0.5))
    batch = await wiro.batch(STUCK, [{}] * 20, concurrency=4).__aenter__()
    await until(lambda: statuses(emulator) == ["task_start"] * 4)
    await wiro.aclose()
    assert statuses(emulator) == ["task_cancel"] * 4
    await batch.__aexit__(None, None, None)


async def test_3_closing_the_session_ends_the_line(poor: WiroEmulator, until: Until) -> None:
    """Whoever waits for a place, among tasks that go on, is told that there will be none."""
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
    """The answer is awaited, then the task is stopped."""
    emulator.faults.http("Run/*", DelayAnswer(0.3))
    wiro = AsyncWiro(**emulator.options())
    submitting = asyncio.create_task(wiro.submit(STUCK))
    await until(lambda: emulator.ledger.submissions)
    await wiro.aclose()
    assert statuses(emulator) == ["task_cancel"]
    with pytest.raises(SessionClosedError):
        await submitting


async def test_3_stopping_is_bounded(
    emulator: WiroEmulator, wiro: AsyncWiro, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that does not let itself be asked holds a cancellation up for a limited time only."""
    monkeypatch.setattr(stopping, "STOP_SECONDS", 0.3)
    emulator.faults.http("Task/Cancel", DelayAnswer(1.0), times=None)
    emulator.faults.http("Task/Kill", DelayAnswer(1.0), times=None)
    running = asyncio.create_task(wiro.run(STUCK))
    await until(lambda: wiro.statistics().owned_tasks)
    began = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - began < 0.9


# 4. Time-outs are four and named


async def test_4_request(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """An HTTP call without an answer in time."""
    emulator.faults.http("Task/Detail", DelayAnswer(1.0))
    view = wiro.with_options(timeout=Timeouts(request=0.1), retry=RetryPolicy(attempts=1))
    task = await wiro.submit(STUCK)
    with pytest.raises(RequestTimeoutError, match=r"0\.1 s"):
        await view.tasks.detail(task)


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
    emulator: WiroEmulator, wiro: AsyncWiro, hurried: None, phase: str, model: str, options: Any, mode: Any
) -> None:
    """The error says which one passed, how long it was, the last status, and which task to go on with."""
    began = time.monotonic()
    with pytest.raises(TaskTimeoutError, match=phase) as caught:
        await wiro.with_options(progress=mode).run(model, on_cancel="leave", **options)
    assert 0.35 <= time.monotonic() - began < 2
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert (error.phase, error.seconds) == (phase, 0.4)
    assert [error.task_id] == ids(emulator)
    assert error.last_status == ("task_queue" if model == QUEUED else "task_start")
    assert wiro.task(error.token).token == emulator.ledger.submissions[0].token


async def test_4_waiting_for_a_place_counts_as_queueing(emulator: WiroEmulator) -> None:
    """What never started is out of queue time, wherever it was kept waiting; nothing is sent for it."""
    async with AsyncWiro(**emulator.options(), max_concurrency=1) as wiro:
        holder = await wiro.submit(STUCK)
        with pytest.raises(TaskTimeoutError, match=r"queue time-out of 0\.3 s passed before there was a task"):
            await wiro.run(STUCK, timeout=60, queue_timeout=0.3)
        await holder.stop()
    assert len(emulator.ledger.submissions) == 1


async def test_4_a_task_that_runs_is_not_out_of_queue_time(wiro: AsyncWiro) -> None:
    """The queue time-out ends when the task starts."""
    assert (await wiro.run("emulator/sleeper", {"seconds": 40}, queue_timeout=0.6)).succeeded


async def test_4_a_lively_task_is_not_idle(wiro: AsyncWiro) -> None:
    """Every message starts the idle time-out anew."""
    timeouts = Timeouts(idle=0.8)
    assert (await wiro.run("emulator/sleeper", {"seconds": 75, "events": 40}, timeout=timeouts)).succeeded


async def test_4_run_counts_from_the_submit(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The wall clock includes the submit itself; what it made is stopped."""
    emulator.faults.http("Run/*", DelayAnswer(0.5))
    with pytest.raises(TaskTimeoutError) as caught:
        await wiro.run(STUCK, timeout=0.2)
    assert caught.value.phase == "run"
    assert statuses(emulator) == ["task_cancel"]


async def test_4_run_counts_in_the_line_too(emulator: WiroEmulator) -> None:
    """Waiting for a place is part of a run's time; nothing is sent after it."""
    async with AsyncWiro(**emulator.options(), max_concurrency=1) as wiro:
        await wiro.submit(STUCK)
        with anyio.fail_after(5), pytest.raises(TaskTimeoutError, match="run time-out"):
            await wiro.run(STUCK, timeout=0.2)
        assert wiro.statistics().waiting_submissions == 0
    assert len(emulator.ledger.submissions) == 1


@pytest.mark.parametrize("wait", ["result", "events"])
async def test_4_a_handle_out_of_time_goes_on(emulator: WiroEmulator, wiro: AsyncWiro, wait: str) -> None:
    """Its own time-out ends the wait only, and another wait may follow."""
    task = await wiro.submit("emulator/sleeper", {"seconds": 30})

    async def follow() -> None:
        async for _ in task.events(timeout=0.2):
            pass

    with pytest.raises(TaskTimeoutError) as caught:
        await (task.result(timeout=0.2) if wait == "result" else follow())
    assert (caught.value.phase, caught.value.task_id) == ("run", task.id)
    assert (await task).succeeded


# 5. Concurrency finds its level


async def test_5_a_limit_is_learnt_and_kept(poor: WiroEmulator, hurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of 40 runs succeed on 5 places, waiting for each other and not for a timer, with few refusals."""
    monkeypatch.setattr(limiter, "OTHERS_SECONDS", 600.0)
    async with AsyncWiro(**poor.options()) as wiro:
        with anyio.fail_after(30):
            results = await asyncio.gather(*(wiro.run("emulator/sleeper", {**SHORT, "n": n}) for n in range(40)))
    assert [result.task.parameters["n"] for result in results] == [str(n) for n in range(40)]
    assert len(poor.ledger.submissions) == 40
    assert poor.ledger.count("Run/*") - 40 <= 50  # of the first 40 at once 35 are refused, afterwards hardly any


async def test_5_tasks_of_others_are_waited_for(poor: WiroEmulator, hurried: None, until: Until) -> None:
    """Where none of its own tasks is left to wait for, a session looks again from time to time."""
    async with AsyncWiro(**poor.options()) as other, AsyncWiro(**poor.options()) as wiro:
        taken = [await other.submit(STUCK) for _ in range(5)]
        running = asyncio.create_task(wiro.run("emulator/sleeper", SHORT))
        await until(lambda: poor.ledger.count("Run/*") >= 8 and wiro.statistics().waiting_submissions == 1)
        await taken[0].kill()
        assert (await running).succeeded
    assert len(poor.ledger.submissions) == 6


async def test_5_tasks_that_nobody_follows_are_looked_after(
    poor: WiroEmulator, hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submitted and left alone, they take places; the session learns when those are free again."""
    monkeypatch.setattr(limiter, "OTHERS_SECONDS", 600.0)
    async with AsyncWiro(**poor.options()) as wiro:
        with anyio.fail_after(30):
            handles = [await wiro.submit("emulator/sleeper", SHORT) for _ in range(12)]
            assert [(await handle).succeeded for handle in handles] == [True] * 12
    assert len(poor.ledger.submissions) == 12


async def test_5_a_given_limit_is_never_passed(poor: WiroEmulator, hurried: None) -> None:
    """With max_concurrency no refusal ever comes, whoever submits: runs, maps and views share it."""
    async with AsyncWiro(**poor.options(), max_concurrency=5) as wiro:
        view = wiro.with_options(timeout=60)
        results, _ = await asyncio.gather(
            wiro.map("emulator/sleeper", [SHORT] * 15),
            asyncio.gather(*(view.run("emulator/sleeper", SHORT) for _ in range(15))),
        )
    assert len(results) == 15
    assert poor.ledger.count("Run/*") == 30


async def test_5_a_429_slows_the_whole_session(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """After it nobody sends anything until the service said it may be."""
    emulator.faults.http("Task/List", Respond(429, "{}", headers={"retry-after": "1"}))
    listing = asyncio.ensure_future(anext(aiter(wiro.tasks.list()), None))
    await until(lambda: wiro._engine.pace._open_at)
    await wiro.submit("emulator/sleeper", SHORT)
    await listing
    first, *others = emulator.ledger.calls
    assert len(others) == 2
    assert all(call.at - first.at >= 0.98 for call in others)


# 9. Nothing leaks


def connections_to(emulator: WiroEmulator) -> int:
    """How many connections the system knows from here to the emulator."""
    port = int(emulator.base_url.rsplit(":", 1)[1].split("/")[0])
    return sum(
        bool(connection.raddr) and connection.raddr.port == port and connection.status != psutil.CONN_TIME_WAIT
        for connection in psutil.Process().net_connections("inet")
    )


async def test_9_after_closing_nothing_is_left(
    emulator: WiroEmulator, hurried: None, until: Until, open_files: Callable[[], set[str]], tmp_path: Path
) -> None:
    """No task, socket, connection or file, after everything was used and left half-way."""
    before = open_files()
    async with AsyncWiro(**emulator.options()) as wiro:
        result = await wiro.run("emulator/painter", {"prompt": "x", "width": 64, "height": 64, "seconds": 3})
        async with result.output.stream() as chunks:
            async for _ in chunks:
                break
        await result.save(tmp_path)
        async for _ in (await wiro.submit(STUCK)).events():
            break
        async with wiro.stream("emulator/writer", {"prompt": "x"}) as stream:
            await anext(stream)
        async with wiro.batch(STUCK, [{}] * 9, concurrency=3):
            pass
        assert connections_to(emulator) > 0
    assert not any(attrs.astuple(wiro.statistics()))
    await until(lambda: not emulator.ledger.open_sockets)
    await until(lambda: not connections_to(emulator))
    await until(lambda: not {name for name in open_files() - before if "socket" not in name})


@pytest.mark.parametrize("listen", [TaskHandle.events, TaskHandle.text_deltas])
async def test_9_breaking_out_of_a_loop_frees_at_once(wiro: AsyncWiro, listen: Any) -> None:
    """No `async with` is needed: the loop's end is the iterator's end."""
    task = await wiro.submit("emulator/writer", {"prompt": "x", "seconds": 100})
    async with anyio.create_task_group():
        async for _ in listen(task):
            assert wiro.statistics().watched_tasks == 1
            break
    await asyncio.sleep(0)  # an abandoned generator is closed by the loop, in its next turn
    await asyncio.sleep(0)
    assert wiro.statistics().watched_tasks == 0


async def test_9_an_error_in_a_loop_frees_at_once(wiro: AsyncWiro) -> None:
    """Whatever is raised between two events, nobody follows afterwards, though its traceback holds the iterator."""
    task = await wiro.submit(STUCK)

    async def fail() -> None:
        async with task.events() as events:
            async for _ in events:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await fail()
    assert wiro.statistics().watched_tasks == 0
    assert caught.type is ZeroDivisionError


async def test_9_a_cancelled_loop_frees_at_once(wiro: AsyncWiro, until: Until) -> None:
    """So does cancellation, without a context manager."""
    task = await wiro.submit(QUEUED)

    async def follow() -> None:
        async for _ in task.events():
            pass

    following = asyncio.create_task(follow())
    await until(lambda: wiro.statistics().watched_tasks)
    following.cancel()
    await asyncio.wait([following])
    del following
    assert wiro.statistics().watched_tasks == 0


async def test_9_a_download_that_is_left_frees_its_connection(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Not reading on ends the request."""
    result = await wiro.run("emulator/painter", {"prompt": "x", "width": 512, "height": 512, "seconds": 3})
    async with result.output.stream() as chunks:
        async for _ in chunks:
            assert wiro.statistics().requests == 1
            break
    assert wiro.statistics().requests == 0


# 10. Nothing new breaks it

STRANGE = [
    Step("task_levitation", {"height": "3 m"}),
    Step("task_levitation", None, stored=True),
    Step("task_output", 12),
    Step("task_output", [1, None, {"a": []}]),
    Step("task_output", {"type": "progressGenerate", "percentage": 60, "stepCurrent": None, "stepTotal": "many"}),
    Step("task_output", {"type": "progressGenerate", "percentage": "70%", "speed": {}, "remainingTime": "soon"}),
    Step("task_output", '{"type":"progressGenerate","percentage":"80"}'),
    Step("task_output", {"type": "answer", "raw": None, "answer": None, "thinking": "text", "isThinking": "no"}),
    Step("task_output", {"type": "answer", "segments": [{"type": "smell", "text": 5}, None, "x"]}),
    Step("task_error", None, log="half a line"),
    Step("", ""),
    Step("task_output", "x" * 100_000),
]


def strange(given: RunInput) -> Script:
    """All of `STRANGE`, after as long a wait as is wished."""
    steps = [Step("task_start"), *STRANGE, Step("task_end"), Step("task_postprocess_end")]
    first = Step("task_accept", after=given.number("wait", 0.3))
    return Script((first, *(attrs.evolve(step, after=0.3) for step in steps)))


@pytest.fixture
def stranger() -> Iterator[WiroEmulator]:
    """An emulator with a model that says what nobody has heard before."""
    with WiroEmulator(speed=50, models=[ModelScript("emulator/strange", strange)]) as running:
        yield running


@pytest.mark.parametrize("faults", [[], [Duplicate()], [Reorder(0.01)], [Rubbish()]], ids=repr)
@pytest.mark.parametrize("mode", ["auto", "polling"])
async def test_10_strange_messages_and_statuses_are_taken(
    stranger: WiroEmulator, hurried: None, faults: list[SocketFault], mode: Any
) -> None:
    """Unknown, null, wrongly typed, twice or in the wrong order: the run ends as it should."""
    for fault in faults:
        stranger.faults.socket(fault)
    async with AsyncWiro(**stranger.options(), progress=mode) as wiro:
        result = await wiro.run("emulator/strange", on_event=lambda event: None)
        assert result.succeeded
        assert (await wiro.run("emulator/strange")).succeeded


async def test_10_unknown_messages_are_kept_raw(stranger: WiroEmulator, hurried: None) -> None:
    """They come as events of their own kind, as they were."""
    async with AsyncWiro(**stranger.options()) as session:
        task = await session.submit("emulator/strange", {"wait": 25})  # until then the socket is open
        events = [event async for event in task.events()]
    unknown = next(event for event in events if isinstance(event, UnknownEvent))
    assert unknown.type == "task_levitation"
    assert unknown.raw["message"] == {"height": "3 m"}
    assert [event.fraction for event in events if isinstance(event, Progress)][-1] == 0.8


async def test_10_a_strange_detail_is_taken(emulator: WiroEmulator, polling: AsyncWiro) -> None:
    """Numbers as numbers, text as null, lists as text, keys that are new: read for what they mean."""
    row = {
        "id": 7, "socketaccesstoken": None, "status": "task_postprocess_end", "pexit": 0, "outputs": None,
        "parameters": '{"a":"1"}', "totalcost": 0.5, "elapsedseconds": None, "starttime": "soon", "mood": "good",
        "debugoutput": None, "categories": 5,
    }  # fmt: skip
    body = json.dumps({"result": "true", "errors": None, "total": None, "tasklist": [row, None]})
    emulator.faults.http("Task/Detail", Respond(200, body))
    result = await polling.task("token").result()
    assert (result.task.id, result.cost, result.elapsed, result.outputs) == ("7", Decimal("0.5"), None, ())
    assert result.task.parameters == {"a": "1"}
    assert result.task.raw["mood"] == "good"


# 12. One session, one loop, any number of tasks


def test_12_a_second_loop_with_a_new_session(emulator: WiroEmulator) -> None:
    """`asyncio.run` after `asyncio.run`, also when the first was interrupted in the middle."""

    async def interrupted() -> None:
        async with AsyncWiro(**emulator.options()) as wiro:
            async with asyncio.timeout(0.1):
                await wiro.run(STUCK)

    async def whole() -> bool:
        async with AsyncWiro(**emulator.options()) as wiro:
            return (await wiro.run("emulator/sleeper", SHORT)).succeeded

    with pytest.raises(TimeoutError):
        asyncio.run(interrupted())
    assert asyncio.run(whole())
    assert statuses(emulator) == ["task_cancel", "task_postprocess_end"]


async def test_12_another_loop_is_refused(wiro: AsyncWiro) -> None:
    """Use from another loop is told, and harms nobody."""

    async def elsewhere() -> None:
        await wiro.submit("emulator/sleeper")

    with pytest.raises(SessionClosedError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, elsewhere())
    assert (await wiro.run("emulator/sleeper", SHORT)).succeeded


async def test_12_hundreds_of_tasks_share_one_session(emulator: WiroEmulator, patient: AsyncWiro) -> None:
    """150 at once: no pool runs dry, one socket, two calls a run and at most one more."""
    results = await asyncio.gather(*(patient.run("emulator/sleeper", {"seconds": 40, "n": n}) for n in range(150)))
    assert [result.task.parameters["n"] for result in results] == [str(n) for n in range(150)]
    assert len(emulator.ledger.sockets) == 1
    assert emulator.ledger.count() <= 450
