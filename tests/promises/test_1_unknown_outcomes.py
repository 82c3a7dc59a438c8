"""Promise 1 with unusual responses, incomplete lists, and equal tasks of others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from wiro_async import (
    APIError,
    AsyncWiro,
    ConcurrencyLimitError,
    ConfigurationError,
    ConnectionFailedError,
    File,
    InvalidInputError,
    RetryPolicy,
    SubmissionUnknownError,
    Timeouts,
    Tuning,
)
from wiro_async._engine.calls.api_client import ApiClient
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.calls.throttle import ServerClock, Throttle
from wiro_async._engine.submission.submission import RunPlan, Submission
from wiro_async._protocol.http import requests
from wiro_async._protocol.http.auth import Credentials
from wiro_async._protocol.http.requests import RunInput
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.submission.seen_ids import SeenIds
from wiro_async._transport.http import HttpTransport
from wiro_async._transport.network.tls import Tls
from wiro_async.testing import DelayAnswer, ResetAfter, ResetBefore, Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until

SHORT = {"seconds": 5, "events": 9}
STUCK = "emulator/stuck"
LIMIT_REACHED = '{"result":false,"errors":[{"code":96,"message":"you can run up to 3 tasks"}]}'


def ids(emulator: WiroEmulator) -> list[str]:
    """Return the ids of all submitted tasks, in order."""
    return [submission.task_id for submission in emulator.ledger.submissions]


def listing(*rows: dict[str, Any]) -> Respond:
    """Return a response of Task/List with these rows."""
    return Respond(200, json.dumps({"result": True, "errors": [], "tasklist": rows}))


@pytest.mark.parametrize("status", [302, 307, 408, 409, 425, 499, 500, 504])
@pytest.mark.parametrize("mode", ["auto", "sse"])
async def test_1_statuses_that_prove_no_refusal(
    emulator: WiroEmulator, short_timing: Tuning, status: int, mode: Any
) -> None:
    """A proxy may have sent these, so the run is searched for and not taken as refused."""
    body = '{"result":false,"errors":[{"code":0,"message":"gone"}]}'
    emulator.faults.http("Run/*", Respond(status, body, handled=True))
    timeouts = Timeouts(request=1.0)
    async with AsyncWiro(**emulator.options(), updates=mode, timeout=timeouts) as wiro:
        result = await wiro.run("emulator/sleeper", SHORT)
    assert [result.info.id] == ids(emulator)


@pytest.mark.parametrize("status, result", [(429, None), (200, False), (503, False), (401, False)])
async def test_1_a_response_with_ids_is_a_success(
    emulator: WiroEmulator, wiro: AsyncWiro, status: int, result: bool | None
) -> None:
    """A response with ids means that the task was made, even if it looks like a refusal."""
    made = await wiro.submit("emulator/sleeper", SHORT)
    body = {"taskid": made.id, "socketaccesstoken": made.token, "result": result}
    emulator.faults.http("Run/*", Respond(status, json.dumps(body)))
    task = await wiro.submit("emulator/sleeper", {**SHORT, "n": 2})
    assert (task.id, task.token) == (made.id, made.token)
    assert emulator.ledger.count("Run/*") == 2


@pytest.mark.tuning(search_grace=0.0)
async def test_1_resubmission_is_bounded(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """on_unknown="resubmit" sends a run at most as often as the retry policy says."""
    emulator.faults.http("Run/*", ResetBefore(), times=None)
    async with AsyncWiro(
        **emulator.options(),
        on_unknown="resubmit",
        retry=RetryPolicy(attempts=3, base=0.01),
        timeout=Timeouts(request=0.05),
    ) as wiro:
        with pytest.raises(SubmissionUnknownError):
            await wiro.run("emulator/sleeper", SHORT)
    assert emulator.ledger.count("Run/*") == 3


@pytest.mark.parametrize("setting", ["Raise", "resubmit ", True, None])
def test_1_on_unknown_accepts_only_its_values(setting: Any) -> None:
    """Only the exact word allows a run to be sent twice."""
    with pytest.raises(ConfigurationError, match="on_unknown"):
        AsyncWiro("key", on_unknown=setting)


async def test_1_a_consumed_body_is_not_sent_after_a_refusal(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """A stream that was read for a refused request cannot be read again. No empty file is sent."""

    async def data() -> AsyncIterator[bytes]:
        yield b"once"

    emulator.faults.http("Run/*", Respond(200, LIMIT_REACHED), when=lambda call: True)
    async with AsyncWiro(**emulator.options(), max_concurrency=1) as wiro:
        with pytest.raises(ConcurrencyLimitError):
            await wiro.run("emulator/sleeper", {"image": File(data(), "a.png")})
        assert not emulator.ledger.submissions
        await asyncio.wait_for(wiro.submit("emulator/sleeper", SHORT), 5)  # its slot is free


async def test_1_a_file_is_read_again_after_a_refusal(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A file in memory can be read again."""
    emulator.faults.http("Run/*", Respond(200, LIMIT_REACHED), when=lambda call: True)
    assert (await wiro.run("emulator/sleeper", {**SHORT, "image": File(b"picture", "a.png")})).succeeded
    assert [file.data for file in emulator.ledger.submissions[0].files] == [b"picture"]


