"""The poller alone, in a loop whose clock jumps: when it asks, and what it makes of the answers."""

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
TUNING = Tuning()
FAST = 1000.0  # questions a second
LINE = '{"type":"task_output","id":"7","message":"a line"}'
BEAT = '{"type":"task_heartbeat","id":"7"}'
END = '{"type":"task_postprocess_end","id":"7","message":[]}'


@attrs.define
class Stage:
    """A poller, and the times at which it asked."""

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
        """What the tracker does with a state."""
        return task.apply(info, patient=patient)

    def apply(self, task: TrackedTask, news: Message | TaskInfo) -> Effect:
        """What the tracker does with news."""
        effect = task.apply(news)
        if effect in ("reported", "reported again"):
            self.poller.check_report(task)
        return effect

    def release(self, task: TrackedTask) -> None:
        """Nobody needs a task any more."""

    def watch(self, *, by_socket: bool = True, is_new: bool = True, seconds: float = 0.0) -> TrackedTask:
        """A task that is followed from now on, and takes some seconds to read."""

        async def detail(ref: TaskRef) -> TaskInfo | None:
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
    """The time of the loop."""
    return asyncio.get_running_loop().time()


def task(status: str, exit_code: str = "") -> TaskInfo:
    """A snapshot."""
    return parse_task({"id": "7", "socketaccesstoken": "token", "status": status, "pexit": exit_code})


def hear(stage: Stage, tracked: TrackedTask, frame: str) -> None:
    """A message comes."""
    message = parse_frame(frame.encode())
    assert message is not None
    stage.apply(tracked, message)


async def chatter(stage: Stage, tracked: TrackedTask, frame: str, every: float, seconds: float) -> None:
    """The same message again and again, as long as somebody listens."""
    until = now() + seconds
    while now() < until and not tracked.is_over:
        hear(stage, tracked, frame)
        await asyncio.sleep(every)


@pytest.fixture
def told(jump: Jump) -> Callable[[Callable[[Stage], Coroutine[Any, Any, None]], float], None]:
    """Tell a story on a stage whose poller asks so many questions a second at most."""

    def told(story: Callable[[Stage], Coroutine[Any, Any, None]], per_second: float = FAST) -> None:
        async def play() -> None:
            stage = Stage(per_second)
            async with stage.group:
                await story(stage)
                for running in asyncio.all_tasks() - {asyncio.current_task()}:
                    running.cancel()

        jump(play())

    return told


Told = Callable[..., None]


def test_seldom_messages_of_a_healthy_socket(told: Told) -> None:
    """One every four seconds: soon they are trusted to go on."""

    async def story(stage: Stage) -> None:
        await chatter(stage, stage.watch(), LINE, 4.0, 40.0)
        assert len(stage.asked) <= 5

    told(story)


@pytest.mark.parametrize("frame", [LINE, BEAT], ids=["lines", "heartbeats"])
def test_chatter_keeps_no_end_secret(told: Told, frame: str) -> None:
    """Whatever a socket says all the time: Task/Detail is asked at least every half minute."""

    async def story(stage: Stage) -> None:
        tracked = stage.watch()
        await chatter(stage, tracked, frame, 0.2, 300.0)
        gaps = [later - earlier for earlier, later in zip([0.0, *stage.asked], stage.asked, strict=False)]
        assert max(gaps) <= TUNING.poll_max_silence * 1.01
        assert 10 <= len(stage.asked) <= 20
        stage.answer = lambda: task("task_postprocess_end", "0")
        await chatter(stage, tracked, frame, 0.2, TUNING.poll_max_silence * 1.1)
        assert tracked.is_over

    told(story)


def test_a_healthy_socket_is_enough(told: Told) -> None:
    """Messages that come often, and the last one: Task/Detail is asked once, when they say it is over."""

    async def story(stage: Stage) -> None:
        tracked = stage.watch()
        await chatter(stage, tracked, LINE, 0.2, 20.0)
        assert not stage.asked
        stage.answer = lambda: task("task_postprocess_end", "0")
        hear(stage, tracked, END)
        await asyncio.sleep(0.1)
        assert tracked.is_over
        assert len(stage.asked) == 1

    told(story)


def test_a_lost_socket_is_made_up_for(told: Told) -> None:
    """Only its loss makes the pause shorter again."""

    async def story(stage: Stage) -> None:
        tracked = stage.watch()
        await chatter(stage, tracked, LINE, 4.0, 60.0)
        tracked.feed_closed()
        stage.poller.feed_lost(tracked)
        lost_at = now()
        await asyncio.sleep(0.11 * lost_at)
        assert stage.asked[-1] > lost_at

    told(story)


def test_long_tasks_are_polled_less_and_less(told: Told) -> None:
    """Without a socket: after a tenth of the time waited so far, at most half a minute."""

    async def story(stage: Stage) -> None:
        stage.watch(by_socket=False)
        await asyncio.sleep(3600.0)
        gaps = [later - earlier for earlier, later in zip(stage.asked, stage.asked[1:], strict=False)]
        assert max(gaps[:10]) < 1
        assert 25 < gaps[-1] < 34
        assert len(stage.asked) < 200

    told(story)


def test_first_claims_are_checked_at_once(told: Told) -> None:
    """Many tasks that end at the same time are not kept waiting for each other."""

    async def story(stage: Stage) -> None:
        watchers = [stage.watch() for _ in range(60)]
        stage.answer = lambda: task("task_postprocess_end", "0")
        for tracked in watchers:
            hear(stage, tracked, END)
        await asyncio.sleep(0.1)
        assert all(tracked.is_over for tracked in watchers)
        assert len(stage.asked) == 60

    told(story, 2.0)


