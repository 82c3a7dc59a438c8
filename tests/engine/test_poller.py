"""The poller alone, in a loop whose clock jumps: when it asks, and what it makes of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVarTuple, Unpack

import attrs
import pytest

from wiro_async import (
    APIError,
    AuthenticationError,
    ConnectionFailedError,
    NotFoundError,
    PermissionDeniedError,
    TaskInfo,
    WiroError,
)
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.tracking import poller as module
from wiro_async._engine.tracking.poller import Poller
from wiro_async._engine.tracking.tracked_task import TrackedTask
from wiro_async._protocol.messages.frames import parse_frame
from wiro_async._protocol.tasks.records import parse_task

if TYPE_CHECKING:
    from tests.engine.conftest import Jump

Arguments = TypeVarTuple("Arguments")
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
    poller: Poller = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.poller = Poller(Starter(self.group), self.per_second)

    def watch(self, *, by_socket: bool = True, is_new: bool = True) -> TrackedTask:
        """A task that is followed from now on."""

        async def ask() -> TaskInfo | None:
            self.asked.append(now())
            return self.answer()

        tracked = TrackedTask("7", "token", "owner/model", ask, now() if is_new else None)
        tracked.on_claim, tracked.by_socket, tracked.users = self.poller.hurry, by_socket, 1
        self.poller.add(tracked)
        return tracked


class Starter(BackgroundTasks):
    """The part of a nursery that a poller needs."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._tasks = group

    def start(self, function: Callable[[Unpack[Arguments]], Awaitable[None]], *arguments: *Arguments) -> None:
        async def run() -> None:
            await function(*arguments)

        self._tasks.create_task(run())


def now() -> float:
    """The time of the loop."""
    return asyncio.get_running_loop().time()


def task(status: str, exit_code: str = "") -> TaskInfo:
    """A snapshot."""
    return parse_task({"id": "7", "socketaccesstoken": "token", "status": status, "pexit": exit_code})


def hear(tracked: TrackedTask, frame: str) -> None:
    """A message comes."""
    message = parse_frame(frame.encode())
    assert message is not None
    tracked.receive(message)


async def chatter(tracked: TrackedTask, frame: str, every: float, seconds: float) -> None:
    """The same message again and again, as long as somebody listens."""
    until = now() + seconds
    while now() < until and not tracked.is_over:
        hear(tracked, frame)
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
        await chatter(stage.watch(), LINE, 4.0, 40.0)
        assert len(stage.asked) <= 5

    told(story)


@pytest.mark.parametrize("frame", [LINE, BEAT], ids=["lines", "heartbeats"])
def test_chatter_keeps_no_end_secret(told: Told, frame: str) -> None:
    """Whatever a socket says all the time: Task/Detail is asked at least every half minute."""

    async def story(stage: Stage) -> None:
        tracked = stage.watch()
        await chatter(tracked, frame, 0.2, 300.0)
        gaps = [later - earlier for earlier, later in zip([0.0, *stage.asked], stage.asked, strict=False)]
        assert max(gaps) <= module.SILENCE_CAP * 1.01
        assert 10 <= len(stage.asked) <= 20
        stage.answer = lambda: task("task_postprocess_end", "0")
        await chatter(tracked, frame, 0.2, module.SILENCE_CAP * 1.1)
        assert tracked.is_over

    told(story)


def test_a_healthy_socket_is_enough(told: Told) -> None:
    """Messages that come often, and the last one: Task/Detail is asked once, when they say it is over."""

    async def story(stage: Stage) -> None:
        tracked = stage.watch()
        await chatter(tracked, LINE, 0.2, 20.0)
        assert not stage.asked
        stage.answer = lambda: task("task_postprocess_end", "0")
        hear(tracked, END)
        await asyncio.sleep(0.1)
        assert tracked.is_over
        assert len(stage.asked) == 1

    told(story)


