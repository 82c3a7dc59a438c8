"""`batch()` and `map()`: many runs, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from wiro_async import (
    AsyncWiro,
    BatchFailedError,
    InvalidInputError,
    NotFoundError,
    RunRequest,
    SessionClosedError,
    TaskFailedError,
    TaskTimeoutError,
    UsageError,
)
from wiro_async.testing import DelayAnswer, ModelScript, Script, WiroEmulator, timeline

if TYPE_CHECKING:
    from tests.conftest import Until

SLEEPER = "emulator/sleeper"
STUCK = "emulator/stuck"


def quick(n: int) -> dict[str, object]:
    """The n-th input of a short run."""
    return {"n": n, "seconds": 4, "events": 9}


def statuses(emulator: WiroEmulator) -> list[str]:
    """The statuses of all tasks."""
    return [task.status for task in emulator.ledger.tasks.values()]


async def test_every_input_gives_one_item(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """With its index, key, input, result and attempts."""
    inputs = [quick(n) for n in range(12)]
    async with wiro.batch(SLEEPER, inputs, concurrency=4) as batch:
        items = [item async for item in batch]
    assert sorted(item.index for item in items) == list(range(12))
    for item in items:
        assert item.key == str(item.index)
        assert item.input == inputs[item.index]
        assert item.result is not None
        assert item.result.info.parameters["n"] == str(item.index)
        assert (item.error, item.attempts) == (None, 1)
    assert len(emulator.ledger.submissions) == 12


async def test_items_are_returned_as_they_end(wiro: AsyncWiro) -> None:
    """The slow first one does not hold up the quick ones."""
    inputs: list[dict[str, object]] = [{"seconds": 30}, *(quick(n) for n in range(5))]
    async with wiro.batch(SLEEPER, inputs, concurrency=3) as batch:
        order = [item.index async for item in batch]
    assert order[-1] == 0


async def test_items_in_the_order_of_the_inputs(wiro: AsyncWiro) -> None:
    """order="input": the quick ones wait for the slow one before them."""
    inputs: list[dict[str, object]] = [{"seconds": 30}, *(quick(n) for n in range(20))]
    async with wiro.batch(SLEEPER, inputs, concurrency=3, order="input") as batch:
        assert [item.index async for item in batch] == list(range(21))


@pytest.mark.parametrize("order, window", [("completed", 12), ("input", 16)])
async def test_a_million_inputs_are_taken_as_they_are_needed(
    emulator: WiroEmulator, wiro: AsyncWiro, order: Any, window: int
) -> None:
    """Some for each worker: those that run, those that ended and are unread, and in input order a bounded window."""
    taken = 0

    def inputs() -> Iterator[dict[str, object]]:
        nonlocal taken
        for n in range(1_000_000):
            taken += 1
            yield quick(n)

    async with wiro.batch(SLEEPER, inputs(), concurrency=4, order=order) as batch:
        async for item in batch:
            assert taken <= item.index + 1 + window + 4
            if item.index >= 20:
                break
    assert taken <= 21 + window + 4
    assert batch.stats.total is None


@pytest.mark.parametrize("order", ["completed", "input"])
async def test_a_slow_reader_slows_the_producer(wiro: AsyncWiro, until: Until, order: Any) -> None:
    """Without a reader no more is submitted than there is room for. Reading continues it."""
    async with wiro.batch(SLEEPER, map(quick, count()), concurrency=3, order=order) as batch:
        most = 3 * 4 if order == "input" else 3 * 2
        await until(lambda: batch.stats.submitted == batch.stats.succeeded >= 6)
        stood = batch.stats.submitted
        assert stood <= most
        await anext(batch)
        await anext(batch)
        await until(lambda: batch.stats.submitted > stood)


async def test_no_more_than_the_concurrency_run_at_a_time(wiro: AsyncWiro, until: Until) -> None:
    """And not fewer."""
    inputs = [{"seconds": 50, "n": n} for n in range(5)] + [quick(n) for n in range(5, 30)]
    async with wiro.batch(SLEEPER, inputs, concurrency=5) as batch:
        await until(lambda: batch.stats.in_flight == 5)
        async for _ in batch:
            assert batch.stats.in_flight <= 5


async def test_auto_concurrency() -> None:
    """ "auto" runs as many as the service allows."""
    with WiroEmulator(speed=50, balance=Decimal(59)) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro, wiro.batch(SLEEPER, map(quick, range(25))) as batch:
            items = await batch.results()
    assert all(item.result for item in items)
    assert len(emulator.ledger.submissions) == 25


async def test_async_inputs(wiro: AsyncWiro) -> None:
    """Inputs may come from a queue, a file or a database."""

    async def inputs() -> AsyncIterator[dict[str, object]]:
        for n in range(6):
            await asyncio.sleep(0)
            yield quick(n)

    async with wiro.batch(SLEEPER, inputs(), concurrency=2) as batch:
        assert len(await batch.results()) == 6


async def test_an_async_input_that_waits_blocks_no_items(wiro: AsyncWiro) -> None:
    """Items are returned while the next input is awaited."""
    gate = asyncio.Event()

    async def inputs() -> AsyncIterator[dict[str, object]]:
        yield quick(0)
        yield quick(1)
        await gate.wait()
        yield quick(2)

    async with wiro.batch(SLEEPER, inputs(), concurrency=4) as batch:
        with anyio.fail_after(10):
            assert {(await anext(batch)).index, (await anext(batch)).index} == {0, 1}
            gate.set()
            assert (await anext(batch)).index == 2


async def test_requests_of_several_models(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Each has its model, key, timeout and callback."""
    requests = [
        RunRequest(SLEEPER, quick(0), key="one"),
        RunRequest("emulator/painter", {"prompt": "x", "width": 16, "height": 16, "seconds": 4}),
        RunRequest(STUCK, key="late", timeout=0.2),
        RunRequest(SLEEPER, quick(3), callback_url="http://127.0.0.1:9/hook"),
    ]
    async with wiro.batch(iter(requests), concurrency=4, order="input") as batch:
        items = await batch.results()
    assert [item.key for item in items] == ["one", "1", "late", "3"]
    assert [item.request for item in items] == requests
    assert isinstance(items[2].error, TaskTimeoutError)
    assert items[1].result is not None
    assert items[1].result.output.name == "0.png"
    assert {made.callback_url.partition("?")[0] for made in emulator.ledger.submissions} == {
        "",
        "http://127.0.0.1:9/hook",
    }