def test_lies_are_not_followed_up_for_ever(told: Told) -> None:
    """Sixty tasks whose socket claims their end with each message keep the pace all the same."""

    async def story(stage: Stage) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(60):
                group.create_task(chatter(stage, stage.watch(), END, 0.1, 60.0))
        assert len(stage.asked) <= 60 + 2 * 61

    told(story, 2.0)


def test_a_liar_is_believed_less_and_less(told: Told) -> None:
    """Each time that Task/Detail did not agree for long, the next claim waits longer."""

    async def story(stage: Stage) -> None:
        tracked = stage.watch()
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

    told(story)


def test_claims_come_first(told: Told) -> None:
    """Where the pace does not allow all, those that may be over are asked about before those that are silent."""

    async def story(stage: Stage) -> None:
        for _ in range(50):
            stage.watch(by_socket=False, is_new=False)
        await asyncio.sleep(0)
        asked = now()
        liar = stage.watch()
        hear(stage, liar, END)
        await asyncio.sleep(4.0)
        assert liar.schedule.is_confirming
        assert len([at for at in stage.asked if at >= asked]) >= 3

    told(story, 2.0)


def test_whoever_is_let_go_is_not_asked_about(told: Told) -> None:
    """Also if that happens while the answer is under way."""

    async def story(stage: Stage) -> None:
        tracked = stage.watch(by_socket=False, is_new=False, seconds=1.0)
        await asyncio.sleep(0.5)
        tracked.end_use()
        stage.poller.detach(tracked)
        await asyncio.sleep(100.0)
        assert len(stage.asked) == 1

    told(story)


def raising(error: WiroError) -> Callable[[], TaskInfo | None]:
    """An answer that is an error."""

    def answer() -> TaskInfo | None:
        raise error

    return answer


@pytest.mark.parametrize("error", [AuthenticationError(), PermissionDeniedError(), NotFoundError()])
@pytest.mark.parametrize("is_new", [True, False])
def test_refusals_in_a_row_end_the_watch(told: Told, error: WiroError, is_new: bool) -> None:
    """Not one, and not before some time: longer for a task that surely exists, most so if that is what is denied."""
    grace = TUNING.refusal_grace
    if is_new:
        grace = TUNING.failing_grace if isinstance(error, NotFoundError) else TUNING.refusal_grace_known

    async def story(stage: Stage) -> None:
        stage.answer = raising(error)
        tracked = stage.watch(by_socket=False, is_new=is_new)
        await asyncio.sleep(grace * 0.9)
        assert not tracked.is_over
        assert len(stage.asked) >= TUNING.refusals
        await asyncio.sleep(0.1 * grace + 2 * TUNING.poll_max)
        assert tracked.error is error

    told(story)


@pytest.mark.parametrize("error", [AuthenticationError(), PermissionDeniedError()])
def test_few_refusals_far_apart_lose_no_run(told: Told, error: WiroError) -> None:
    """Two minutes of a proxy that forbids everything, as a task sees them that is asked about every half minute."""

    async def story(stage: Stage) -> None:
        tracked = stage.watch(by_socket=False)
        await asyncio.sleep(1000.0)
        asked = len(stage.asked)
        stage.answer = raising(error)
        await asyncio.sleep(120.0)
        assert TUNING.refusals < len(stage.asked) - asked < TUNING.refusals_known
        stage.answer = lambda: task("task_output")
        await asyncio.sleep(1000.0)
        assert not tracked.is_over

    told(story)


def test_an_answer_in_between_makes_up_for_refusals(told: Told) -> None:
    """Only in a row do they count."""

    async def story(stage: Stage) -> None:
        tracked = stage.watch(by_socket=False, is_new=False)
        await asyncio.sleep(0.1)
        for _ in range(10):
            stage.answer = raising(NotFoundError())
            await asyncio.sleep(20.0)
            stage.answer = lambda: task("task_output")
            await asyncio.sleep(40.0)
        assert not tracked.is_over

    told(story)


@pytest.mark.parametrize("error", [APIError(0, 200, "Internal server error"), APIError(96), ConnectionFailedError()])
def test_other_failures_are_endured_for_long(told: Told, error: WiroError) -> None:
    """Whatever the service says that is not about the task."""

    async def story(stage: Stage) -> None:
        stage.answer = raising(error)
        tracked = stage.watch(by_socket=False)
        await asyncio.sleep(TUNING.failing_grace * 0.99)
        assert not tracked.is_over
        await asyncio.sleep(2 * TUNING.poll_max)
        assert tracked.error is error

    told(story)


@pytest.mark.parametrize("is_new, grace", [(True, TUNING.failing_grace), (False, TUNING.refusal_grace_known)])
def test_a_task_that_is_not_listed(told: Told, is_new: bool, grace: float) -> None:
    """One that was made here will be; one that nobody ever saw may not exist."""

    async def story(stage: Stage) -> None:
        stage.answer = lambda: None
        tracked = stage.watch(by_socket=False, is_new=is_new)
        await asyncio.sleep(grace * 0.95)
        assert not tracked.is_over
        await asyncio.sleep(2 * TUNING.poll_max)
        assert isinstance(tracked.error, NotFoundError)

    told(story)
