"""Promise 2. Polling is authoritative, the socket makes it fast."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest

from wiro_async import AsyncWiro, Reconnected, RetryPolicy, StatusChanged, TaskFinished, TextDelta, Tuning
from wiro_async.testing import (
    CloseAfterTask,
    DelayMessages,
    DropAfter,
    Duplicate,
    HalfOpen,
    ModelScript,
    Mute,
    MuteAfter,
    NoWelcome,
    RefuseUpgrade,
    Reorder,
    ResetBefore,
    Respond,
    Rubbish,
    Script,
    SocketFault,
    Step,
    WiroEmulator,
    timeline,
)

if TYPE_CHECKING:
    from wiro_async.testing import Connection, Forward, Outgoing


HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
SHORT = {"seconds": 5, "events": 9}  # a tenth of a second at the emulator's speed of 50


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
    emulator: WiroEmulator, quick_session: AsyncWiro, faults: list[SocketFault]
) -> None:
    """A socket that is late, silent, refused or dropped, or sends false or invalid messages, costs no result."""
    for fault in faults:
        emulator.faults.socket(fault)
    inputs = [{"prompt": f"fox {n}", "width": 16, "height": 16, "seconds": 5} for n in range(4)]
    with anyio.fail_after(20):
        results = await asyncio.gather(*(quick_session.run("emulator/painter", given) for given in inputs))
    assert [result.info.parameters["prompt"] for result in results] == [given["prompt"] for given in inputs]
    assert all(result.output.content_type == "image/png" for result in results)
    assert len(emulator.ledger.submissions) == 4


@pytest.mark.parametrize("faults", FAULTS, ids=repr)
async def test_2_events_of_a_bad_socket_advance_and_end_once(
    emulator: WiroEmulator, quick_session: AsyncWiro, faults: list[SocketFault]
) -> None:
    """The text is complete without repetition, statuses only advance, and the end comes last."""
    for fault in faults:
        emulator.faults.socket(fault)
    task = await quick_session.submit("emulator/writer", {"prompt": "a lighthouse", "seconds": 5})
    events = [event async for event in task.events()]
    answer = "".join(event.text for event in events if isinstance(event, TextDelta) and event.kind == "answer")
    last = events[-1]
    assert isinstance(last, TaskFinished)
    assert answer == last.result.text
    assert sum(isinstance(event, TaskFinished) for event in events) == 1
    reached = [event.status for event in events if isinstance(event, StatusChanged)]
    assert len(set(reached)) == len(reached)
    assert reached[-1] == "task_postprocess_end"


async def test_2_a_healthy_socket_costs_one_run_and_two_details(
    emulator: WiroEmulator, default_session: AsyncWiro
) -> None:
    """Ten runs with listeners use one socket and no polling."""

    async def follow(n: int) -> None:
        given = {"seconds": 150, "events": 40, "n": n}
        assert (await default_session.run("emulator/sleeper", given, on_event=lambda event: None)).succeeded

    await asyncio.gather(*map(follow, range(10)))
    assert emulator.ledger.count("Run/*") == 10
    assert 10 <= emulator.ledger.count("Task/Detail") <= 15  # one each, and a few if this machine is slow
    assert emulator.ledger.count() == emulator.ledger.count("Run/*") + emulator.ledger.count("Task/Detail")
    assert len(emulator.ledger.sockets) == 1
    assert len(emulator.ledger.sockets[0].tokens) == 10


async def test_2_a_silent_socket_is_supplemented_by_polling(emulator: WiroEmulator, default_session: AsyncWiro) -> None:
    """With the default tuning, a new task is read once at once, and again after two seconds of silence."""
    emulator.faults.socket(MuteAfter(1))
    assert (await default_session.run("emulator/sleeper", {"seconds": 20})).succeeded
    before, began = emulator.ledger.count("Task/Detail"), anyio.current_time()
    assert (await default_session.run("emulator/sleeper", {"seconds": 50})).succeeded
    assert 2 <= anyio.current_time() - began <= 6
    assert emulator.ledger.count("Task/Detail") == before + 2


async def test_2_polling_opens_no_socket(emulator: WiroEmulator, polling: AsyncWiro) -> None:
    """Following events opens none either."""
    task = await polling.submit("emulator/writer", {"prompt": "a lighthouse", "seconds": 5})
    events = [event async for event in task.events()]
    assert isinstance(events[-1], TaskFinished)
    assert not emulator.ledger.sockets


async def test_2_progress_by_event_stream(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """With "sse" the events come in the response of the run, without a socket."""
    async with AsyncWiro(**emulator.options(), updates="sse") as wiro:
        task = await wiro.submit("emulator/writer", {"prompt": "a lighthouse", "seconds": 20})
        text = "".join([event.text async for event in task.events() if isinstance(event, TextDelta)])
        assert text.endswith((await task).text)
    assert not emulator.ledger.sockets
    assert [call.endpoint for call in emulator.ledger.calls if "sync" in call.path] == ["Run/emulator/writer/sync"]
    assert len(emulator.ledger.submissions) == 1


@attrs.frozen
class Lie:
    """Reports the end of every task at once."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Send a false end before the first message of each task."""
        seen: set[int] = set()

        def send(message: Outgoing) -> None:
            if message.ordinal >= 0 and message.ordinal not in seen:
                seen.add(message.ordinal)
                body = json.loads(message.payload)
                for kind in ("task_cancel", "task_postprocess_end"):
                    lie = {**body, "type": kind, "message": [], "terminal": True, "success": False, "exitCode": 1}
                    forward(attrs.evolve(message, type=kind, payload=json.dumps(lie).encode()))
            forward(message)

        return send


