"""Tracked tasks and event buffers alone: no network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import anyio
import pytest

from wiro_async import (
    LogLine,
    Progress,
    Reconnected,
    StatusChanged,
    TaskInfo,
    TaskTimeoutError,
    TextDelta,
    Timeouts,
    ToolCall,
    TransportError,
)
from wiro_async._engine.tracking.event_buffer import EventBuffer
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._protocol.messages.frames import parse_frame
from wiro_async._protocol.tasks.records import parse_task

if TYPE_CHECKING:
    from tests.engine.tracking.conftest import NewRecord

FOREVER = Timeouts()


@pytest.fixture
async def tracked(new_record: NewRecord) -> TrackedTask:
    """A task of unknown age."""
    return new_record()


def task(status: str, exit_code: str | None = None) -> TaskInfo:
    """Return a snapshot."""
    return parse_task({"id": "7", "socketaccesstoken": "token", "status": status, "pexit": exit_code})


def receive(tracked: TrackedTask, body: str) -> None:
    """Receive a message."""
    message = parse_frame(body.encode())
    assert message is not None
    tracked.apply(message)


def numbers() -> Iterator[str]:
    """Many different messages."""
    for number in range(20_000):
        yield f'{{"type":"task_{number}","id":"7"}}'


async def read(buffer: EventBuffer, tracked: TrackedTask) -> list[object]:
    """Return the unread events, up to the end of the task."""
    await tracked.pause(tracked.changed, lambda: tracked.is_over, 0.0, FOREVER)
    tracked.catch_up()
    return [buffer.pop() for _ in range(len(buffer))]


async def test_unread_text_and_progress_are_merged(tracked: TrackedTask) -> None:
    """A slow reader gets all text at once and the newest progress."""
    buffer = EventBuffer(100)
    tracked.listen(buffer)
    for text in ("O", "On", "Once"):
        receive(
            tracked,
            f'{{"type":"task_output","id":"7","message":{{"type":"answer","raw":"{text}","answer":["{text}"]}}}}',
        )
    for share in (10, 20, 30):
        receive(
            tracked, f'{{"type":"task_output","id":"7","message":{{"type":"progressGenerate","percentage":"{share}"}}}}'
        )
    tracked.apply(task("task_postprocess_end", "0"), patient=False)
    events = await read(buffer, tracked)
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Once"]
    assert [event.fraction for event in events if isinstance(event, Progress)] == [0.3]


async def test_unread_events_are_bounded(tracked: TrackedTask) -> None:
    """Memory does not grow with the number of messages."""
    buffer = EventBuffer(100)
    tracked.listen(buffer)
    for body in numbers():
        receive(tracked, body)
    tracked.apply(task("task_postprocess_end", "0"))
    assert len(await read(buffer, tracked)) == 100


async def test_rare_events_are_never_dropped(tracked: TrackedTask) -> None:
    """Log lines and progress are dropped for newer ones. Tool calls and statuses are kept."""
    buffer = EventBuffer(10)
    tracked.listen(buffer)
    tracked.apply(task("task_start"))
    call = {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}", "status": "completed"}
    body = {"type": "task_output", "id": "7", "message": {"type": "answer", "segments": [call]}}
    tracked.reconnected()
    receive(tracked, json.dumps(body))
    for number in range(100):
        receive(tracked, f'{{"type":"task_output","id":"7","message":"line {number}"}}')
    tracked.apply(task("task_postprocess_end", "0"), patient=False)
    events = await read(buffer, tracked)
    assert [type(event) for event in events if not isinstance(event, LogLine)] == [
        StatusChanged,
        Reconnected,
        StatusChanged,
        ToolCall,
        StatusChanged,
    ]
    assert len(events) == 10


async def test_a_late_listener_gets_the_status_first(tracked: TrackedTask) -> None:
    """Then it gets the events that follow."""
    tracked.apply(task("task_start"))
    buffer = EventBuffer(100)
    tracked.listen(buffer)
    tracked.reconnected()
    tracked.apply(task("task_cancel"))
    first, second, third = await read(buffer, tracked)
    assert isinstance(first, StatusChanged)
    assert first.status == "task_start"
    assert isinstance(second, Reconnected)
    assert isinstance(third, StatusChanged)


async def test_a_failed_task_ends_all_waits(tracked: TrackedTask) -> None:
    """They raise the error, which gets the ids. A second error changes nothing."""
    buffer = EventBuffer(100)
    tracked.listen(buffer)
    waiting = asyncio.create_task(tracked.wait(0.0, FOREVER))
    reading = asyncio.create_task(read(buffer, tracked))
    await asyncio.sleep(0)
    tracked.fail(TransportError("gone"))
    tracked.fail(TransportError("other"))
    with pytest.raises(TransportError, match="gone") as caught:
        await waiting
    assert (caught.value.task_id, caught.value.token) == ("7", "token")
    assert await reading == []


async def test_the_nearest_timeout_is_raised(tracked: TrackedTask) -> None:
    """The first of several timeouts counts."""
    start = anyio.current_time()
    with pytest.raises(TaskTimeoutError) as caught:
        await tracked.wait(start, Timeouts(run=50, queue=0.01, idle=60))
    assert (caught.value.phase, caught.value.last_status) == ("queue", None)
    tracked.apply(task("task_start"))
    with pytest.raises(TaskTimeoutError) as caught:
        await tracked.wait(start, Timeouts(run=50, queue=0.01, idle=0.05))
    assert (caught.value.phase, caught.value.last_status) == ("idle", "task_start")
    assert caught.value.info is not None


async def test_a_sign_of_life_moves_the_idle_timeout(tracked: TrackedTask) -> None:
    """A deadline that moved during a sleep has not passed."""
    waiting = asyncio.create_task(tracked.wait(anyio.current_time(), Timeouts(idle=0.15)))
    for _ in range(6):
        await asyncio.wait([waiting], timeout=0.05)
        receive(tracked, '{"type":"task_output","id":"7","message":"x"}')
    assert not waiting.done()
    with pytest.raises(TaskTimeoutError):
        await waiting


async def test_age(tracked: TrackedTask, new_record: NewRecord) -> None:
    """A task of unknown age counts as old."""
    assert tracked.age == float("inf")
    assert new_record(anyio.current_time()).age < 5
