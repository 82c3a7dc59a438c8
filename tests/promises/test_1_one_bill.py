"""Promise 1. One intent, one bill."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wiro_async import (
    AsyncWiro,
    ConnectionFailedError,
    File,
    RateLimitError,
    RetryPolicy,
    SubmissionUnknownError,
    TaskInfo,
    Timeouts,
    Tuning,
)
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async.testing import DelayAnswer, HttpFault, ResetAfter, ResetBefore, Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until


HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
SHORT = {"seconds": 5, "events": 9}  # a tenth of a second at the emulator's speed of 50
STUCK = "emulator/stuck"


def ids(emulator: WiroEmulator) -> list[str]:
    """Return the ids of all submitted tasks, in order."""
    return [submission.task_id for submission in emulator.ledger.submissions]


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
async def test_1_a_run_whose_response_is_lost_is_found_and_not_sent_again(
    emulator: WiroEmulator,
    fault: HttpFault,
    transport: Callable[[], httpx.AsyncBaseTransport] | None,
    short_timing: Tuning,
) -> None:
    """However the response is lost, over each transport: one submission, and its result arrives."""
    emulator.faults.http("Run/*", fault)
    options: Any = {"timeout": Timeouts(request=0.3), "transport": transport and transport()}
    async with AsyncWiro(**emulator.options(), **options) as wiro:
        result = await wiro.run("emulator/sleeper", {**SHORT, "flag": True, "share": 0.5, "list": [1, "a"]})
    assert [result.info.id] == ids(emulator)
    assert emulator.ledger.count("Run/*") == 1


async def test_1_a_run_that_cannot_be_found_is_not_sent_again(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """The run may have arrived, so it is not sent again. The error says what happened."""
    emulator.faults.http("Run/*", ResetBefore())
    with pytest.raises(SubmissionUnknownError, match="response was lost") as caught:
        await quick_session.run("emulator/sleeper", SHORT)
    assert (caught.value.model, caught.value.candidates) == ("emulator/sleeper", ())
    assert isinstance(caught.value.__cause__, ConnectionFailedError)
    assert emulator.ledger.count("Run/*") == 1


async def test_1_a_lost_run_with_files_is_found(
    emulator: WiroEmulator, quick_session: AsyncWiro, tmp_path: Path
) -> None:
    """The service echoes files as URLs, and the run is still recognised."""
    picture = tmp_path / "picture.bin"
    picture.write_bytes(b"not a picture")
    emulator.faults.http("Run/*", ResetAfter())
    given = {**SHORT, "image": picture, "other": File(b"data", "data.bin")}
    result = await quick_session.run("emulator/sleeper", given)
    assert [result.info.id] == ids(emulator)


async def test_1_a_lost_submit_is_found_too(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """The handle belongs to the task that was made."""
    emulator.faults.http("Run/*", ResetAfter())
    task = await quick_session.submit("emulator/sleeper", SHORT)
    assert (task.id, task.token) == (
        emulator.ledger.submissions[0].task_id,
        emulator.ledger.submissions[0].token,
    )
    assert (await task).succeeded


async def test_1_a_task_that_is_listed_late_is_found(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """Task/List may lag, so the search continues for some time."""
    emulator.faults.list_lag = 0.4
    emulator.faults.http("Run/*", ResetAfter())
    assert (await quick_session.run("emulator/sleeper", SHORT)).succeeded
    assert emulator.ledger.count("Task/List") > 1
    assert len(emulator.ledger.submissions) == 1


Page = Callable[..., Awaitable[list[TaskInfo]]]


def _three_a_page(page: Page) -> Page:
    """Make the service return at most three tasks a page."""

    async def short(calls: TaskCalls, start: int, limit: int, *others: object) -> list[TaskInfo]:
        return await page(calls, start, min(limit, 3), *others)

    return short


async def test_1_a_task_on_a_later_page_is_found(
    emulator: WiroEmulator, quick_session: AsyncWiro, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that is shorter than requested is not the end of the list."""
    monkeypatch.setattr(TaskCalls, "page", _three_a_page(TaskCalls.page))
    emulator.faults.list_lag = 0.3
    emulator.faults.http("Run/*", ResetAfter())
    lost = asyncio.create_task(quick_session.run("emulator/sleeper", {**SHORT, "which": "lost"}))
    others = [quick_session.run("emulator/sleeper", {**SHORT, "which": number}) for number in range(8)]
    await asyncio.gather(lost, *others)
    assert len(emulator.ledger.submissions) == 9
    assert lost.result().succeeded


