"""Sockets, poller and event streams against the emulator: details beyond the promises."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
import httpx
import pytest

from wiro_async import (
    AsyncWiro,
    AuthenticationError,
    ConnectionFailedError,
    NotFoundError,
    RetryPolicy,
    StatusChanged,
    SubmissionUnknownError,
    TaskFinished,
    TextDelta,
    Timeouts,
    Tuning,
    WiroError,
)
from wiro_async._engine.calls import task_calls
from wiro_async.testing import Cut, Duplicate, MuteAfter, RefuseUpgrade, ResetAfter, Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until
    from wiro_async.testing import Exchange

EXPIRED = '{"result":false,"errors":[{"code":99,"message":"expired"}]}'
SHORT = {"seconds": 5, "events": 9}
STORY = {"prompt": "a lighthouse", "seconds": 20}


async def test_a_service_that_serves_one_task_a_socket(
    emulator: WiroEmulator, wiro: AsyncWiro, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """If a socket stays silent about later registrations while their tasks move, each task gets a socket of its own."""
    emulator.faults.socket(MuteAfter(1))
    with caplog.at_level(logging.WARNING, "wiro_async"):
        results = await asyncio.gather(*(wiro.run("emulator/sleeper", {"seconds": 60, "n": n}) for n in range(5)))
    assert [result.info.parameters["n"] for result in results] == list("01234")
    assert "one task a socket" in caplog.text
    tokens = [len(record.tokens) for record in emulator.ledger.sockets]
    assert tokens[0] == 5
    assert tokens[1:] == [1] * len(tokens[1:])
    assert len(tokens) > 2
    events: list[object] = []
    await wiro.run("emulator/sleeper", SHORT, on_event=events.append)
    assert len(emulator.ledger.sockets[-1].tokens) == 1
    await until(lambda: wiro.statistics().sockets == 0)


async def test_many_tasks_spread_over_sockets(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """Above the limit of tasks, another socket is opened."""
    async with AsyncWiro(**emulator.options(), tasks_per_socket=4) as wiro:
        await asyncio.gather(*(wiro.run("emulator/sleeper", {"seconds": 20, "n": n}) for n in range(10)))
    assert sum(len(record.tokens) for record in emulator.ledger.sockets) == 10
    assert max(len(record.tokens) for record in emulator.ledger.sockets) <= 4


@pytest.mark.tuning(socket_max_registrations=3)
async def test_a_socket_is_replaced_after_many_registrations(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The service has no way to remove a registration."""
    for _ in range(5):
        await wiro.run("emulator/sleeper", SHORT)
    assert [len(record.tokens) for record in emulator.ledger.sockets] == [3, 2]


