"""The poller alone, on a jumping clock: when it reads Task/Detail, and how it handles the responses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVarTuple, Unpack, cast

import attrs
import pytest

from wiro_async import (
    APIError,
    AuthenticationError,
    ConnectionFailedError,
    NotFoundError,
    PermissionDeniedError,
    TaskInfo,
    Tuning,
    WiroError,
)
from wiro_async._engine.background.background_tasks import BackgroundTask, BackgroundTasks
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.tracking.poller import Poller
from wiro_async._engine.tracking.tracked_task import Effect, TrackedTask
from wiro_async._protocol.messages.frames import Message, parse_frame
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef

if TYPE_CHECKING:
    from tests.engine.conftest import Jump

Arguments = TypeVarTuple("Arguments")
TUNING = Tuning(random=lambda: 0.5)  # no jitter
FAST = 1000.0  # requests a second
LINE = '{"type":"task_output","id":"7","message":"a line"}'
BEAT = '{"type":"task_heartbeat","id":"7"}'
END = '{"type":"task_postprocess_end","id":"7","message":[]}'


@attrs.define
class Stage:
    """A poller, and the times of its requests."""

    per_second: float = FAST
    asked: list[float] = attrs.field(factory=list[float])
    answer: Callable[[], TaskInfo | None] = attrs.field(default=lambda: task("task_output"))
    group: asyncio.TaskGroup = attrs.field(factory=asyncio.TaskGroup)
    starter: Starter = attrs.field(init=False)
    poller: Poller = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.starter = Starter(self.group)
        self.poller = Poller(self.starter, TUNING, self.per_second, self.take, TrackedTask.fail)

    def take(self, task: TrackedTask, info: TaskInfo, patient: bool) -> Effect:
        """Apply a snapshot, as the tracker does."""
        return task.apply(info, patient=patient)

    def apply(self, task: TrackedTask, news: Message | TaskInfo) -> Effect:
        """Apply a message or a snapshot, as the tracker does."""
        effect = task.apply(news)
        if effect in ("reported", "reported again"):
            self.poller.check_report(task)
        return effect

    def release(self, task: TrackedTask) -> None:
        """Do nothing when a task is no longer needed."""

    def follow(self, *, by_socket: bool = True, is_new: bool = True, seconds: float = 0.0) -> TrackedTask:
        """Follow a new task, whose state takes some seconds to read."""

        async def detail(ref: TaskRef, on_retry: object) -> TaskInfo | None:
            self.asked.append(now())
            if seconds:
                await asyncio.sleep(seconds)
            return self.answer()

        calls = cast("TaskCalls", SimpleNamespace(detail=detail, client=SimpleNamespace(account="")))
        made_at = now() if is_new else None
        tracked = TrackedTask(self.apply, self.release, self.starter, TUNING, calls, TaskRef("7", "token"), made_at)
        tracked.begin_use(calls, "owner/model", "auto", made_at)
        if by_socket:
            tracked.feed_opened()
        self.poller.attach(tracked)
        return tracked


class Starter(BackgroundTasks):
    """The part of background tasks that a poller needs."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def start(self, function: Callable[[Unpack[Arguments]], Awaitable[None]], *arguments: *Arguments) -> BackgroundTask:
        task = BackgroundTask(partial(function, *arguments), None)
        self._group.create_task(task.run())
        return task


def now() -> float:
    """Return the time of the loop."""
    return asyncio.get_running_loop().time()


def task(status: str, exit_code: str = "") -> TaskInfo:
    """Return a snapshot."""
    return parse_task({"id": "7", "socketaccesstoken": "token", "status": status, "pexit": exit_code})


def receive(stage: Stage, tracked: TrackedTask, frame: str) -> None:
    """Receive a message."""
    message = parse_frame(frame.encode())
    assert message is not None
    stage.apply(tracked, message)


async def chatter(stage: Stage, tracked: TrackedTask, frame: str, every: float, seconds: float) -> None:
    """Receive one message again and again until the task is over."""
    until = now() + seconds
    while now() < until and not tracked.is_over:
        receive(stage, tracked, frame)
        await asyncio.sleep(every)


@pytest.fixture
def play(jump: Jump) -> Callable[[Callable[[Stage], Coroutine[Any, Any, None]], float], None]:
    """Play a scenario on a stage whose poller makes so many requests a second at most."""

    def play(scenario: Callable[[Stage], Coroutine[Any, Any, None]], per_second: float = FAST) -> None:
        async def run() -> None:
            stage = Stage(per_second)
            async with stage.group:
                await scenario(stage)
                for running in asyncio.all_tasks() - {asyncio.current_task()}:
                    running.cancel()

        jump(run())

    return play


