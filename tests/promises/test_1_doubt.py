"""Promise 1, where answers are odd, lists tell little, and others' tasks look like ours."""

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
from wiro_async._engine.submission import reconciler, submitter
from wiro_async._engine.submission.reconciler import Reconciler
from wiro_async._protocol.http.requests import RunInput
from wiro_async._protocol.submission.intent import Intent
from wiro_async.testing import DelayAnswer, ResetAfter, ResetBefore, Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until

SHORT = {"seconds": 5, "events": 9}
STUCK = "emulator/stuck"
LIMIT_REACHED = '{"result":false,"errors":[{"code":96,"message":"you can run up to 3 tasks"}]}'


def ids(emulator: WiroEmulator) -> list[str]:
    """The ids of all that was submitted, in order."""
    return [submission.task_id for submission in emulator.ledger.submissions]


def listing(*rows: dict[str, Any]) -> Respond:
    """A list of tasks with these rows."""
    return Respond(200, json.dumps({"result": True, "errors": [], "tasklist": rows}))


@pytest.mark.parametrize("status", [302, 307, 408, 409, 425, 499, 500, 504])
@pytest.mark.parametrize("mode", ["auto", "sse"])
async def test_1_statuses_that_prove_no_refusal(
    emulator: WiroEmulator, hurried: Tuning, status: int, mode: Any
) -> None:
    """Something between us and the service may have said them: the run is looked for, not taken for refused."""
    said = '{"result":false,"errors":[{"code":0,"message":"gone"}]}'
    emulator.faults.http("Run/*", Respond(status, said, handled=True))
    timeouts = Timeouts(request=1.0)
    async with AsyncWiro(**emulator.options(), updates=mode, timeout=timeouts) as wiro:
        result = await wiro.run("emulator/sleeper", SHORT)
    assert [result.info.id] == ids(emulator)


@pytest.mark.parametrize("status, result", [(429, None), (200, False), (503, False), (401, False)])
async def test_1_an_answer_that_tells_ids_is_one(
    emulator: WiroEmulator, wiro: AsyncWiro, status: int, result: bool | None
) -> None:
    """Whatever else it says: the task was made, so nothing is sent again and nobody is told of a refusal."""
    made = await wiro.submit("emulator/sleeper", SHORT)
    told = {"taskid": made.id, "socketaccesstoken": made.token, "result": result}
    emulator.faults.http("Run/*", Respond(status, json.dumps(told)))
    task = await wiro.submit("emulator/sleeper", {**SHORT, "n": 2})
    assert (task.id, task.token) == (made.id, made.token)
    assert emulator.ledger.count("Run/*") == 2


async def test_1_sent_again_so_often_only(
    emulator: WiroEmulator, impatient: AsyncWiro, monkeypatch: pytest.MonkeyPatch
) -> None:
    """on_unknown="resubmit" has a bound: the attempts of the retry policy."""
    monkeypatch.setattr(submitter, "ANSWERED_GRACE", 0.0)
    emulator.faults.http("Run/*", ResetBefore(), times=None)
    view = impatient.with_options(
        on_unknown="resubmit", retry=RetryPolicy(attempts=3, base=0.01), timeout=Timeouts(request=0.05)
    )
    with pytest.raises(SubmissionUnknownError):
        await view.run("emulator/sleeper", SHORT)
    assert emulator.ledger.count("Run/*") == 3


@pytest.mark.parametrize("setting", ["Raise", "resubmit ", True, None])
def test_1_a_slip_is_no_permission(setting: Any) -> None:
    """Nothing but the word itself allows a run to be sent twice."""
    with pytest.raises(ConfigurationError, match="on_unknown"):
        AsyncWiro("key", on_unknown=setting)


