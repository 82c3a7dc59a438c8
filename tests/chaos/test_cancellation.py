"""Cancellation at every point where a call can be suspended. It is never swallowed, and no task keeps running."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import anyio
import attrs
import pytest

from wiro_async import AsyncWiro, TaskHandle
from wiro_async._engine.engine import Statistics
from wiro_async.testing import DelayAnswer, HttpFault, ResetAfter, WiroEmulator

NOTHING = Statistics(0, 0, 0, 0, 0, 0, 0)
STOPPED_WITHIN = 6.0
IDLE = 0.2  # seconds without a step after which a call is assumed to wait for the end of its task
NEVER = {"seconds": 100_000, "prompt": "never"}
SOON = {"seconds": 2, "prompt": "soon"}
AFTERWARDS = {"seconds": 2, "prompt": "afterwards"}
ENOUGH = 1000

Use: TypeAlias = Callable[[AsyncWiro, Mapping[str, object]], Coroutine[object, object, object]]
AnyCoroutine: TypeAlias = Coroutine[object, object, object] | Generator[object, object, object]


def ignore(waited_for: object) -> None:
    """Do nothing."""


class Stepper:
    """A task factory that reports every suspension of every task, of the caller and of the session."""

    def __init__(self) -> None:
        self.report = ignore

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coroutine: AnyCoroutine, **options: Any
    ) -> asyncio.Task[object]:
        return asyncio.Task(_awaited(_Reported(self, coroutine)), loop=loop, **options)


@attrs.frozen
class _Reported(Awaitable[object]):
    stepper: Stepper
    coroutine: AnyCoroutine

    def __await__(self) -> Generator[object, object, object]:
        resume: Callable[[], object] = partial(self.coroutine.send, None)
        while True:
            try:
                waited_for = resume()
            except StopIteration as end:
                return end.value
            self.stepper.report(waited_for)
            try:
                yield waited_for
                resume = partial(self.coroutine.send, None)
            except BaseException as raised:
                resume = partial(self.coroutine.throw, raised)


async def _awaited(reported: _Reported) -> object:
    return await reported


@contextmanager
def stepping() -> Generator[Stepper]:
    """Report the suspensions of all tasks that are made inside the block."""
    loop = asyncio.get_running_loop()
    stepper = Stepper()
    loop.set_task_factory(stepper)  # type: ignore[arg-type]  # it accepts any coroutine
    yield stepper
    loop.set_task_factory(None)


class Natively:
    """Makes a call, and cancels it with `task.cancel()` when any task is suspended for the n-th time since its start.

    With `late`, the cancellation comes when the awaited future is done, before the task resumes: the two race.
    """

    def __init__(self, stepper: Stepper, use: Coroutine[object, object, object], at: int, late: bool) -> None:
        self.use = use
        self.at = at
        self.late = late
        self.taken = 0
        self.moved_at = asyncio.get_running_loop().time()
        self.acted = False
        self.reached = False
        self.stepper = stepper
        self.user: asyncio.Task[bool] = asyncio.ensure_future(self.call())

    async def call(self) -> bool:
        """Make the call, and return whether it was cancelled."""
        self.stepper.report = self.count
        await self.use
        return False

    def cancel(self) -> None:
        """Cancel the call."""
        self.user.cancel()

    def count(self, waited_for: object) -> None:
        """Count a suspension."""
        self.taken += 1
        self.moved_at = asyncio.get_running_loop().time()
        self.reached = self.reached or self.taken == self.at
        if self.taken == self.at and self.late and isinstance(waited_for, asyncio.Future):
            waited_for.add_done_callback(lambda _: self._act())
        elif self.taken == self.at:
            self._act()

    async def cancelled(self, idle_limit: float = IDLE) -> bool:
        """Return whether the call was cancelled. An idle call waits for its endless task, so it is cancelled."""
        while not self.user.done():
            await asyncio.wait([self.user], timeout=IDLE / 10)
            idle = asyncio.get_running_loop().time() - self.moved_at
            if self.acted:
                assert idle < STOPPED_WITHIN, f"not cancelled within {STOPPED_WITHIN} s"
            elif idle > idle_limit:
                self.stepper.report = ignore
                self.user.cancel()
        self.stepper.report = ignore
        return self.user.cancelled() or self.user.result()

    def _act(self) -> None:
        if not self.user.done():
            self.acted = True
            self.cancel()


class ByScope(Natively):
    """Cancels with an anyio scope."""

    async def call(self) -> bool:
        self.stepper.report = self.count
        with anyio.CancelScope() as self.scope:
            await self.use
        return self.scope.cancelled_caught

    def cancel(self) -> None:
        self.scope.cancel()


class ByTimeout(Natively):
    """Cancels with `asyncio.timeout`."""

    async def call(self) -> bool:
        self.stepper.report = self.count
        try:
            async with asyncio.timeout(None) as self.limit:
                await self.use
        except TimeoutError:
            return True
        return False

    def cancel(self) -> None:
        self.limit.reschedule(0.0)


async def use_run(wiro: AsyncWiro, given: Mapping[str, object]) -> object:
    """Use `run`."""
    return await wiro.run("emulator/sleeper", given)


async def use_listener(wiro: AsyncWiro, given: Mapping[str, object]) -> object:
    """Use `run` with a listener."""
    return await wiro.run("emulator/sleeper", given, on_event=lambda event: None)


async def use_stream(wiro: AsyncWiro, given: Mapping[str, object]) -> object:
    """Use `stream`."""
    async with wiro.stream("emulator/writer", given) as stream:
        return await stream.result()


async def use_batch(wiro: AsyncWiro, given: Mapping[str, object]) -> object:
    """Use `batch`."""
    async with wiro.batch("emulator/sleeper", [given] * 2, concurrency=2) as batch:
        return [item async for item in batch]


async def use_submit(wiro: AsyncWiro, given: Mapping[str, object]) -> TaskHandle:
    """Use `submit`, whose task the caller owns."""
    return await wiro.submit("emulator/sleeper", given)


async def use_realtime(wiro: AsyncWiro, given: Mapping[str, object]) -> object:
    """Use `realtime`: send some audio, and end the session."""
    async with wiro.realtime("emulator/echo", given) as session:
        await session.send_audio(bytes(25_000))
        await session.end()
        return [event async for event in session]


USES: tuple[Use, ...] = (use_run, use_listener, use_stream, use_batch, use_submit, use_realtime)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(STOPPED_WITHIN):
        while not condition():  # noqa: ASYNC110 - waits for the emulator's thread
            await asyncio.sleep(0.001)


async def _quiet(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Wait until the service runs nothing and the session holds nothing."""
    await _until(lambda: all(task.finished for task in emulator.ledger.tasks.values()) and _held(wiro) == NOTHING)