async def test_mappings_and_requests_mixed(wiro: AsyncWiro) -> None:
    """With a model for all, a request may still name another."""
    painting = {"prompt": "x", "width": 16, "height": 16, "seconds": 4}
    inputs: list[Mapping[str, object] | RunRequest] = [quick(0), RunRequest("emulator/painter", painting)]
    async with wiro.batch(SLEEPER, inputs, concurrency=2) as batch:
        models = {item.result.info.model async for item in batch if item.result}
    assert models == {SLEEPER, "emulator/painter"}


async def test_errors_come_with_their_items(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """One fails, one is refused, one cannot be sent. The others run."""
    requests = [
        RunRequest(SLEEPER, quick(0)),
        RunRequest("emulator/failing", {"seconds": 4}),
        RunRequest("emulator/nowhere"),
        RunRequest("no slug"),
        RunRequest(SLEEPER, {"x": {1, 2}}),
        RunRequest(SLEEPER, quick(5)),
    ]
    async with wiro.batch(requests, concurrency=2, order="input") as batch:
        items = await batch.results()
    kinds = [type(item.error) for item in items]
    assert kinds == [type(None), TaskFailedError, NotFoundError, InvalidInputError, InvalidInputError, type(None)]
    assert (batch.stats.succeeded, batch.stats.failed) == (2, 4)
    assert len(emulator.ledger.submissions) == 3


async def test_failed_items_make_another_batch(wiro: AsyncWiro) -> None:
    """Their requests make another batch."""
    async with wiro.batch("emulator/failing", [{"seconds": 4}, {"seconds": 4}], concurrency=2) as batch:
        failed = [item async for item in batch if item.error]
    async with wiro.batch(failed) as again:
        assert sorted(item.key for item in await again.results()) == ["0", "1"]
    async with wiro.batch(item.request for item in failed[1:]) as again:
        assert [item.key for item in await again.results()] == ["0"]


@pytest.mark.parametrize("retries, made", [(0, 1), (2, 3)])
async def test_failed_tasks_are_retried(emulator: WiroEmulator, wiro: AsyncWiro, retries: int, made: int) -> None:
    """As often as `retries` says. The item has the number of tasks."""
    async with wiro.batch("emulator/failing", [{"seconds": 4}], concurrency=1, retries=retries) as batch:
        item = await anext(batch)
    assert isinstance(item.error, TaskFailedError)
    assert item.attempts == made == len(emulator.ledger.submissions)


async def test_a_retry_that_succeeds() -> None:
    """The item has its result, and no error."""
    exit_codes = iter("10")
    model = ModelScript("emulator/luck", lambda given: Script(timeline(3), exit_code=next(exit_codes)))
    with WiroEmulator(speed=50, models=[model]) as emulator:
        async with (
            AsyncWiro(**emulator.options()) as wiro,
            wiro.batch("emulator/luck", [{}], concurrency=1, retries=3) as batch,
        ):
            item = await anext(batch)
    assert item.result is not None
    assert (item.error, item.attempts) == (None, 2)


async def test_retry_if(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """`retry_if` decides about each failure."""
    asked: list[str] = []

    def passes_by(error: TaskFailedError) -> bool:
        asked.append(error.info.log or error.info.error_log)
        return "memory" in asked[-1]

    inputs = [{"seconds": 4, "reason": "Out of memory."}, {"seconds": 4, "reason": "No such voice."}]
    async with wiro.batch("emulator/failing", inputs, concurrency=1, retries=2, retry_if=passes_by) as batch:
        attempts = [item.attempts async for item in batch]
    assert attempts == [3, 1]
    assert len(asked) == 3


async def test_refusals_are_not_retried(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A wrong input is still wrong the next time."""
    async with wiro.batch("emulator/painter", [{}], concurrency=1, retries=5) as batch:
        item = await anext(batch)
    assert isinstance(item.error, InvalidInputError)
    assert item.attempts == emulator.ledger.count("Run/*") == 1


async def test_stopping_at_the_first_error(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """on_error="stop": nothing more is submitted. Runs in flight end and are returned."""
    requests = [RunRequest(SLEEPER, {"seconds": 20}), RunRequest("emulator/failing", {"seconds": 4})]
    more = (RunRequest(SLEEPER, quick(n)) for n in range(1000))
    async with wiro.batch([*requests, *more], concurrency=2, on_error="stop") as batch:
        items = await batch.results()
    assert [item.index for item in items if item.error] == [1]
    assert {item.index for item in items} >= {0, 1}
    assert len(items) == len(emulator.ledger.submissions) <= 3


async def test_leaving_early_stops_what_runs(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """No task runs, and nothing waits."""
    async with wiro.batch(SLEEPER, ({"seconds": 5 if n == 0 else 500} for n in count()), concurrency=4) as batch:
        async for item in batch:
            assert item.index == 0
            break
    assert set(statuses(emulator)) <= {"task_cancel", "task_postprocess_end"}
    assert 4 <= len(statuses(emulator)) <= 5
    assert (wiro.statistics().owned_tasks, wiro.statistics().watched_tasks) == (0, 0)


async def test_leaving_early_may_leave_them(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """on_exit="leave": tasks continue."""
    async with wiro.batch(STUCK, [{}] * 10, concurrency=3, on_exit="leave"):
        await until(lambda: statuses(emulator) == ["task_start"] * 3)
    assert statuses(emulator) == ["task_start"] * 3
    assert wiro.statistics().watched_tasks == 0


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_an_error_in_the_block_stops_it(
    emulator: WiroEmulator, wiro: AsyncWiro, until: Until, error: type[BaseException]
) -> None:
    """The block raises the error itself."""

    async def work() -> None:
        async with wiro.batch(STUCK, [{}] * 10, concurrency=2):
            await until(lambda: statuses(emulator) == ["task_start"] * 2)
            raise error

    with pytest.raises(error):
        await work()
    assert statuses(emulator) == ["task_cancel"] * 2


async def test_cancelling_the_task_around_it(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """All its tasks are stopped before the cancellation arrives."""

    async def work() -> None:
        async with wiro.batch(STUCK, [{}] * 10, concurrency=3) as batch:
            async for _ in batch:
                pass

    task = asyncio.create_task(work())
    await until(lambda: statuses(emulator) == ["task_start"] * 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert statuses(emulator) == ["task_cancel"] * 3


async def test_cancelled_while_submitting(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """A task that was being made is stopped as well."""
    emulator.faults.http("Run/*", DelayAnswer(0.2), times=None)
    async with wiro.batch(STUCK, [{}] * 10, concurrency=3):
        await until(lambda: len(emulator.ledger.submissions) == 3)
    assert statuses(emulator) == ["task_cancel"] * 3


async def test_leaving_closes_the_inputs(wiro: AsyncWiro, until: Until) -> None:
    """An asynchronous generator is closed with the batch, also while it waits for its next input."""
    ended: list[str] = []

    async def inputs() -> AsyncIterator[dict[str, object]]:
        try:
            yield {}
            await anyio.sleep_forever()
        finally:
            ended.append("ended")

    async with wiro.batch(STUCK, inputs(), concurrency=2):
        await until(lambda: wiro.statistics().watched_tasks)
        assert not ended
    assert ended == ["ended"]


@pytest.mark.parametrize("is_async", [False, True], ids=["generator", "async generator"])
async def test_inputs_that_raise(emulator: WiroEmulator, wiro: AsyncWiro, is_async: bool) -> None:
    """Items in flight are returned first, then the error of the inputs is raised."""

    def inputs() -> Iterator[dict[str, object]]:
        yield quick(0)
        yield quick(1)
        raise ZeroDivisionError("in the inputs")

    async def async_inputs() -> AsyncIterator[dict[str, object]]:
        for given in inputs():
            yield given

    async with wiro.batch(SLEEPER, async_inputs() if is_async else inputs(), concurrency=4) as batch:
        assert {(await anext(batch)).index, (await anext(batch)).index} == {0, 1}
        with pytest.raises(ZeroDivisionError, match="in the inputs"):
            await anext(batch)
    assert statuses(emulator) == ["task_postprocess_end"] * 2


@pytest.mark.parametrize("inputs", [["text"], [None], {"prompt": "x"}, [quick(0), 5]], ids=repr)
async def test_an_input_of_the_wrong_kind(wiro: AsyncWiro, inputs: Any) -> None:
    """The error names the item, and what to give instead."""
    with pytest.raises(InvalidInputError, match=r"item \d of the batch is a (str|NoneType|int); give a mapping"):
        async with wiro.batch(SLEEPER, inputs, concurrency=1) as batch:
            await batch.results()


async def test_requests_of_the_wrong_kind(wiro: AsyncWiro) -> None:
    """Without a model for all, a mapping is no request."""
    requests: Any = [{"prompt": "x"}]
    with pytest.raises(InvalidInputError, match="give a RunRequest"):
        async with wiro.batch(requests) as batch:
            await batch.results()


@pytest.mark.parametrize("inputs", [[], iter(()), {}], ids=["list", "iterator", "mapping"])
async def test_no_inputs(emulator: WiroEmulator, wiro: AsyncWiro, inputs: Any) -> None:
    """There are no items, no requests, and no hanging."""
    async with wiro.batch(SLEEPER, inputs) as batch:
        assert await batch.results() == []
        assert await batch.results() == []
    assert not emulator.ledger.calls


@pytest.mark.parametrize(
    "option",
    [
        {"concurrency": 0},
        {"concurrency": -1},
        {"concurrency": 2.5},
        {"concurrency": "many"},
        {"order": "random"},
        {"retries": -1},
        {"retries": "many"},
        {"on_error": "ignore"},
        {"retry_if": True},
        {"window": 0},
        {"on_exit": "stay"},
        {"journal_grace": -1},
        {"journal_grace": "long"},
        {"progress": "yes"},
    ],
    ids=str,
)
async def test_wrong_options(wiro: AsyncWiro, option: Any) -> None:
    """They are refused at once, with the name of the option."""
    (name,) = option
    with pytest.raises(InvalidInputError, match=name):
        wiro.batch(SLEEPER, [], **option)


async def test_a_batch_runs_once(wiro: AsyncWiro) -> None:
    """Entering it again raises."""
    async with wiro.batch(SLEEPER, []) as batch:
        pass
    with pytest.raises(UsageError, match="entered before"):
        await batch.__aenter__()


async def test_no_inputs_at_all(wiro: AsyncWiro) -> None:
    """A model alone is not a batch."""
    model: Any = SLEEPER
    with pytest.raises(InvalidInputError, match="give batch"):
        wiro.batch(model)


async def test_stats(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Counts, money and time: before, during and after the batch."""
    requests = [*(RunRequest(SLEEPER, quick(n)) for n in range(7)), RunRequest("emulator/failing", {"seconds": 4})]
    batch = wiro.batch(requests, concurrency=2)
    before = batch.stats
    assert (before.total, before.submitted, before.elapsed, before.rate, before.eta) == (8, 0, 0.0, 0.0, None)
    async with batch:
        async for _ in batch:
            stats = batch.stats
            assert stats.submitted == stats.in_flight + stats.succeeded + stats.failed
            assert stats.eta is not None
            assert stats.eta >= 0
    stats = batch.stats
    assert (stats.submitted, stats.in_flight, stats.succeeded, stats.failed, stats.skipped) == (8, 0, 7, 1, 0)
    assert stats.cost == Decimal("0.007")
    assert stats.elapsed > 0
    assert stats.rate > 0
    assert stats.eta == 0


async def test_a_batch_that_was_not_entered(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The error says how to use it."""
    with pytest.raises(UsageError, match="async with"):
        await anext(wiro.batch(SLEEPER, [{}]))
    assert not emulator.ledger.calls


async def test_a_batch_that_was_left(wiro: AsyncWiro, until: Until) -> None:
    """Reading on returns what had ended, then raises."""
    async with wiro.batch(STUCK, [{}] * 5, concurrency=2) as batch:
        pass
    with pytest.raises(Exception, match=r"left|closed"):
        await anext(batch)


async def test_a_session_closed_under_a_batch(emulator: WiroEmulator, until: Until) -> None:
    """Its items have errors, or it raises. No task is left running."""
    wiro = AsyncWiro(**emulator.options())
    async with wiro.batch(STUCK, [{}] * 10, concurrency=2) as batch:
        await until(lambda: statuses(emulator) == ["task_start"] * 2)
        await wiro.aclose()

        async def rest() -> None:
            async for item in batch:
                assert item.error is not None

        with pytest.raises(SessionClosedError):
            await rest()
    assert statuses(emulator) == ["task_cancel"] * 2


async def test_a_batch_made_outside_of_a_loop() -> None:
    """Making one needs no event loop; entering does."""
    wiro = AsyncWiro("key")
    batch = await asyncio.to_thread(wiro.batch, SLEEPER, [])
    assert batch.stats.total == 0
    await wiro.aclose()


async def test_map(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """It returns results in the order of the inputs."""
    results = await wiro.map(SLEEPER, ({**quick(n), "seconds": 20 - n} for n in range(10)), concurrency=4)
    assert [result.info.parameters["n"] for result in results] == [str(n) for n in range(10)]


async def test_map_of_nothing(wiro: AsyncWiro) -> None:
    """An empty list."""
    assert await wiro.map(SLEEPER, []) == []


async def test_map_runs_all_inputs(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """If some fail, the error at the end holds every result, in the order of the inputs."""
    inputs = [{"seconds": 20 - n, "fail": "true" if n == 1 else ""} for n in range(10)]
    with pytest.raises(BatchFailedError, match=r"(?s)1 of 10 runs failed.*item 1: .*Told to fail") as caught:
        await wiro.map(SLEEPER, inputs, concurrency=4)
    assert [item.index for item in caught.value.items] == list(range(10))
    assert [item.result is None for item in caught.value.items] == [n == 1 for n in range(10)]
    assert isinstance(caught.value.__cause__, TaskFailedError)
    assert len(emulator.ledger.submissions) == 10


async def test_map_can_return_errors(wiro: AsyncWiro) -> None:
    """With `return_exceptions` they are in the list."""
    inputs = [{"seconds": 5, "fail": "true" if n == 1 else ""} for n in range(3)]
    results = await wiro.map(SLEEPER, inputs, return_exceptions=True)
    assert [isinstance(result, TaskFailedError) for result in results] == [False, True, False]


async def test_a_cancelled_map(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """It stops all its tasks."""
    task = asyncio.create_task(wiro.map(STUCK, [{}] * 9, concurrency=3))
    await until(lambda: statuses(emulator) == ["task_start"] * 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert statuses(emulator) == ["task_cancel"] * 3