Play = Callable[..., None]


def test_rare_messages_of_a_healthy_socket(play: Play) -> None:
    """With one message every four seconds, polling soon pauses."""

    async def scenario(stage: Stage) -> None:
        await chatter(stage, stage.follow(), LINE, 4.0, 40.0)
        assert len(stage.asked) <= 5

    play(scenario)


@pytest.mark.parametrize("frame", [LINE, BEAT], ids=["lines", "heartbeats"])
def test_constant_messages_hide_no_end(play: Play, frame: str) -> None:
    """Task/Detail is read at least every half minute, however many messages arrive."""

    async def scenario(stage: Stage) -> None:
        tracked = stage.follow()
        await chatter(stage, tracked, frame, 0.2, 300.0)
        gaps = [later - earlier for earlier, later in zip([0.0, *stage.asked], stage.asked, strict=False)]
        assert max(gaps) <= TUNING.poll_max_silence * 1.01
        assert 10 <= len(stage.asked) <= 20
        stage.answer = lambda: task("task_postprocess_end", "0")
        await chatter(stage, tracked, frame, 0.2, TUNING.poll_max_silence * 1.1)
        assert tracked.is_over

    play(scenario)


def test_a_healthy_socket_is_enough(play: Play) -> None:
    """With frequent messages, Task/Detail is read once: when a message reports the end."""

    async def scenario(stage: Stage) -> None:
        tracked = stage.follow()
        await chatter(stage, tracked, LINE, 0.2, 20.0)
        assert not stage.asked
        stage.answer = lambda: task("task_postprocess_end", "0")
        receive(stage, tracked, END)
        await asyncio.sleep(0.1)
        assert tracked.is_over
        assert len(stage.asked) == 1

    play(scenario)


def test_a_lost_socket_is_compensated_by_polling(play: Play) -> None:
    """The loss of the socket shortens the pause again."""

    async def scenario(stage: Stage) -> None:
        tracked = stage.follow()
        await chatter(stage, tracked, LINE, 4.0, 60.0)
        tracked.feed_closed()
        stage.poller.feed_lost(tracked)
        lost_at = now()
        await asyncio.sleep(0.11 * lost_at)
        assert stage.asked[-1] > lost_at

    play(scenario)


def test_long_tasks_are_polled_less_often(play: Play) -> None:
    """Without a socket, the pause is a tenth of the time waited so far, and at most half a minute."""

    async def scenario(stage: Stage) -> None:
        stage.follow(by_socket=False)
        await asyncio.sleep(3600.0)
        gaps = [later - earlier for earlier, later in zip(stage.asked, stage.asked[1:], strict=False)]
        assert max(gaps[:10]) < 1
        assert 25 < gaps[-1] < 34
        assert len(stage.asked) < 200

    play(scenario)


def test_first_end_reports_are_checked_at_once(play: Play) -> None:
    """Many tasks that end at the same time do not wait for each other."""

    async def scenario(stage: Stage) -> None:
        followed = [stage.follow() for _ in range(60)]
        stage.answer = lambda: task("task_postprocess_end", "0")
        for tracked in followed:
            receive(stage, tracked, END)
        await asyncio.sleep(0.1)
        assert all(tracked.is_over for tracked in followed)
        assert len(stage.asked) == 60

    play(scenario, 2.0)


def test_false_end_reports_are_rate_limited(play: Play) -> None:
    """Sixty tasks whose every message reports the end do not exceed the polling rate."""

    async def scenario(stage: Stage) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(60):
                group.create_task(chatter(stage, stage.follow(), END, 0.1, 60.0))
        assert len(stage.asked) <= 60 + 2 * 61

    play(scenario, 2.0)


def test_repeated_false_ends_are_checked_less_often(play: Play) -> None:
    """Each false end makes the check of the next report wait longer."""

    async def scenario(stage: Stage) -> None:
        tracked = stage.follow()
        await chatter(stage, tracked, END, 0.1, 600.0)
        assert tracked.schedule.false_reports >= 3
        assert len(stage.asked) <= 200
        assert (
            len([at for at in stage.asked if at < 15])
            <= TUNING.poll_confirmations + 2 * TUNING.poll_confirmations_doubted
        )
        stage.answer = lambda: task("task_postprocess_end", "0")
        await asyncio.sleep(TUNING.poll_max_silence * 1.1)
        assert tracked.is_over

    play(scenario)