async def test_1_a_spent_body_is_not_sent_after_a_refusal(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A stream that was read for a call that was then refused cannot be read again: an empty file is never sent."""

    async def data() -> AsyncIterator[bytes]:
        yield b"once"

    emulator.faults.http("Run/*", Respond(200, LIMIT_REACHED), when=lambda call: True)
    with pytest.raises(ConcurrencyLimitError):
        await wiro.run("emulator/sleeper", {"image": File(data(), "a.png")})
    assert not emulator.ledger.submissions
    assert wiro._engine.limiter.in_flight == 0


async def test_1_a_file_is_read_anew_after_a_refusal(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """One that can be."""
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
async def test_1_a_strangers_task_is_not_ours(
    emulator: WiroEmulator, impatient: AsyncWiro, row: dict[str, Any]
) -> None:
    """Equal parameters are not enough where the list tells more."""
    emulator.faults.http("Run/*", ResetBefore())
    emulator.faults.http("Task/List", listing({"id": "77", "socketaccesstoken": "stranger", **ROW, **row}), times=None)
    with pytest.raises(SubmissionUnknownError) as caught:
        await impatient.submit(STUCK, project_id="716")
    assert caught.value.candidates == ()


async def test_1_a_task_of_unknown_age_is_a_candidate_only(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """It may be an old one, whose result is not this run's."""
    row = {"id": "77", "socketaccesstoken": "who-knows", **ROW}
    emulator.faults.http("Run/*", ResetBefore())
    emulator.faults.http("Task/List", listing(row), times=None)
    emulator.faults.http("Task/Detail", listing(row), times=None)
    with pytest.raises(SubmissionUnknownError) as caught:
        await impatient.submit(STUCK)
    assert [task.id for task in caught.value.candidates] == ["77"]
    assert emulator.ledger.count("Task/Detail") == 1


async def test_1_lists_that_tell_little_are_not_asked_about_for_ever(
    emulator: WiroEmulator, impatient: AsyncWiro, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand rows without a time or a model do not become a thousand questions."""
    monkeypatch.setattr(reconciler, "MAX_ASKED", 5)
    emulator.faults.http("Run/*", ResetBefore())
    emulator.faults.http("Task/List", listing(*({"id": str(number)} for number in range(100))), times=None)
    emulator.faults.http("Task/Detail", listing(), times=None)
    with pytest.raises(SubmissionUnknownError):
        await impatient.submit(STUCK)
    assert emulator.ledger.count("Task/Detail") <= 5


async def test_1_accounts_are_kept_apart(impatient: AsyncWiro) -> None:
    """Equal runs of two accounts cannot have each other's tasks, so neither is waited for or counted for the other."""
    intent = Intent.of(STUCK, RunInput.parse({}), None)
    views = impatient, impatient.with_options(timeout=1), impatient.with_options(api_key="another")
    ours, again, theirs = (Reconciler().begin(view._calls, intent).key for view in views)
    assert ours == again
    assert ours != theirs


async def test_1_an_equal_run_without_an_answer_does_not_hold_up_the_search(
    emulator: WiroEmulator, wiro: AsyncWiro, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever lost an answer waits for its equals no longer than for the list."""
    monkeypatch.setattr(submitter, "ANSWER_SECONDS", 0.1)
    for module in (submitter, reconciler):
        monkeypatch.setattr(module, "ANSWERED_GRACE", 0.2)
    emulator.faults.http("Run/*", DelayAnswer(30.0))
    emulator.faults.http("Run/*", ResetAfter())
    silent = asyncio.create_task(wiro.with_options(timeout=Timeouts(request=None)).submit(STUCK))
    await until(lambda: emulator.ledger.submissions)
    with pytest.raises(SubmissionUnknownError):
        await asyncio.wait_for(wiro.with_options(timeout=Timeouts(request=0.2)).submit(STUCK), 10)
    silent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await silent


@pytest.mark.parametrize("odd", ["1e9999999", "1E+1000000", "[" * 600 + "]" * 600, '{"a":' * 300 + "1" + "}" * 300])
async def test_1_odd_parameters_break_no_search(emulator: WiroEmulator, impatient: AsyncWiro, odd: str) -> None:
    """Neither one's own nor those of others' tasks in the list."""
    async with AsyncWiro(**emulator.options()) as other:
        await other.submit("emulator/sleeper", {**SHORT, "prompt": odd, "n": 1})
        emulator.faults.http("Run/*", ResetAfter())
        result = await impatient.run("emulator/sleeper", {**SHORT, "prompt": odd, "n": 2})
    assert result.info.id == ids(emulator)[1]


async def test_1_what_was_refused_is_told_as_such(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A plain no is a no, and costs no search."""
    emulator.faults.http("Run/*", Respond(200, '{"result":false,"errors":[{"code":0,"message":"x is required"}]}'))
    with pytest.raises(InvalidInputError):
        await wiro.run(STUCK)
    emulator.faults.http("Run/*", Respond(403, '{"result":false,"errors":[{"code":0,"message":"no"}]}'))
    with pytest.raises(APIError):
        await wiro.run(STUCK)
    assert emulator.ledger.count("Task/List") == 0


async def test_1_half_a_request_is_told_as_such(emulator: WiroEmulator, impatient: AsyncWiro) -> None:
    """A body that did not leave to its end was heeded by nobody: one look at the list, then the error itself."""

    async def slowly() -> AsyncIterator[bytes]:
        while True:
            yield bytes(100_000)
            await asyncio.sleep(0.01)

    emulator.faults.http("Run/*", ResetBefore())
    with pytest.raises(ConnectionFailedError) as caught:
        await impatient.run(STUCK, {"image": File(slowly(), "a.bin")})
    assert caught.value.incomplete
    assert emulator.ledger.count("Task/List") == 1
    assert not emulator.ledger.submissions


async def test_1_an_equal_run_that_is_just_sent_is_waited_for(
    emulator: WiroEmulator, wiro: AsyncWiro, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last look of a search does not fail because an equal run happens to be under way."""
    monkeypatch.setattr(submitter, "ANSWERED_GRACE", 0.0)
    emulator.faults.http("Run/*", DelayAnswer(1.2))
    emulator.faults.http("Run/*", ResetBefore())
    waiting = asyncio.create_task(wiro.submit("emulator/sleeper", SHORT))
    await until(lambda: emulator.ledger.submissions)
    view = wiro.with_options(on_unknown="resubmit", timeout=Timeouts(request=0.6), retry=RetryPolicy(attempts=2))
    again = await view.submit("emulator/sleeper", SHORT)
    assert [(await waiting).id, again.id] == ids(emulator)
