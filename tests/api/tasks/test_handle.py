"""`TaskHandle`: waiting, following, picking up again, cancelling."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from wiro_async import (
    APIError,
    AsyncWiro,
    AuthenticationError,
    NotFoundError,
    Progress,
    RetryPolicy,
    SessionClosedError,
    StatusChanged,
    TaskCancelled,
    TaskCancelledError,
    TaskFailedError,
    TaskFinished,
    TaskInfo,
    TaskTimeoutError,
    TextDelta,
    Tuning,
    WiroError,
)
from wiro_async._records.status import ORDER
from wiro_async.testing import Mute, Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until

QUICK = {"seconds": 5, "events": 9}
STORY = {"prompt": "a lighthouse", "seconds": 10}


async def reached(emulator: WiroEmulator, until: Until, status: str) -> None:
    """Wait until the only task has this status."""
    await until(lambda: [task.status for task in emulator.ledger.tasks.values()] == [status])


async def test_a_handle_knows_its_task(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Id, token and model, without showing the token."""
    task = await wiro.submit("emulator/sleeper", QUICK)
    (made,) = emulator.ledger.submissions
    assert (task.id, task.token, task.model) == (made.task_id, made.token, "emulator/sleeper")
    assert made.token not in repr(task)


async def test_awaiting_it_twice(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The second time needs no request."""
    task = await wiro.submit("emulator/sleeper", QUICK)
    first = await task
    calls = emulator.ledger.count()
    second = await task
    assert first.info == second.info
    assert emulator.ledger.count() == calls


async def test_awaiting_it_in_two_tasks(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Both share one registration on the socket."""
    task = await wiro.submit("emulator/sleeper", QUICK)
    first, second = await asyncio.gather(task, task.result())
    assert first.info == second.info
    assert len(emulator.ledger.sockets[0].tokens) == 1


async def test_awaiting_a_failure_twice(wiro: AsyncWiro) -> None:
    """It raises each time."""
    task = await wiro.submit("emulator/failing", {"seconds": 5})
    for _ in range(2):
        with pytest.raises(TaskFailedError, match="CUDA out of memory"):
            await task


async def test_events_in_order(wiro: AsyncWiro) -> None:
    """Each status once and in order, increasing progress, and the end last."""
    task = await wiro.submit("emulator/painter", {"prompt": "x", "width": 16, "height": 16, "seconds": 20})
    events = [event async for event in task.events()]
    reached = [event.status for event in events if isinstance(event, StatusChanged)]
    assert reached == sorted(set(reached), key=ORDER.index)
    assert reached[-1] == "task_postprocess_end"
    shares = [event.fraction for event in events if isinstance(event, Progress)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    last = events[-1]
    assert isinstance(last, TaskFinished)
    assert last.result.output.name == "0.png"


async def test_events_then_await(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """After the last event, the result needs no request."""
    task = await wiro.submit("emulator/sleeper", QUICK)
    async for _ in task.events():
        pass
    calls = emulator.ledger.count()
    assert (await task).succeeded
    assert emulator.ledger.count() == calls


async def test_events_of_a_failure_end_with_it(wiro: AsyncWiro) -> None:
    """Following does not raise. The last event contains the failure."""
    task = await wiro.submit("emulator/failing", {"seconds": 5})
    events = [event async for event in task.events()]
    last = events[-1]
    assert isinstance(last, TaskFinished)
    assert not last.result.succeeded
    with pytest.raises(TaskFailedError):
        await task


async def test_an_iterator_that_ended_stays_ended(wiro: AsyncWiro) -> None:
    """Further calls yield nothing."""
    events = (await wiro.submit("emulator/sleeper", QUICK)).events()
    async for _ in events:
        pass
    assert [event async for event in events] == []
    assert events.over is not None


async def test_events_of_a_finished_task(wiro: AsyncWiro) -> None:
    """A second iteration yields the text and the end at once."""
    task = await wiro.submit("emulator/writer", STORY)
    result = await task
    with anyio.fail_after(1.5):
        events = [event async for event in task.events()]
    assert isinstance(events[-1], TaskFinished)
    assert result.text in [event.text for event in events if isinstance(event, TextDelta)]


async def test_a_late_listener_gets_the_text_so_far(wiro: AsyncWiro) -> None:
    """A listener that starts in the middle gets the whole text too."""
    task = await wiro.submit("emulator/writer", {**STORY, "seconds": 40})
    early, late = "", ""
    async with task.events() as events:
        async for event in events:
            if isinstance(event, TextDelta) and event.kind == "answer":
                early += event.text
                if len(early) > 80 and not late:
                    async for event in task.events():
                        if isinstance(event, TextDelta) and event.kind == "answer":
                            late += event.text
    assert early == late == (await task).text


async def test_two_listeners_get_equal_events(wiro: AsyncWiro) -> None:
    """Each has its own buffer."""
    task = await wiro.submit("emulator/writer", STORY)

    async def text() -> str:
        return "".join([delta.text async for delta in task.text_deltas() if isinstance(delta, TextDelta)])

    first, second = await asyncio.gather(text(), text())
    assert first == second
    assert first.endswith((await task).text)


async def test_cancelling_a_wait_for_an_event_loses_none(wiro: AsyncWiro) -> None:
    """A reader can time out between events, and continue."""
    task = await wiro.submit("emulator/writer", {**STORY, "seconds": 30})
    text, interruptions = "", 0
    async with task.events() as events:
        while not events.over:
            interruptions += 1
            with anyio.move_on_after(0.003):
                event = await anext(events)
                interruptions -= 1
                if isinstance(event, TextDelta) and event.kind == "answer":
                    text += event.text
    assert interruptions
    assert text == (await task).text


async def test_leaving_a_listener_leaves_the_others(wiro: AsyncWiro) -> None:
    """A listener that leaves takes no events from the others."""
    task = await wiro.submit("emulator/writer", {**STORY, "seconds": 20})
    staying = asyncio.create_task(task.result())
    async for _ in task.events():
        break
    assert wiro.statistics().watched_tasks == 1
    assert (await staying).succeeded


async def test_a_running_task_is_picked_up_by_its_token(emulator: WiroEmulator, until: Until) -> None:
    """Another session, perhaps in another process, continues to follow it."""
    async with AsyncWiro(**emulator.options()) as first:
        token = (await first.submit("emulator/writer", {**STORY, "seconds": 30})).token
    await reached(emulator, until, "task_output")
    async with AsyncWiro(**emulator.options()) as second:
        task = second.task(token)
        assert (task.id, task.token, task.model) == (None, token, "")
        events = [event async for event in task.events()]
    last = events[-1]
    assert isinstance(last, TaskFinished)
    answer = "".join(event.text for event in events if isinstance(event, TextDelta) and event.kind == "answer")
    assert answer == last.result.text


async def test_a_running_task_is_picked_up_by_its_id(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The handle learns the token, so the socket is used too."""
    made = await wiro.submit("emulator/sleeper", {"seconds": 40})
    async with AsyncWiro(**emulator.options()) as second:
        assert (await second.task(task_id=made.id)).info.token == made.token
    assert [made.token] in [record.tokens for record in emulator.ledger.sockets]


async def test_a_finished_task_is_picked_up(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """One request returns its result."""
    made = await wiro.run("emulator/sleeper", QUICK)
    for handle in (wiro.task(made.info.token), wiro.task(task_id=made.info.id)):
        before = emulator.ledger.count()
        with anyio.fail_after(1.5):
            assert (await handle).info.id == made.info.id
        assert emulator.ledger.count() == before + 1


async def test_the_same_task_by_id_and_by_token(wiro: AsyncWiro) -> None:
    """Two handles of one task do not disturb each other."""
    made = await wiro.submit("emulator/sleeper", {"seconds": 30})
    by_token, by_id = wiro.task(made.token), wiro.task(task_id=made.id)
    async for _ in by_id.events():
        break
    results = await asyncio.gather(by_token, by_id, made)
    assert {result.info.id for result in results} == {made.id}


@pytest.mark.parametrize("by", ["token", "id"])
async def test_a_missing_task(wiro: AsyncWiro, by: str) -> None:
    """A wrong token or id ends the wait with `NotFoundError`, which names it."""
    task = wiro.task("nobody's") if by == "token" else wiro.task(task_id="404")
    with pytest.raises(NotFoundError) as caught:
        await task
    assert (caught.value.task_id, caught.value.token) == (task.id, task.token)
    with pytest.raises(NotFoundError):
        await anext(task.events())
    assert wiro.statistics().watched_tasks == 0


async def test_info(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The current snapshot, or None while the task is not listed."""
    emulator.faults.empty_tasklist = 1
    task = await wiro.submit("emulator/queued")
    assert await task.info() is None
    detail = await task.info()
    assert isinstance(detail, TaskInfo)
    assert (detail.status, detail.exit_code, detail.is_over) == ("task_queue", None, False)


async def test_cancel_ends_the_wait(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """A queued and a running task alike."""
    queued = await wiro.submit("emulator/queued")
    assert await queued.cancel()
    with pytest.raises(TaskCancelledError):
        await queued
    running = await wiro.submit("emulator/stuck")
    await until(lambda: emulator.ledger.tasks[str(running.id)].status == "task_start")
    assert await running.cancel()
    with pytest.raises(TaskCancelledError):
        await running


async def test_cancel_with_the_token_alone(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The service accepts only an id, so the id is read first."""
    made = await wiro.submit("emulator/queued")
    await wiro.task(made.token).cancel()
    assert emulator.ledger.tasks[str(made.id)].status == "task_cancel"


@pytest.mark.parametrize("model", ["emulator/queued", "emulator/stuck"])
@pytest.mark.parametrize("by", ["handle", "token", "id"])
async def test_cancel_in_any_state(emulator: WiroEmulator, wiro: AsyncWiro, until: Until, model: str, by: str) -> None:
    """It sends cancel or kill as the state requires, by any reference."""
    made = await wiro.submit(model)
    await reached(emulator, until, "task_queue" if model == "emulator/queued" else "task_start")
    task = {"handle": made, "token": wiro.task(made.token), "id": wiro.task(task_id=made.id)}[by]
    assert await task.cancel()
    assert emulator.ledger.tasks[str(made.id)].status == "task_cancel"


async def test_cancelling_a_finished_task(wiro: AsyncWiro) -> None:
    """A task that finished was not cancelled."""
    task = await wiro.submit("emulator/sleeper", QUICK)
    await task
    assert await task.cancel() is False


async def test_a_task_killed_elsewhere(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """Waiting ends with TaskCancelledError, following with TaskCancelled."""
    task = await wiro.submit("emulator/stuck")

    async def follow() -> list[object]:
        return [event async for event in task.events()]

    waiting, context = asyncio.create_task(task.result()), asyncio.create_task(follow())
    await until(lambda: wiro.statistics().sockets)
    await reached(emulator, until, "task_start")
    async with AsyncWiro(**emulator.options()) as other:
        await other.tasks.cancel(str(task.token))
    with pytest.raises(TaskCancelledError) as caught:
        await waiting
    last = (await context)[-1]
    assert isinstance(last, TaskCancelled)
    assert last.task.id == caught.value.info.id == task.id


async def test_delete_files(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Only when the task is over, also by id. Repeating is idempotent."""
    running = await wiro.submit("emulator/stuck")
    with pytest.raises(APIError, match="still running"):
        await running.delete_files()
    result = await wiro.run("emulator/sleeper", QUICK)
    task = wiro.task(task_id=result.info.id)
    for _ in range(2):
        await task.delete_files()
    detail = await task.info()
    assert detail is not None
    assert detail.outputs == ()


@pytest.mark.parametrize("leave", [lambda deltas: deltas, aclosing])
async def test_leaving_text_deltas(wiro: AsyncWiro, leave: Any) -> None:
    """Leaving by `async with` or `contextlib.aclosing` stops following, and yields no more text."""
    task = await wiro.submit("emulator/writer", {**STORY, "seconds": 500})
    async with leave(task.text_deltas()) as deltas:
        first = await anext(deltas)
        assert wiro.statistics().watched_tasks == 1
    assert wiro.statistics().watched_tasks == 0
    assert deltas.thinking_so_far == first.text
    assert deltas.text_so_far == ""
    assert [delta async for delta in deltas] == []
    await task.cancel()


async def test_text_deltas_of_a_failed_task(wiro: AsyncWiro) -> None:
    """They raise, so that a partial answer is not mistaken for a complete one."""
    task = await wiro.submit("emulator/failing", {"seconds": 5})
    with pytest.raises(TaskFailedError, match="CUDA"):
        async for _ in task.text_deltas():
            pass
    stopped = await wiro.submit("emulator/writer", {**STORY, "seconds": 500})
    deltas = stopped.text_deltas()
    await anext(deltas)
    await stopped.cancel()
    with pytest.raises(TaskCancelledError):
        async for _ in deltas:
            pass


async def test_text_deltas_within_a_time(wiro: AsyncWiro) -> None:
    """A reader can limit the time for each delta."""
    task = await wiro.submit("emulator/stuck")
    with pytest.raises(TaskTimeoutError):
        async for _ in task.text_deltas(timeout=0.05):
            pass
    assert wiro.statistics().watched_tasks == 0


async def test_text_deltas(wiro: AsyncWiro) -> None:
    """Only text: first the thinking, then the answer, both complete."""
    task = await wiro.submit("emulator/writer", STORY)
    kinds: list[str] = []
    texts = {"thinking": "", "answer": ""}
    async for delta in task.text_deltas():
        assert isinstance(delta, TextDelta)
        kinds.append(delta.kind)
        texts[delta.kind] += delta.text
    result = await task
    assert kinds == sorted(kinds, reverse=True)
    assert texts == {"thinking": result.thinking, "answer": result.text}


async def test_a_session_closed_while_following(emulator: WiroEmulator, until: Until) -> None:
    """The iterator raises, with the ids of the task."""
    async with AsyncWiro(**emulator.options()) as wiro:
        task = await wiro.submit("emulator/stuck")

        async def follow() -> None:
            async for _ in task.events():
                pass

        context = asyncio.create_task(follow())
        await until(lambda: wiro.statistics().watched_tasks)
    with pytest.raises(SessionClosedError) as caught:
        await context
    assert caught.value.token == task.token


async def test_an_old_handle_is_polled_at_once(emulator: WiroEmulator, short_timing: Tuning, until: Until) -> None:
    """A task submitted a while ago may be over, and then no message will come."""
    emulator.faults.socket(Mute())
    async with AsyncWiro(**emulator.options()) as wiro:
        task = await wiro.submit("emulator/sleeper", QUICK)
        await reached(emulator, until, "task_postprocess_end")
        old = asyncio.get_running_loop().time() + 0.1
        await until(lambda: asyncio.get_running_loop().time() > old)
        assert (await task).succeeded
    assert emulator.ledger.count("Task/Detail") == 1


async def test_a_handle_takes_up_what_it_learns(wiro: AsyncWiro) -> None:
    """A handle with only a token or an id learns the rest from responses."""
    made = await wiro.submit("emulator/sleeper", {"seconds": 1})
    by_token, by_id, asked = wiro.task(made.token), wiro.task(task_id=made.id), wiro.task(made.token)
    await by_token
    await by_id.result()
    await asked.info()
    for handle in (by_token, by_id, asked):
        assert (handle.id, handle.token, handle.model) == (made.id, made.token, "emulator/sleeper")


@pytest.mark.parametrize("call", ["info", "cancel", "delete_files"])
async def test_errors_of_a_handle_name_its_task(emulator: WiroEmulator, wiro: AsyncWiro, call: str) -> None:
    """Every error that comes after a submit has the ids, so that the run can be picked up again."""
    task = await wiro.submit("emulator/sleeper", {"seconds": 1})
    refused = Respond(401, '{"result":false,"errors":[{"code":99,"message":"expired"}]}')
    emulator.faults.http("Task/*", refused, times=None)
    with pytest.raises(AuthenticationError) as caught:
        await getattr(task, call)()
    assert (caught.value.task_id, caught.value.token) == (task.id, task.token)


async def test_an_echoed_token_is_not_shown(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The error does not show a token that the service repeats."""
    task = await wiro.submit("emulator/sleeper", {"seconds": 1})
    assert task.token
    said = json.dumps({"result": False, "errors": [{"code": 0, "message": f"Task {task.token} is not yours"}]})
    for answer in (Respond(200, said), Respond(502, f"<h1>{task.token}</h1>", "text/html")):
        emulator.faults.http("Task/Detail", answer, times=None)
        with pytest.raises(WiroError) as caught:
            await wiro.with_options(retry=RetryPolicy(attempts=1)).task(task.token).info()
        assert task.token not in f"{caught.value!r} {caught.value} {caught.value.args}"
        emulator.faults.clear()
