"""Two kinds of reference to one task, the end of a session, and readers of events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from wiro_async import (
    AsyncWiro,
    SessionClosedError,
    StatusChanged,
    TaskEvent,
    TaskFinished,
    TaskTimeoutError,
    Tuning,
    WiroError,
)
from wiro_async.testing import Respond, WiroEmulator
from wiro_async.webhooks import WebhookReceiver

if TYPE_CHECKING:
    from tests.conftest import Until

LONG = {"seconds": 120, "events": 120}  # more than two seconds, as the emulator runs fifty times as fast as life
SHORT = {"seconds": 5, "events": 9}


@pytest.fixture(params=["older", "newer"])
def message_generation(request: pytest.FixtureRequest) -> str:
    """Both generations of messages: with the token, and with the id alone."""
    return str(request.param)


@attrs.define
class Reader:
    """A reader of the events of a task."""

    events: list[TaskEvent] = attrs.field(factory=list[TaskEvent])

    async def read(self, events: AsyncIterator[TaskEvent]) -> None:
        async for event in events:
            self.events.append(event)


@pytest.mark.parametrize("first", ["both", "token", "id"])
@pytest.mark.parametrize("second", ["token", "id"])
async def test_a_second_reference_takes_no_events_away(
    emulator: WiroEmulator, default_session: AsyncWiro, until: Until, first: str, second: str
) -> None:
    """A reader by one kind of reference keeps receiving while a reader by the other kind comes and goes."""
    made = await default_session.submit("emulator/sleeper", LONG)
    handles = {"both": made, "token": default_session.task(made.token), "id": default_session.task(task_id=made.id)}
    reader = Reader()
    reading = asyncio.create_task(reader.read(handles[first].events()))
    await until(lambda: len(reader.events) > 3)
    async with handles[second].events() as events:
        await anext(events)
    before = len(reader.events)
    await reading
    assert len(reader.events) > before + 10
    assert isinstance(reader.events[-1], TaskFinished)


async def test_all_references_share_one_tracked_task(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """They do once both identifiers are known. It is released when the last one leaves."""
    made = await wiro.submit("emulator/stuck")
    waits = [asyncio.ensure_future(wiro.task(task_id=made.id).result())]
    await until(lambda: emulator.ledger.count("Task/Detail"))
    waits += [asyncio.ensure_future(handle.result()) for handle in (made, wiro.task(made.token))]
    await until(lambda: wiro.statistics().watched_tasks == 1)
    await asyncio.sleep(0.1)
    assert wiro.statistics().watched_tasks == 1
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)
    assert wiro.statistics().watched_tasks == 0


async def test_two_that_turn_out_to_be_one(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Followed by token and by id before the two are known to be one task. Both get its result."""
    made = await wiro.submit("emulator/sleeper", LONG)
    by_token, by_id, again = await asyncio.gather(wiro.task(made.token), wiro.task(task_id=made.id), made)
    assert {result.info.id for result in (by_token, by_id, again)} == {made.id}
    assert wiro.statistics().watched_tasks == 0


async def test_each_wait_ends_with_its_own_ids(emulator: WiroEmulator) -> None:
    """When the session is closed, and for a wait that starts afterwards."""
    wiro = AsyncWiro(**emulator.options())
    handles = [await wiro.submit("emulator/stuck", {"n": n}) for n in range(3)]
    waits = [asyncio.ensure_future(handle.result()) for handle in handles]
    await asyncio.sleep(0)
    while wiro.statistics().watched_tasks < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await wiro.aclose()
    errors = [error for error in await asyncio.gather(*waits, return_exceptions=True) if isinstance(error, WiroError)]
    errors += [error for handle in handles if (error := await _refused(handle.result())) is not None]
    assert all(isinstance(error, SessionClosedError) for error in errors)
    assert [(error.task_id, error.token) for error in errors] == 2 * [(handle.id, handle.token) for handle in handles]


async def _read_out(iterator: AsyncIterator[object]) -> None:
    async for _ in iterator:
        pass


async def _refused(wait: Any) -> WiroError | None:
    try:
        await wait
    except WiroError as error:
        return error
    return None


async def test_closing_leaves_no_tracked_task(emulator: WiroEmulator) -> None:
    """Even while events and texts are being read."""
    wiro = AsyncWiro(**emulator.options())
    events = (await wiro.submit("emulator/stuck")).events()
    await anext(events)
    deltas = (await wiro.submit("emulator/writer", {"prompt": "x", "seconds": 500})).text_deltas()
    await anext(deltas)
    await wiro.aclose()
    assert wiro.statistics().watched_tasks == 0
    for iterator in (events, deltas):
        with pytest.raises(SessionClosedError):
            await _read_out(iterator)
    events.close()
    deltas.close()