@pytest.mark.parametrize("lost", [1, 3, 6])
async def test_1_equal_runs_get_their_own_tasks(emulator: WiroEmulator, quick_session: AsyncWiro, lost: int) -> None:
    """Of six equal runs in flight some responses are lost. Each run gets its own task."""
    emulator.faults.http("Run/*", ResetAfter(), times=lost, after=(6 - lost) // 2)
    results = await asyncio.gather(*(quick_session.run("emulator/sleeper", SHORT) for _ in range(6)))
    assert sorted(result.info.id for result in results) == ids(emulator)


async def test_1_an_equal_run_in_flight_keeps_its_task(
    emulator: WiroEmulator, quick_session: AsyncWiro, until: Until
) -> None:
    """One of two equal runs waits for its response, the other one has lost it. The search assigns the right task."""
    emulator.faults.http("Run/*", DelayAnswer(0.4))
    emulator.faults.http("Run/*", ResetAfter())
    waiting = asyncio.create_task(quick_session.run("emulator/sleeper", SHORT))
    await until(lambda: emulator.ledger.submissions)
    lost = await quick_session.run("emulator/sleeper", SHORT)
    assert [(await waiting).info.id, lost.info.id] == ids(emulator)


async def test_1_runs_with_different_parameters_are_distinguished(
    emulator: WiroEmulator, quick_session: AsyncWiro
) -> None:
    """All responses are lost, and each run gets the task with its own parameters."""
    emulator.faults.http("Run/*", ResetAfter(), times=8)
    results = await asyncio.gather(*(quick_session.run("emulator/sleeper", {**SHORT, "n": n}) for n in range(8)))
    assert [result.info.parameters["n"] for result in results] == [str(n) for n in range(8)]
    assert len(emulator.ledger.submissions) == 8


async def test_1_an_older_equal_task_is_not_adopted(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """A task that the session made before is not a candidate."""
    before = await quick_session.run("emulator/sleeper", SHORT)
    emulator.faults.http("Run/*", ResetBefore())
    with pytest.raises(SubmissionUnknownError):
        await quick_session.run("emulator/sleeper", SHORT)
    assert [before.info.id] == ids(emulator)


async def test_1_an_ambiguous_task_is_not_adopted(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """Another process made an equal run. With two candidates the caller decides."""
    async with AsyncWiro(**emulator.options()) as other:
        await other.submit(STUCK)
        emulator.faults.http("Run/*", ResetAfter())
        with pytest.raises(SubmissionUnknownError, match="2 tasks could be it") as caught:
            await quick_session.run(STUCK)
    assert sorted(task.id for task in caught.value.candidates) == ids(emulator)


async def test_1_a_callback_url_makes_the_search_exact(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """The id in the callback URL identifies the lost run among equal ones."""
    url = "http://127.0.0.1:9/hook?a=1"
    async with AsyncWiro(**emulator.options()) as other:
        await other.submit("emulator/sleeper", SHORT, callback_url=url)
        emulator.faults.http("Run/*", ResetAfter())
        result = await quick_session.run("emulator/sleeper", SHORT, callback_url=url)
    assert result.info.id == emulator.ledger.submissions[1].task_id
    assert all(made.callback_url.startswith(f"{url}&") for made in emulator.ledger.submissions)


async def test_1_a_failed_search_proves_nothing(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """If the search fails, the run may exist. The outcome is unknown, even with on_unknown="resubmit"."""
    emulator.faults.http("Run/*", ResetAfter())
    emulator.faults.http("Task/List", Respond(500, "{}"), times=None)
    view = quick_session.with_options(on_unknown="resubmit", retry=RetryPolicy(attempts=1))
    with pytest.raises(SubmissionUnknownError):
        await view.run("emulator/sleeper", SHORT)
    assert len(emulator.ledger.submissions) == 1


async def test_1_sent_again_only_where_the_caller_says_so(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """With on_unknown="resubmit" a run that the search does not find is sent again."""
    emulator.faults.http("Run/*", ResetBefore())
    assert (await quick_session.with_options(on_unknown="resubmit").run("emulator/sleeper", SHORT)).succeeded
    assert emulator.ledger.count("Run/*") == 2
    assert len(emulator.ledger.submissions) == 1


async def test_1_a_refused_connection_is_retried(short_timing: Tuning) -> None:
    """Nothing was sent, so the run is retried until the service starts."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    emulator = WiroEmulator(speed=50, port=port)
    options: Any = {**emulator.options(), "base_url": f"http://127.0.0.1:{port}/v1"}
    async with AsyncWiro(**options, updates="polling", retry=RetryPolicy(attempts=100, base=0.02, cap=0.05)) as wiro:
        running = asyncio.create_task(wiro.run("emulator/sleeper", SHORT))
        done, _ = await asyncio.wait([running], timeout=0.2)
        assert not done
        with emulator:
            assert (await running).succeeded
    assert len(emulator.ledger.submissions) == 1


async def test_1_a_refused_connection_is_not_retried_indefinitely(short_timing: Tuning) -> None:
    """After the last attempt the error says that nothing was sent."""
    options: Any = {"base_url": "http://127.0.0.1:9/v1", "socket_url": "ws://127.0.0.1:9/v1"}
    async with AsyncWiro("key", **options, retry=RetryPolicy(attempts=2, base=0.01)) as wiro:
        with pytest.raises(ConnectionFailedError) as caught:
            await wiro.run("emulator/sleeper")
    assert caught.value.sent is False


async def test_1_a_429_is_sent_again_when_the_service_says(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A refused run is sent again after `Retry-After`, and made once."""
    emulator.faults.http("Run/*", Respond(429, "slow down", "text/plain", {"retry-after": "1"}))
    result = await wiro.run("emulator/sleeper", SHORT)
    first, second = [call for call in emulator.ledger.calls if call.endpoint.startswith("Run/")]
    assert second.at - first.at >= 0.98
    assert [result.info.id] == ids(emulator)


async def test_1_a_429_with_an_upload_is_sent_again(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """The file is read again for the second attempt."""
    emulator.faults.http("Run/*", Respond(429, "{}", headers={"retry-after": "0"}))
    result = await quick_session.run("emulator/sleeper", {**SHORT, "image": File(b"picture", "a.png")})
    assert result.succeeded
    assert [file.data for file in emulator.ledger.submissions[0].files] == [b"picture"]


async def test_1_a_429_with_a_stream_raises(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """An async iterator can be sent only once, so the error goes to the caller."""

    async def data() -> AsyncIterator[bytes]:
        yield b"once"

    emulator.faults.http("Run/*", Respond(429, "{}"))
    with pytest.raises(RateLimitError):
        await quick_session.run("emulator/sleeper", {"image": File(data(), "a.png")})
    assert emulator.ledger.count("Run/*") == 1


async def test_1_reads_are_retried(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """Reads are idempotent, so they are retried."""
    emulator.faults.http("Task/Detail", ResetBefore())
    emulator.faults.http("Task/Detail", Respond(502, HTML, "text/html"))
    task = await quick_session.submit(STUCK)
    detail = await quick_session.tasks.get(task)
    assert detail is not None
    assert detail.id == task.id
