"""Cancellation at every point where a call can be suspended: it is never swallowed, and no task is left running."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import TypeAlias, TypeVar

import anyio
import attrs
import pytest

from wiro_async import AsyncWiro, TaskHandle
from wiro_async._engine.engine import Statistics
from wiro_async.testing import DelayAnswer, ResetAfter, WiroEmulator

NOTHING = Statistics(0, 0, 0, 0, 0, 0, 0)
STOPPED_WITHIN = 6.0
SLEEPY = 0.3  # seconds without a step after which a call is taken to wait for the end of its task
NEVER = {"seconds": 100_000, "prompt": "never"}
SOON = {"seconds": 1, "prompt": "soon"}
ENOUGH = 400

T = TypeVar("T")
Use: TypeAlias = Callable[[AsyncWiro, dict[str, object]], Awaitable[object]]


class Steps(Awaitable[T]):
    """Awaits something, and calls `act` when it is suspended for the n-th time.

    `late` waits until what it was suspended for has come: the cancellation then races with the good news.
    """

    def __init__(self, inner: Awaitable[T], at: int, act: Callable[[], object], late: bool) -> None:
        self._inner = inner
        self._left = at
        self._act = act
        self._late = late
        self.acted = False
        self.moved = asyncio.Event()

    def __await__(self) -> Generator[object, object, T]:
        steps = self._inner.__await__()
        resume: Callable[[], object] = partial(next, steps)
        while True:
            try:
                waited_for = resume()
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self._count(waited_for)
            try:
                yield waited_for
                resume = partial(next, steps)
            except BaseException as raised:
                resume = partial(steps.throw, raised)

    def _count(self, waited_for: object) -> None:
        self.moved.set()
        self._left -= 1
        if self._left == 0 and self._late and isinstance(waited_for, asyncio.Future):
            waited_for.add_done_callback(lambda _: self._once())
        elif self._left == 0:
            self._once()

    def _once(self) -> None:
        self.acted = True
        self._act()


class Way:
    """A way to cancel a call at its n-th step, and to see that the cancellation arrived."""

    def __init__(self, use: Awaitable[object], at: int, late: bool) -> None:
        self.steps = Steps(use, at, self.cancel, late)
        self.user = asyncio.ensure_future(self.call())

    async def call(self) -> bool:
        """Await the steps; whether they were cancelled."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Cancel them."""
        raise NotImplementedError

    async def cancelled(self) -> bool:
        """Whether the call was cancelled at that step. One that waits for its endless task is cancelled anyway."""
        while not self.user.done():
            self.steps.moved.clear()
            moved = asyncio.ensure_future(self.steps.moved.wait())
            await asyncio.wait([self.user, moved], timeout=STOPPED_WITHIN if self.steps.acted else SLEEPY)
            if not moved.done() and not self.user.done():
                assert not self.steps.acted, f"not out within {STOPPED_WITHIN} s"
                return await self._without_a_step()
            moved.cancel()
        return self.user.cancelled() or self.user.result()

    async def _without_a_step(self) -> bool:
        self.user.cancel()
        await asyncio.wait([self.user], timeout=STOPPED_WITHIN)
        assert self.user.cancelled(), "the cancellation was swallowed"
        return True


class Natively(Way):
    """`task.cancel()`."""

    async def call(self) -> bool:
        await self.steps
        assert not self.steps.acted, "the cancellation was swallowed"
        return False

    def cancel(self) -> None:
        self.user.cancel()


class ByScope(Way):
    """An anyio scope. Good news that come first may be taken instead."""

    def __init__(self, use: Awaitable[object], at: int, late: bool) -> None:
        self.scope = anyio.CancelScope()
        super().__init__(use, at, late)

    async def call(self) -> bool:
        with self.scope:
            await self.steps
        return self.scope.cancelled_caught

    def cancel(self) -> None:
        self.scope.cancel()