@pytest.mark.tuning(socket_idle=0.05)
async def test_an_idle_socket_is_closed(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """It closes after some time without a task. The next task opens another one."""
    await wiro.run("emulator/sleeper", SHORT)
    await until(lambda: wiro.statistics().sockets == 0 and not emulator.ledger.open_sockets)
    assert (await wiro.run("emulator/sleeper", SHORT)).succeeded
    assert len(emulator.ledger.sockets) == 2


async def test_a_refused_socket_is_tried_again(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """It is retried with growing pauses while it is needed. Meanwhile tasks are polled."""
    emulator.faults.socket(RefuseUpgrade(), times=2)
    task = await wiro.submit("emulator/writer", {**STORY, "seconds": 60})
    events = [event async for event in task.events()]
    assert isinstance(events[-1], TaskFinished)
    assert len(emulator.ledger.sockets) == 1
    assert sum(isinstance(event, TextDelta) for event in events) > 3


async def test_no_key_goes_to_the_socket(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The socket needs no key, because tokens are the secret there."""
    await wiro.run("emulator/sleeper", SHORT)
    headers = emulator.ledger.sockets[0].headers
    assert not {name for name in headers if name.startswith("x-")}
    assert headers["user-agent"].startswith("wiro-async/")


async def test_polls_keep_their_rate(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """All tasks together stay below the polling rate."""
    async with AsyncWiro(**emulator.options(), updates="polling", polls_per_second=50) as wiro:
        tasks = [await wiro.submit("emulator/sleeper", {"seconds": 15}) for _ in range(10)]
        await asyncio.gather(*tasks)
    asked = [call.at for call in emulator.ledger.calls if call.endpoint == "Task/Detail"]
    assert len(asked) <= 50 * (asked[-1] - asked[0]) * 1.3 + 3


@pytest.mark.tuning(refusal_grace_known=0.1)
async def test_polls_that_are_refused_end_the_wait(emulator: WiroEmulator, polling: AsyncWiro) -> None:
    """A key that is refused repeatedly is no longer valid. The next wait sends requests again."""
    task = await polling.submit("emulator/sleeper", {"seconds": 60})
    async with task.events() as events:
        await anext(events)
        emulator.faults.http("Task/Detail", Respond(401, EXPIRED), times=None)
        with pytest.raises(AuthenticationError) as caught:
            await task
        assert (caught.value.task_id, caught.value.token) == (task.id, task.token)
        assert sum(call.status == 401 for call in emulator.ledger.calls) >= 3
        emulator.faults.clear()
        assert (await task).succeeded
    assert polling.statistics().watched_tasks == 0


@pytest.mark.parametrize(
    "answer",
    [
        Respond(401, EXPIRED),
        Respond(403, '{"error":"forbidden"}'),
        Respond(404, '{"result":false,"errors":[{"code":0,"message":"Error parsing url."}]}'),
        Respond(200, '{"result":false,"errors":[{"code":1,"message":"task-not-exist"}]}'),
        Respond(200, '{"result":false,"errors":[{"code":0,"message":"Internal server error"}]}'),
        Respond(200, '{"result":false,"errors":[{"code":500,"message":"db timeout"}]}'),
        Respond(200, '{"result":false,"errors":[{"code":96,"message":"You can run up to 5 tasks"}]}'),
        Respond(200, '{"result":false,"errors":[]}'),
        Respond(302, "{}"),
        Respond(403, "<html>", "text/html"),
    ],
    ids=["401", "403", "404", "code 1", "code 0", "code 500", "96", "no errors", "302", "html"],
)
async def test_an_invalid_response_loses_no_run(emulator: WiroEmulator, polling: AsyncWiro, answer: Respond) -> None:
    """The wait survives one or two invalid responses of Task/Detail."""
    emulator.faults.http("Task/Detail", answer, times=2)
    assert (await polling.run("emulator/sleeper", SHORT)).succeeded


NO_SUCH_TASK = Respond(200, '{"result":false,"errors":[{"code":1,"message":"task-not-exist"}]}')


@pytest.mark.parametrize("reference", ["token", "id"])
@pytest.mark.parametrize(
    "is_held",
    [
        pytest.param(True, marks=pytest.mark.tuning(refusal_grace=0.2)),
        pytest.param(False, marks=pytest.mark.tuning(refusal_grace=0.2, max_idle_slots=0)),
    ],
)
async def test_refusals_lose_no_run_of_the_session(
    emulator: WiroEmulator,
    polling: AsyncWiro,
    until: Until,
    reference: str,
    is_held: bool,
) -> None:
    """The session made the task, so the task exists, even for a handle with only its token or id."""
    made = await polling.submit("emulator/sleeper", SHORT)
    emulator.faults.http("Task/Detail", NO_SUCH_TASK, times=20)
    known = polling.task(made.token) if reference == "token" else polling.task(task_id=made.id)
    waits = [asyncio.create_task(known.result())]
    await until(lambda: polling.statistics().watched_tasks)
    if not is_held:
        waits.append(asyncio.create_task(made.result()))
    for result in await asyncio.gather(*waits):
        assert result.succeeded


async def test_refusals_of_another_account_are_raised_soon(emulator: WiroEmulator, polling: AsyncWiro) -> None:
    """The session made the task for another account, so this account may not see it."""
    made = await polling.submit("emulator/sleeper", {"seconds": 2000})
    other = polling.with_options(api_key="another", timeout=15.0)
    with pytest.raises(AuthenticationError):
        await other.task(made.token)


@pytest.mark.tuning(refusal_grace_known=0.2)
async def test_an_unknown_token(emulator: WiroEmulator, polling: AsyncWiro) -> None:
    """If the service does not refuse the token but lists no task for it, the wait ends too."""
    emulator.faults.http("Task/Detail", Respond(200, '{"result":true,"errors":[],"tasklist":[]}'), times=None)
    with pytest.raises(NotFoundError, match="lists no such task") as caught:
        await polling.task("mistyped")
    assert caught.value.token == "mistyped"


@pytest.mark.tuning(failing_grace=0.1)
async def test_polls_that_fail_for_too_long_end_the_wait(emulator: WiroEmulator, polling: AsyncWiro) -> None:
    """The wait ends with the error of the polls."""
    view = polling.with_options(retry=RetryPolicy(attempts=1))
    task = await view.submit("emulator/stuck")
    emulator.faults.http("Task/Detail", ResetAfter(), times=None)
    with pytest.raises(ConnectionFailedError) as caught:
        await task
    assert caught.value.token == task.token


async def test_an_unexpected_error_of_a_poll_ends_the_wait(polling: AsyncWiro, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is raised in the wait, which would hang otherwise."""

    def stumble(answer: object) -> NoReturn:
        raise LookupError("odd")

    monkeypatch.setattr(task_calls, "tasks_of", stumble)
    with pytest.raises(WiroError, match="odd") as caught:
        await polling.run("emulator/sleeper", SHORT)
    assert isinstance(caught.value.__cause__, LookupError)


async def test_a_new_task_may_be_unknown_for_a_while(emulator: WiroEmulator, polling: AsyncWiro) -> None:
    """For a short time the SDK ignores "there is no such task"."""
    unknown = '{"result":false,"errors":[{"code":1,"message":"There is no task yet."}]}'
    emulator.faults.http("Task/Detail", Respond(200, unknown), times=2)
    assert (await polling.run("emulator/sleeper", SHORT)).succeeded


@pytest.mark.tuning(poll_confirmations=3)
async def test_a_finished_task_without_an_exit_code(emulator: WiroEmulator, polling: AsyncWiro) -> None:
    """It is read several more times, and then not counted as a success."""
    row = {"id": "7", "status": "task_postprocess_end", "pexit": "", "modelslugowner": "a", "modelslugproject": "b"}
    emulator.faults.http("Task/Detail", Respond(200, json.dumps({"result": True, "tasklist": [row]})), times=None)
    events = [event async for event in polling.task("token").events()]
    last = events[-1]
    assert isinstance(last, TaskFinished)
    assert not last.result.succeeded
    assert emulator.ledger.count("Task/Detail") >= 3


@pytest.mark.tuning(poll_confirmations=2)
async def test_a_socket_that_reports_an_end_for_too_long(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """If Task/Detail shows no end for long, it is read at the usual rate again, and the end still arrives."""
    emulator.faults.detail_lag = 0.5
    assert (await wiro.run("emulator/sleeper", SHORT)).succeeded


@pytest.mark.parametrize("model", ["emulator/painter", "emulator/writer"])
async def test_event_streams(emulator: WiroEmulator, short_timing: Tuning, model: str) -> None:
    """With updates="sse", statuses and the end arrive in the response of the run."""
    async with AsyncWiro(**emulator.options(), updates="sse") as wiro:
        events: list[object] = []
        result = await wiro.run(model, {**STORY, "width": 16, "height": 16}, on_event=events.append)
    assert result.succeeded
    assert isinstance(events[-1], TaskFinished)
    assert any(isinstance(event, StatusChanged) for event in events)
    assert len(emulator.ledger.submissions) == 1
    assert not emulator.ledger.sockets


async def test_an_event_stream_that_breaks(emulator: WiroEmulator, short_timing: Tuning, until: Until) -> None:
    """The socket takes over, and nothing is sent again."""

    class Breaking(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            if "/sync" in request.url.path:
                response.stream = Broken(response.stream)
            return response

    class Broken(httpx.AsyncByteStream):
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self.stream:
                yield chunk
                if b"task_output" in chunk:
                    raise httpx.ReadError("broken")

        async def aclose(self) -> None:
            await self.stream.aclose()

    async with AsyncWiro(**emulator.options(), updates="sse", transport=Breaking()) as wiro:
        task = await wiro.submit("emulator/writer", {**STORY, "seconds": 40})
        events = [event async for event in task.events()]
        last = events[-1]
        assert isinstance(last, TaskFinished)
        answer = "".join(event.text for event in events if isinstance(event, TextDelta) and event.kind == "answer")
        assert answer == last.result.text
    assert len(emulator.ledger.submissions) == 1
    assert len(emulator.ledger.sockets) == 1


@pytest.mark.parametrize(
    "fault", [ResetAfter(), Respond(502, "<html>", "text/html", handled=True)], ids=["reset", "502"]
)
async def test_an_event_stream_that_never_begins(emulator: WiroEmulator, short_timing: Tuning, fault: Any) -> None:
    """The SDK searches for the run."""
    emulator.faults.http("Run/*", fault)
    async with AsyncWiro(**emulator.options(), updates="sse", timeout=Timeouts(request=0.5)) as wiro:
        assert (await wiro.run("emulator/sleeper", SHORT)).succeeded
    assert len(emulator.ledger.submissions) == 1


async def test_an_event_stream_that_was_cut_before_the_ids(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """An empty stream may have made a task, so the SDK searches for it."""
    emulator.faults.http("Run/*", Respond(200, ": keep-alive\n\n", "text/event-stream", handled=True))
    async with AsyncWiro(**emulator.options(), updates="sse", timeout=Timeouts(request=0.5)) as wiro:
        assert (await wiro.run("emulator/sleeper", SHORT)).succeeded
    assert len(emulator.ledger.submissions) == 1


@attrs.frozen
class KeepAlives:
    """An event stream that makes a task and sends only comments while the client listens."""

    async def apply(self, exchange: Exchange) -> None:
        """Send comments only."""
        await exchange.handle()
        headers = [(b"content-type", b"text/event-stream")]
        await exchange.write({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(2000):
            await exchange.write({"type": "http.response.body", "body": b": keep-alive\n\n", "more_body": True})
            await asyncio.sleep(0.01)


async def test_an_event_stream_without_ids(emulator: WiroEmulator, short_timing: Tuning, until: Until) -> None:
    """The stream has the timeout of any response. After it, the SDK searches for the task."""
    emulator.faults.http("Run/*", KeepAlives())
    async with AsyncWiro(**emulator.options(), updates="sse", timeout=Timeouts(request=0.5)) as wiro:
        async with asyncio.timeout(20):
            assert (await wiro.run("emulator/sleeper", SHORT)).succeeded
        await until(lambda: wiro.statistics().requests == 0)
    assert len(emulator.ledger.submissions) == 1


async def test_an_event_stream_that_is_not_waited_for_is_dropped(
    emulator: WiroEmulator, short_timing: Tuning, until: Until
) -> None:
    """A call that is cancelled while it waits for the ids leaves no stream behind."""
    emulator.faults.http("Run/*", KeepAlives())
    async with AsyncWiro(**emulator.options(), updates="sse") as wiro:
        starting = asyncio.create_task(wiro.submit("emulator/sleeper", {"seconds": 1}))
        await until(lambda: emulator.ledger.submissions)
        starting.cancel()
        await asyncio.wait([starting])
        await until(lambda: wiro.statistics().requests == 0)
        await until(lambda: wiro.statistics().background_tasks == 0)


@pytest.mark.parametrize("event", ["output", "done"])
async def test_any_event_may_contain_the_ids(emulator: WiroEmulator, short_timing: Tuning, event: str) -> None:
    """Not only the first event, whose form is not documented."""
    async with AsyncWiro(**emulator.options(), updates="sse") as wiro:
        made = await wiro.with_options(updates="polling").submit("emulator/sleeper", SHORT)
        output = f'event: task_output\ndata: {{"id":"{made.id}","status":"task_output","segments":[]}}\n\n'
        done = f'event: done\ndata: {{"tasklist":[{{"id":"{made.id}","status":"task_postprocess_end"}}]}}\n\n'
        body = "event: start\ndata: {}\n\n" + (output if event == "output" else done)
        emulator.faults.http("Run/*", Respond(200, body, "text/event-stream"))
        assert (await wiro.run("emulator/sleeper", SHORT)).info.id == made.id


async def test_an_event_stream_answered_by_json(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """A service or proxy without streams returns the ids or the refusal at once."""
    emulator.faults.sync_timeout = 0.05
    async with AsyncWiro(**emulator.options(), updates="sse") as wiro:
        with pytest.raises(WiroError, match="prompt"):
            await wiro.run("emulator/painter")
        made = await wiro.with_options(updates="polling").submit("emulator/sleeper", SHORT)
        body = json.dumps({"result": True, "errors": [], "taskid": made.id, "socketaccesstoken": made.token})
        emulator.faults.http("Run/*", Respond(200, body))
        assert (await wiro.run("emulator/sleeper", SHORT)).info.id == made.id


async def test_an_event_stream_without_a_listener(emulator: WiroEmulator, short_timing: Tuning, until: Until) -> None:
    """A handle that is awaited after its stream has ended polls."""
    async with AsyncWiro(**emulator.options(), updates="sse") as wiro:
        task = await wiro.submit("emulator/sleeper", SHORT)
        await until(lambda: emulator.ledger.tasks[str(task.id)].finished and wiro.statistics().requests == 0)
        assert (await task).succeeded


async def test_closing_the_session_ends_event_streams(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """The connection is closed. The handle's task continues."""
    async with AsyncWiro(**emulator.options(), updates="sse") as wiro:
        task = await wiro.submit("emulator/stuck")
        assert (wiro.statistics().background_tasks, wiro.statistics().requests) == (1, 1)
    assert (wiro.statistics().background_tasks, wiro.statistics().requests) == (0, 0)
    assert not emulator.ledger.tasks[str(task.id)].finished


async def test_duplicates_do_not_end_a_task_twice(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Messages after the end are ignored."""
    emulator.faults.socket(Duplicate())
    results = await asyncio.gather(*(wiro.run("emulator/sleeper", SHORT) for _ in range(3)))
    assert all(result.succeeded for result in results)


async def test_a_lost_event_stream_without_a_task(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """The search finds no task, and the caller gets SubmissionUnknownError."""
    emulator.faults.http("Run/*", Cut(3))
    async with AsyncWiro(**emulator.options(), timeout=Timeouts(request=0.2)) as wiro:
        emulator.faults.http("Task/List", Respond(200, '{"result":true,"tasklist":[]}'), times=None)
        with pytest.raises(SubmissionUnknownError):
            await wiro.run("emulator/sleeper", SHORT)