def test_a_lost_socket_is_made_up_for(told: Told) -> None:
    """Only its loss makes the pause shorter again."""

    async def story(stage: Stage) -> None:
        tracked = stage.watch()
        await chatter(tracked, LINE, 4.0, 60.0)
        tracked.by_socket = False
        stage.poller.reconsider(tracked)
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
            hear(tracked, END)
        await asyncio.sleep(0.1)
        assert all(tracked.is_over for tracked in watchers)
        assert len(stage.asked) == 60

    told(story, 2.0)


def test_lies_are_not_followed_up_for_ever(told: Told) -> None:
    """Sixty tasks whose socket claims their end with each message keep the pace all the same."""

    async def story(stage: Stage) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(60):
                group.create_task(chatter(stage.watch(), END, 0.1, 60.0))
        assert len(stage.asked) <= 60 + 2 * 61

    told(story, 2.0)


def test_a_liar_is_believed_less_and_less(told: Told) -> None:
    """Each time that Task/Detail did not agree for long, the next claim waits longer."""

    async def story(stage: Stage) -> None:
        tracked = stage.watch()
        await chatter(tracked, END, 0.1, 600.0)
        assert tracked.disproved >= 3
        assert len(stage.asked) <= 200
        assert len([at for at in stage.asked if at < 15]) <= module.PATIENCE + 2 * module.DOUBTING_PATIENCE
        stage.answer = lambda: task("task_postprocess_end", "0")
        await asyncio.sleep(module.SILENCE_CAP * 1.1)
        assert tracked.is_over

    told(story)


def test_claims_come_first(told: Told) -> None:
    """Where the pace does not allow all, those that may be over are asked about before those that are silent."""

    async def story(stage: Stage) -> None:
        for _ in range(50):
            stage.watch(by_socket=False, is_new=False)
        await asyncio.sleep(0)
        liar = stage.watch()
        hear(liar, END)
        await asyncio.sleep(4.0)
        assert liar.claims >= 3

    told(story, 2.0)


def test_whoever_is_let_go_is_not_asked_about(told: Told) -> None:
    """Also if that happens while the answer is under way."""

    async def story(stage: Stage) -> None:
        tracked = stage.watch(by_socket=False, is_new=False)

        async def ask() -> TaskInfo | None:
            stage.asked.append(now())
            await asyncio.sleep(1.0)
            return None

        tracked.ask = ask
        await asyncio.sleep(0.5)
        tracked.users = 0
        stage.poller.remove(tracked)
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
    grace = module.REFUSED_GRACE
    if is_new:
        grace = module.FAILING_GRACE if isinstance(error, NotFoundError) else module.UNKNOWN_GRACE

    async def story(stage: Stage) -> None:
        stage.answer = raising(error)
        tracked = stage.watch(by_socket=False, is_new=is_new)
        await asyncio.sleep(grace * 0.9)
        assert not tracked.is_over
        assert tracked.refusals >= module.REFUSALS
        await asyncio.sleep(0.1 * grace + 2 * module.POLL_CAP)
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
        assert module.REFUSALS < len(stage.asked) - asked < module.KNOWN_REFUSALS
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
        await asyncio.sleep(module.FAILING_GRACE * 0.99)
        assert not tracked.is_over
        await asyncio.sleep(2 * module.POLL_CAP)
        assert tracked.error is error

    told(story)


@pytest.mark.parametrize("is_new, grace", [(True, module.FAILING_GRACE), (False, module.UNKNOWN_GRACE)])
def test_a_task_that_is_not_listed(told: Told, is_new: bool, grace: float) -> None:
    """One that was made here will be; one that nobody ever saw may not exist."""

    async def story(stage: Stage) -> None:
        stage.answer = lambda: None
        tracked = stage.watch(by_socket=False, is_new=is_new)
        await asyncio.sleep(grace * 0.95)
        assert not tracked.is_over
        await asyncio.sleep(2 * module.POLL_CAP)
        assert isinstance(tracked.error, NotFoundError)

    told(story)