ROW = {"modelslugowner": "emulator", "modelslugproject": "stuck", "parameters": {}, "status": "task_start"}


@pytest.mark.parametrize(
    "row",
    [
        {"createtime": "4102444800", "callbackurl": "https://somebody.test/else"},
        {"createtime": "4102444800", "projectid": "999"},
        {"createtime": "", "starttime": "1577836800"},
    ],
    ids=["another's callback", "another project", "started long ago"],
)
async def test_1_a_task_of_another_user_is_not_adopted(
    emulator: WiroEmulator, quick_session: AsyncWiro, row: dict[str, Any]
) -> None:
    """A task with equal parameters is not adopted if the list shows that it is not ours."""
    emulator.faults.http("Run/*", ResetBefore())
    emulator.faults.http("Task/List", listing({"id": "77", "socketaccesstoken": "stranger", **ROW, **row}), times=None)
    with pytest.raises(SubmissionUnknownError) as caught:
        await quick_session.submit(STUCK, project_id="716")
    assert caught.value.candidates == ()


async def test_1_a_task_of_unknown_age_is_only_a_candidate(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """It may be old, so it is a candidate and not adopted."""
    row = {"id": "77", "socketaccesstoken": "who-knows", **ROW}
    emulator.faults.http("Run/*", ResetBefore())
    emulator.faults.http("Task/List", listing(row), times=None)
    emulator.faults.http("Task/Detail", listing(row), times=None)
    with pytest.raises(SubmissionUnknownError) as caught:
        await quick_session.submit(STUCK)
    assert [task.id for task in caught.value.candidates] == ["77"]
    assert emulator.ledger.count("Task/Detail") == 1


@pytest.mark.tuning(search_max_details=5)
async def test_1_incomplete_lists_cause_few_requests(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """Rows without a time or a model do not cause one request each."""
    emulator.faults.http("Run/*", ResetBefore())
    emulator.faults.http("Task/List", listing(*({"id": str(number)} for number in range(100))), times=None)
    emulator.faults.http("Task/Detail", listing(), times=None)
    async with AsyncWiro(**emulator.options(), timeout=Timeouts(request=1.0)) as wiro:
        with pytest.raises(SubmissionUnknownError):
            await wiro.submit(STUCK)
    assert emulator.ledger.count("Task/Detail") <= 5


def test_1_accounts_are_kept_apart() -> None:
    """Equal runs of two accounts are searched for independently."""

    async def ready() -> None: ...

    def group(key: str, timeout: float) -> tuple[str, str]:
        tuning = Tuning()
        client = ApiClient(
            base_url="https://api.test/v1",
            credentials=Credentials(key, None),
            headers={},
            retry=RetryPolicy(),
            timeout=timeout,
            http=HttpTransport(Tls(), tuning),
            throttle=Throttle(),
            server_clock=ServerClock(),
            seen_ids=SeenIds(),
            tuning=tuning,
            ready=ready,
        )
        given = RunInput.parse({})
        plan = RunPlan(requests.run(STUCK, given, None, None), Intent.of(STUCK, given, None), "stop", "raise")
        return Submission(TaskCalls(client, lambda ref: None), plan).group

    assert group("ours", 30.0) == group("ours", 1.0)
    assert group("ours", 30.0) != group("theirs", 30.0)


@pytest.mark.tuning(submit_answer_wait=0.1, search_grace=0.2)
async def test_1_an_equal_run_without_an_answer_does_not_hold_up_the_search(
    emulator: WiroEmulator, short_timing: Tuning, until: Until
) -> None:
    """A search waits for equal runs no longer than for the list."""
    emulator.faults.http("Run/*", DelayAnswer(30.0))
    emulator.faults.http("Run/*", ResetAfter())
    async with AsyncWiro(**emulator.options(), timeout=Timeouts(request=None)) as wiro:
        silent = asyncio.create_task(wiro.submit(STUCK))
        await until(lambda: emulator.ledger.submissions)
        with pytest.raises(SubmissionUnknownError):
            await asyncio.wait_for(wiro.with_options(timeout=Timeouts(request=0.2)).submit(STUCK), 10)
        silent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await silent


@pytest.mark.parametrize("odd", ["1e9999999", "1E+1000000", "[" * 600 + "]" * 600, '{"a":' * 300 + "1" + "}" * 300])
async def test_1_unusual_parameters_break_no_search(emulator: WiroEmulator, quick_session: AsyncWiro, odd: str) -> None:
    """Unusual parameters are compared correctly, ours and those of other tasks."""
    async with AsyncWiro(**emulator.options()) as other:
        await other.submit("emulator/sleeper", {**SHORT, "prompt": odd, "n": 1})
        emulator.faults.http("Run/*", ResetAfter())
        result = await quick_session.run("emulator/sleeper", {**SHORT, "prompt": odd, "n": 2})
    assert result.info.id == ids(emulator)[1]


async def test_1_a_refusal_raises_at_once(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A refusal raises, without a search."""
    emulator.faults.http("Run/*", Respond(200, '{"result":false,"errors":[{"code":0,"message":"x is required"}]}'))
    with pytest.raises(InvalidInputError):
        await wiro.run(STUCK)
    emulator.faults.http("Run/*", Respond(403, '{"result":false,"errors":[{"code":0,"message":"no"}]}'))
    with pytest.raises(APIError):
        await wiro.run(STUCK)
    assert emulator.ledger.count("Task/List") == 0


async def test_1_an_incomplete_request_raises(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """A body that was not sent completely made no task: one search, then the error."""

    async def slowly() -> AsyncIterator[bytes]:
        while True:
            yield bytes(100_000)
            await asyncio.sleep(0.01)

    emulator.faults.http("Run/*", ResetBefore())
    with pytest.raises(ConnectionFailedError) as caught:
        await quick_session.run(STUCK, {"image": File(slowly(), "a.bin")})
    assert caught.value.incomplete
    assert emulator.ledger.count("Task/List") == 1
    assert not emulator.ledger.submissions


@pytest.mark.tuning(search_grace=1.0)
async def test_1_the_search_waits_for_an_equal_run_in_flight(
    emulator: WiroEmulator, short_timing: Tuning, until: Until
) -> None:
    """The last step of a search waits for an equal run in flight."""
    emulator.faults.http("Run/*", ResetBefore())
    emulator.faults.http("Run/*", DelayAnswer(0.6))
    async with AsyncWiro(**emulator.options()) as wiro:
        view = wiro.with_options(on_unknown="resubmit", timeout=Timeouts(request=0.6), retry=RetryPolicy(attempts=2))
        lost = asyncio.create_task(view.submit("emulator/sleeper", SHORT))
        await until(lambda: emulator.ledger.count("Task/List"))
        await asyncio.sleep(1.4)  # the deadline is after 1.6 s
        waiting = await wiro.submit("emulator/sleeper", SHORT)
        assert [waiting.id, (await lost).id] == ids(emulator)