async def test_events_can_be_closed(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """`contextlib.aclosing` works."""
    task = await wiro.submit("emulator/stuck")
    async with aclosing(task.events()) as events:
        await anext(events)
        assert wiro.statistics().watched_tasks == 1
    assert wiro.statistics().watched_tasks == 0


async def test_events_have_one_reader(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The second iteration raises, and the first one goes on."""
    task = await wiro.submit("emulator/sleeper", SHORT)
    reader, events = Reader(), task.events()
    reading = asyncio.create_task(reader.read(events))
    await asyncio.sleep(0)
    with pytest.raises(WiroError, match=r"task\.events\(\)"):
        await anext(events)
    await reading
    assert isinstance(reader.events[-1], TaskFinished)
    assert wiro.statistics().watched_tasks == 0


async def test_closing_events_ends_their_reader(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """A reader that waits for the next event gets the end of the iterator."""
    reader, events = Reader(), (await wiro.submit("emulator/stuck")).events()
    reading = asyncio.create_task(reader.read(events))
    await until(lambda: any(isinstance(event, StatusChanged) for event in reader.events))
    events.close()
    await asyncio.wait_for(reading, 5)


async def test_a_timeout_reports_the_last_state(emulator: WiroEmulator, default_session: AsyncWiro) -> None:
    """Even if only the socket reported it."""
    task = await default_session.submit("emulator/stuck")
    with pytest.raises(TaskTimeoutError) as caught:
        await task.result(timeout=0.3)
    assert caught.value.info is not None
    assert caught.value.info.id == task.id


@pytest.mark.tuning(refusals_known=1, refusal_grace_known=0.0)
async def test_an_owned_task_is_stopped_after_its_record_was_replaced(
    emulator: WiroEmulator, wiro: AsyncWiro, until: Until
) -> None:
    """It could not be read for a while, and somebody else follows it again before its owner knows."""
    async with wiro.stream("emulator/stuck") as stream:
        await until(lambda: [task.status for task in emulator.ledger.tasks.values()] == ["task_start"])
        refused = Respond(403, '{"error":"forbidden"}')
        emulator.faults.http("Task/Detail", refused, times=None)
        with pytest.raises(WiroError):
            await asyncio.wait_for(stream.handle.result(), 5)
        emulator.faults.clear()
        following = asyncio.create_task(stream.handle.result())
        await until(lambda: wiro.statistics().watched_tasks == 1)
        assert wiro.statistics().owned_tasks == 1
        await wiro.aclose()
        with pytest.raises(WiroError):
            await asyncio.wait_for(following, 5)
        assert [task.status for task in emulator.ledger.tasks.values()] == ["task_cancel"]


@pytest.mark.tuning(max_idle_slots=0)
async def test_a_task_is_owned_though_its_slot_was_given_up(
    emulator: WiroEmulator, short_timing: Tuning, until: Until
) -> None:
    """Nobody follows a task in the moment after its submit, so its slot may be the one that is given up."""
    wiro = AsyncWiro(**emulator.options())
    runs = [asyncio.create_task(wiro.run("emulator/stuck")) for _ in range(3)]
    await until(lambda: [task.status for task in emulator.ledger.tasks.values()] == ["task_start"] * 3)
    await until(lambda: wiro.statistics().owned_tasks == 3)  # the responses may still be on their way
    await wiro.aclose()
    await asyncio.gather(*runs, return_exceptions=True)
    assert [task.status for task in emulator.ledger.tasks.values()] == ["task_cancel"] * 3


async def test_a_repeated_response_costs_no_slot(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """Two runs are the same task, by a cache in between: its end gives both slots back."""
    async with AsyncWiro(**emulator.options(), max_concurrency=2) as wiro:
        held = await wiro.submit("emulator/stuck")
        ids: dict[str, Any] = {"errors": [], "taskid": held.id, "socketaccesstoken": held.token, "result": True}
        emulator.faults.http("Run/*", Respond(200, json.dumps(ids)))
        assert (await wiro.submit("emulator/stuck")).id == held.id
        await held.cancel()
        async with asyncio.timeout(5):
            for _ in range(2):
                await wiro.submit("emulator/stuck")


@pytest.mark.tuning(window_recheck=0.05)
async def test_events_do_not_keep_the_pace_of_a_callback(
    emulator: WiroEmulator, short_timing: Tuning, until: Until
) -> None:
    """While somebody waits for its slot, a task with a callback is read seldom, until somebody listens."""
    async with AsyncWiro(**emulator.options(), max_concurrency=1, updates="polling") as wiro:
        receiver = WebhookReceiver(wiro)
        made = await wiro.submit("emulator/stuck", callback_url=receiver.url_for("https://app.test/wiro"))
        waiting = asyncio.create_task(wiro.submit("emulator/stuck"))
        await until(lambda: wiro.statistics().watched_tasks == 1)
        await until(lambda: emulator.ledger.tasks[str(made.id)].status == "task_start")
        async with asyncio.timeout(2), made.events() as events:
            async for event in events:
                if event.status == "task_start":
                    break
        waiting.cancel()