def _held(wiro: AsyncWiro) -> Statistics:
    return attrs.evolve(wiro.statistics(), sockets=0, background_tasks=0)


async def _still_works(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Check that nothing runs and that the only slot is free."""
    await _quiet(emulator, wiro)
    async with asyncio.timeout(STOPPED_WITHIN):
        assert (await wiro.run("emulator/sleeper", AFTERWARDS)).succeeded


async def _closed(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Close the session, and check that nothing is left."""
    await wiro.aclose()
    assert wiro.statistics() == NOTHING
    await _until(lambda: not emulator.ledger.open_sockets)


@pytest.mark.parametrize(
    "way, late", [(Natively, False), (Natively, True), (ByScope, False), (ByScope, True), (ByTimeout, False)]
)
@pytest.mark.parametrize("use", USES)
async def test_no_task_survives_its_cancelled_caller(
    emulator: WiroEmulator, use: Use, way: type[Natively], late: bool
) -> None:
    """A call that is cancelled at any step stops its endless task within 6 s, and the session still works."""
    with stepping() as stepper:
        wiro = AsyncWiro(**emulator.options(), max_concurrency=1)
        step = 0
        while step < ENOUGH:
            step += 1
            before = len(emulator.ledger.submissions)
            call = way(stepper, use(wiro, NEVER), step, late)
            if not await call.cancelled():  # it returned a handle, whose owner decides about the task
                task = emulator.ledger.submissions[-1]
                assert not emulator.ledger.tasks[task.task_id].finished
                await wiro.task(task.token).cancel()
            await _quiet(emulator, wiro)
            made = emulator.ledger.submissions[before:]
            assert {emulator.ledger.tasks[task.task_id].status for task in made} <= {"task_cancel"}
            await _still_works(emulator, wiro)
            if not call.reached:
                break
    assert 2 < step < ENOUGH
    await _closed(emulator, wiro)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("use", [use_run, use_listener, use_stream, use_batch, use_realtime])
async def test_cancelled_up_to_the_result(emulator: WiroEmulator, use: Use, late: bool) -> None:
    """A run that ends can be cancelled at every step, and the session still works."""
    with stepping() as stepper:
        wiro = AsyncWiro(**emulator.options(), max_concurrency=1)
        step = 0
        while step < ENOUGH:
            step += 1
            call = Natively(stepper, use(wiro, SOON), step, late)
            cancelled = await call.cancelled(idle_limit=60.0)
            assert cancelled == call.acted, "the cancellation was swallowed"
            await _still_works(emulator, wiro)
            if not call.reached:
                break
    assert 2 < step < ENOUGH
    await _closed(emulator, wiro)


async def test_the_first_call_of_a_session(emulator: WiroEmulator) -> None:
    """Opening the session, its connections and its socket can be cancelled at every step."""
    with stepping() as stepper:
        step = 0
        while step < ENOUGH:
            step += 1
            wiro = AsyncWiro(**emulator.options(), max_concurrency=1)
            call = Natively(stepper, use_run(wiro, NEVER), step, late=False)
            await call.cancelled()
            await _still_works(emulator, wiro)
            await _closed(emulator, wiro)
            if not call.reached:
                break
    assert 2 < step < ENOUGH


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("fault", [DelayAnswer(0.3), ResetAfter()])
async def test_cancelled_before_the_response(emulator: WiroEmulator, use: Use, fault: HttpFault) -> None:
    """The response is late or lost: the caller returns when the task is stopped."""
    emulator.faults.http("Run/*", fault, times=2 if use is use_batch else 1)
    async with AsyncWiro(**emulator.options()) as wiro:
        user = asyncio.ensure_future(use(wiro, NEVER))
        await _until(lambda: bool(emulator.ledger.submissions))
        user.cancel()
        await asyncio.wait([user])
        assert user.cancelled()
        statuses = [emulator.ledger.tasks[task.task_id].status for task in emulator.ledger.submissions]
        assert statuses == ["task_cancel"] * len(statuses)
        await _still_works(emulator, wiro)
    await _closed(emulator, wiro)


@pytest.mark.parametrize(
    "use, answered",
    [*((use, answered) for use in USES for answered in (True, False) if use is not use_submit), (use_submit, False)],
)
@pytest.mark.parametrize("pause", [0.0, 0.05])
async def test_cancelled_twice(emulator: WiroEmulator, use: Use, answered: bool, pause: float) -> None:
    """A second cancellation returns at once, and the task is still stopped."""
    emulator.faults.http("Task/*", DelayAnswer(1.0), times=None)
    if not answered:
        emulator.faults.http("Run/*", DelayAnswer(0.3), times=2)
    async with AsyncWiro(**emulator.options()) as wiro:
        user = asyncio.ensure_future(use(wiro, NEVER))
        await _until(lambda: bool(wiro.statistics().owned_tasks if answered else emulator.ledger.submissions))
        user.cancel()
        await asyncio.sleep(pause)
        user.cancel()
        _, late = await asyncio.wait([user], timeout=0.9)
        assert not late
        assert user.cancelled()
        await _quiet(emulator, wiro)
        assert {task.status for task in emulator.ledger.tasks.values()} == {"task_cancel"}
    await _closed(emulator, wiro)