async def test_2_only_detail_ends_a_run(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """A false report of the end does not end the run."""
    emulator.faults.socket(Lie())
    result = await quick_session.run("emulator/sleeper", {"seconds": 15})
    assert result.output.name == "slept.txt"
    assert emulator.ledger.tasks[result.info.id].finished


async def test_2_detail_may_lag_behind(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """After the last message Task/Detail is read until it shows the end."""
    emulator.faults.detail_lag = 0.3
    result = await quick_session.run("emulator/sleeper", SHORT)
    assert result.succeeded
    assert emulator.ledger.count("Task/Detail") > 2


async def test_2_a_list_that_is_empty_after_the_run(
    emulator: WiroEmulator, quick_session: AsyncWiro, polling: AsyncWiro
) -> None:
    """A task that is not listed yet is not over."""
    emulator.faults.empty_tasklist = 3
    for wiro in (quick_session, polling):
        assert (await wiro.run("emulator/sleeper", SHORT)).succeeded


@pytest.mark.parametrize("mode", ["auto", "polling"])
async def test_2_a_stored_task_error_is_not_the_end(short_timing: Tuning, mode: Any) -> None:
    """The task waits until it is queued again."""
    stumble = (Step("task_accept"), Step("task_error", stored=True, error="No worker.\n"), Step("task_queue", after=30))
    model = ModelScript("emulator/stumbling", lambda given: Script((*stumble, *timeline(5))))
    with WiroEmulator(speed=50, models=[model]) as emulator:
        async with AsyncWiro(**emulator.options(), updates=mode) as wiro:
            assert (await wiro.run("emulator/stumbling")).succeeded


async def test_2_failed_polls_cost_only_time(emulator: WiroEmulator, polling: AsyncWiro) -> None:
    """Failed reads cost only time."""
    view = polling.with_options(retry=RetryPolicy(attempts=1))
    emulator.faults.http("Task/Detail", Respond(502, HTML, "text/html"), times=3)
    emulator.faults.http("Task/Detail", ResetBefore(), times=3)
    emulator.faults.http("Task/Detail", Respond(200, "{"), times=3)
    assert (await view.run("emulator/sleeper", SHORT)).succeeded


async def test_2_a_lost_socket_is_replaced(emulator: WiroEmulator, quick_session: AsyncWiro) -> None:
    """An event reports it, and further messages come over the new socket."""
    emulator.faults.socket(DropAfter(4), times=1)
    task = await quick_session.submit("emulator/writer", {"prompt": "a lighthouse", "seconds": 30})
    events = [event async for event in task.events()]
    assert sum(isinstance(event, Reconnected) for event in events) == 1
    assert [len(record.tokens) for record in emulator.ledger.sockets] == [1, 1]