class ByTimeout(Way):
    """`asyncio.timeout`."""

    def __init__(self, use: Awaitable[object], at: int, late: bool) -> None:
        self.limit = asyncio.timeout(None)
        super().__init__(use, at, late)

    async def call(self) -> bool:
        try:
            async with self.limit:
                await self.steps
        except TimeoutError:
            return True
        return False

    def cancel(self) -> None:
        self.limit.reschedule(0.0)


async def use_run(wiro: AsyncWiro, given: dict[str, object]) -> object:
    """`run`."""
    return await wiro.run("emulator/sleeper", given)


async def use_listener(wiro: AsyncWiro, given: dict[str, object]) -> object:
    """`run` with a listener."""
    return await wiro.run("emulator/sleeper", given, on_event=lambda event: None)


async def use_stream(wiro: AsyncWiro, given: dict[str, object]) -> object:
    """`stream`."""
    async with wiro.stream("emulator/writer", given) as stream:
        return await stream.result()


async def use_batch(wiro: AsyncWiro, given: dict[str, object]) -> object:
    """`batch`."""
    async with wiro.batch("emulator/sleeper", [given] * 2, concurrency=2) as batch:
        return [item async for item in batch]


async def use_submit(wiro: AsyncWiro, given: dict[str, object]) -> TaskHandle:
    """`submit`, which lets go of the task once it is made."""
    return await wiro.submit("emulator/sleeper", given)


async def _quiet(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Until the service runs nothing, and the session holds nothing."""
    async with asyncio.timeout(STOPPED_WITHIN):
        while not all(task.finished for task in emulator.ledger.tasks.values()) or _held(wiro) != NOTHING:
            await asyncio.sleep(0.002)


def _held(wiro: AsyncWiro) -> Statistics:
    return attrs.evolve(wiro.statistics(), sockets=0, background_tasks=0)


async def _unhurt(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Nothing runs, the only slot is free, and closing leaves nothing behind."""
    await _quiet(emulator, wiro)
    async with asyncio.timeout(STOPPED_WITHIN):
        assert (await wiro.run("emulator/sleeper", {"seconds": 0})).succeeded
    await wiro.aclose()
    assert wiro.statistics() == NOTHING
    async with asyncio.timeout(STOPPED_WITHIN):
        while emulator.ledger.open_sockets:
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("way", [Natively, ByScope, ByTimeout])
@pytest.mark.parametrize("use", [use_run, use_listener, use_stream, use_batch, use_submit])
async def test_no_task_survives_its_cancelled_caller(
    emulator: WiroEmulator, use: Use, way: type[Way], late: bool
) -> None:
    """Whichever step it is cancelled at, its endless task is stopped within 6 s, and the session is unhurt."""
    for step in range(1, ENOUGH):
        before = len(emulator.ledger.submissions)
        wiro = AsyncWiro(**emulator.options(), max_concurrency=1)
        attempt = way(use(wiro, NEVER), step, late)
        if not await attempt.cancelled():
            assert use is use_submit
            task = emulator.ledger.submissions[-1]
            assert not emulator.ledger.tasks[task.task_id].finished
            await wiro.task(task.token).stop()
        await _unhurt(emulator, wiro)
        made = emulator.ledger.submissions[before:-1]
        assert {emulator.ledger.tasks[task.task_id].status for task in made} <= {"task_cancel"}
        if not attempt.steps.acted:
            assert step > 5
            return
    pytest.fail("it never waited for its task")


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("use", [use_run, use_listener, use_stream, use_batch])
async def test_cancelled_up_to_the_result(emulator: WiroEmulator, use: Use, late: bool) -> None:
    """A run that ends can be cancelled at each of its steps, the last one too, and the session is unhurt."""
    for step in range(1, ENOUGH):
        wiro = AsyncWiro(**emulator.options(), max_concurrency=1)
        attempt = Natively(use(wiro, SOON), step, late)
        cancelled = await attempt.cancelled()
        await _unhurt(emulator, wiro)
        if not cancelled:
            return
    pytest.fail("it never ended")