def test_end_reports_come_first(play: Play) -> None:
    """When the rate is used up, tasks that reported an end are read before silent ones."""

    async def scenario(stage: Stage) -> None:
        for _ in range(50):
            stage.follow(by_socket=False, is_new=False)
        await asyncio.sleep(0)
        asked = now()
        reporting = stage.follow()
        receive(stage, reporting, END)
        await asyncio.sleep(4.0)
        assert reporting.schedule.is_confirming
        assert len([at for at in stage.asked if at >= asked]) >= 3

    play(scenario, 2.0)


def test_a_detached_task_is_not_polled(play: Play) -> None:
    """Even if it is detached while a request is in flight."""

    async def scenario(stage: Stage) -> None:
        tracked = stage.follow(by_socket=False, is_new=False, seconds=1.0)
        await asyncio.sleep(0.5)
        tracked.end_use()
        stage.poller.detach(tracked)
        await asyncio.sleep(100.0)
        assert len(stage.asked) == 1

    play(scenario)


def raising(error: WiroError) -> Callable[[], TaskInfo | None]:
    """A response that is an error."""

    def answer() -> TaskInfo | None:
        raise error

    return answer


@pytest.mark.parametrize("error", [AuthenticationError(), PermissionDeniedError(), NotFoundError()])
@pytest.mark.parametrize("is_new", [True, False])
def test_refusals_in_a_row_end_the_wait(play: Play, error: WiroError, is_new: bool) -> None:
    """Several refusals over some time end it. The time is longer for a new task, and longest for NotFoundError then."""
    grace = TUNING.refusal_grace
    if is_new:
        grace = TUNING.failing_grace if isinstance(error, NotFoundError) else TUNING.refusal_grace_known

    async def scenario(stage: Stage) -> None:
        stage.answer = raising(error)
        tracked = stage.follow(by_socket=False, is_new=is_new)
        await asyncio.sleep(grace * 0.9)
        assert not tracked.is_over
        assert len(stage.asked) >= TUNING.refusals
        await asyncio.sleep(0.1 * grace + 2 * TUNING.poll_max)
        assert tracked.error is error

    play(scenario)


@pytest.mark.parametrize("error", [AuthenticationError(), PermissionDeniedError()])
def test_a_few_refusals_lose_no_run(play: Play, error: WiroError) -> None:
    """A proxy refuses everything for two minutes, while the task is read every half minute."""

    async def scenario(stage: Stage) -> None:
        tracked = stage.follow(by_socket=False)
        await asyncio.sleep(1000.0)
        asked = len(stage.asked)
        stage.answer = raising(error)
        await asyncio.sleep(120.0)
        assert TUNING.refusals < len(stage.asked) - asked < TUNING.refusals_known
        stage.answer = lambda: task("task_output")
        await asyncio.sleep(1000.0)
        assert not tracked.is_over

    play(scenario)


def test_a_response_in_between_resets_the_refusals(play: Play) -> None:
    """Only refusals in a row count."""

    async def scenario(stage: Stage) -> None:
        tracked = stage.follow(by_socket=False, is_new=False)
        await asyncio.sleep(0.1)
        for _ in range(10):
            stage.answer = raising(NotFoundError())
            await asyncio.sleep(20.0)
            stage.answer = lambda: task("task_output")
            await asyncio.sleep(40.0)
        assert not tracked.is_over

    play(scenario)


@pytest.mark.parametrize("error", [APIError(0, 200, "Internal server error"), APIError(96), ConnectionFailedError()])
def test_other_failures_are_tolerated_for_longer(play: Play, error: WiroError) -> None:
    """Errors that say nothing about the task."""

    async def scenario(stage: Stage) -> None:
        stage.answer = raising(error)
        tracked = stage.follow(by_socket=False)
        await asyncio.sleep(TUNING.failing_grace * 0.99)
        assert not tracked.is_over
        await asyncio.sleep(2 * TUNING.poll_max)
        assert tracked.error is error

    play(scenario)


@pytest.mark.parametrize("is_new, grace", [(True, TUNING.failing_grace), (False, TUNING.refusal_grace_known)])
def test_a_task_that_is_not_listed(play: Play, is_new: bool, grace: float) -> None:
    """A new task will be listed soon. An unknown one may not exist."""

    async def scenario(stage: Stage) -> None:
        stage.answer = lambda: None
        tracked = stage.follow(by_socket=False, is_new=is_new)
        await asyncio.sleep(grace * 0.95)
        assert not tracked.is_over
        await asyncio.sleep(2 * TUNING.poll_max)
        assert isinstance(tracked.error, NotFoundError)

    play(scenario)
