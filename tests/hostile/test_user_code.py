"""What the user's own code raises reaches the user, and no code of the user can stretch a timeout or lose a result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest
import pytest_asyncio

from wiro_async import (
    AsyncWiro,
    Batch,
    BatchFailedError,
    BatchItem,
    BatchStats,
    File,
    RunRequest,
    TaskTimeoutError,
    Timeouts,
    Tuning,
    UsageError,
)

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

MODEL = "owner/model"
QUICK = Tuning(poll_first=0.05, poll_silence=0.1, poll_min=0.02, stop_pause=0.02, socket_close=0.1)


class OwnError(BaseException):
    """An error that is no `Exception`, as some libraries have."""


ENDS = [KeyboardInterrupt, SystemExit, GeneratorExit, OwnError]


@pytest.fixture(autouse=True)
def models(raw: RawWiro) -> None:
    """`owner/stuck` runs on, `owner/failing` fails, every other model succeeds."""

    async def run(peer: Peer) -> None:
        model = peer.path.partition("/Run/")[2]
        made = raw.take_run(model, peer.sent)
        row = raw.rows[made["taskid"]]
        if model == "owner/stuck":
            row.update(status="task_start", pexit="", endtime="0", outputs=[])
        elif model == "owner/failing":
            row.update(pexit="1", outputs=[])
        await peer.respond_json(made)

    async def stop(peer: Peer) -> None:
        asked = (peer.sent.get("taskid"), peer.sent.get("tasktoken"))
        row = next(row for row in raw.rows.values() if row["id"] in asked or row["socketaccesstoken"] in asked)
        row.update(status="task_cancel", pexit="")
        await peer.respond_json({"result": True, "errors": [], "tasklist": [row]})

    raw.routes |= {"Run": run, "Task/Kill": stop, "Task/Cancel": stop}


@pytest_asyncio.fixture
async def raw_wiro(raw: RawWiro) -> AsyncIterator[AsyncWiro]:
    """A session that polls often."""
    async with AsyncWiro(**raw.options(), tuning=QUICK) as wiro:
        yield wiro


@attrs.define
class Raising:
    """Functions of the user that raise an error at their first call."""

    kind: type[BaseException]

    def function(self, *_: object) -> Any:
        raise self.kind("mine")

    async def coroutine(self, *_: object) -> Any:
        await asyncio.sleep(0)
        raise self.kind("mine")

    def inputs(self) -> Iterator[RunRequest]:
        yield RunRequest(MODEL, {})
        raise self.kind("mine")

    async def async_inputs(self) -> AsyncIterator[RunRequest]:
        for request in self.inputs():
            yield request

    async def data(self) -> AsyncIterator[bytes]:
        yield bytes(1000)
        raise self.kind("mine")


@attrs.define(eq=False)
class Inputs:
    """An iterator that is no generator, and raises after its first item."""

    kind: type[BaseException]
    count: int = 0

    def __iter__(self) -> Inputs:
        return self

    def __next__(self) -> RunRequest:
        self.count += 1
        if self.count > 1:
            raise self.kind("mine")
        return RunRequest(MODEL, {})


def batches(raising: Raising) -> dict[str, tuple[Any, dict[str, Any]]]:
    """The requests and the options of batches with code of the user."""
    stuck, failing = [RunRequest("owner/stuck", {})], [RunRequest("owner/failing", {})]
    upload = [RunRequest(MODEL, {"file": File(raising.data(), "x.bin")}), *stuck]
    watched = [RunRequest(MODEL, {"file": File(b"abc", "x.bin", on_progress=raising.function)}), *stuck]
    return {
        "progress": (stuck, {"progress": raising.function}),
        "async progress": (stuck, {"progress": raising.coroutine}),
        "retry_if": ([*failing, *stuck], {"retries": 1, "retry_if": raising.function}),
        "async retry_if": ([*failing, *stuck], {"retries": 1, "retry_if": raising.coroutine}),
        "inputs": (Inputs(raising.kind), {}),
        "inputs of a generator": (raising.inputs(), {}),
        "async inputs": (raising.async_inputs(), {}),
        "data of a file": (upload, {}),
        "on_progress of a file": (watched, {}),
    }


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("place", batches(Raising(OwnError)))
async def test_an_end_of_the_program_reaches_the_reader_of_a_batch(
    raw: RawWiro, raw_wiro: AsyncWiro, place: str, kind: type[BaseException]
) -> None:
    """At once, after the items that ended before; what still ran was stopped."""
    requests, options = batches(Raising(kind))[place]
    with anyio.fail_after(5):
        async with raw_wiro.batch(requests, **options) as batch:
            with pytest.raises(kind):
                await batch.results()
    assert all(row["status"] != "task_start" for row in raw.rows.values())


@pytest.mark.parametrize("place", ["progress", "retry_if", "inputs", "data of a file"])
async def test_an_end_of_the_program_reaches_those_who_leave_a_batch(raw_wiro: AsyncWiro, place: str) -> None:
    """They have read nothing of it."""
    requests, options = batches(Raising(OwnError))[place]
    with pytest.raises(OwnError):
        async with raw_wiro.batch(requests, **options):
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("place", ["retry_if", "async retry_if"])
async def test_cancelled_error_of_retry_if(raw_wiro: AsyncWiro, place: str) -> None:
    """It comes with its item; the other items go on."""
    _, options = batches(Raising(asyncio.CancelledError))[place]
    models = ["owner/failing", MODEL, MODEL]
    with anyio.fail_after(5):
        async with raw_wiro.batch([RunRequest(model, {}) for model in models], order="input", **options) as batch:
            items = await batch.results()
    assert [item.result is not None for item in items] == [False, True, True]
    assert isinstance(items[0].error, UsageError)
    assert isinstance(items[0].error.__cause__, asyncio.CancelledError)
    assert "the failure of task" in items[0].error.__notes__[0]


@pytest.mark.parametrize("place", ["inputs", "inputs of a generator", "async inputs"])
async def test_cancelled_error_of_inputs(raw_wiro: AsyncWiro, place: str) -> None:
    """It ends the inputs, and comes after the items of those before."""
    requests, options = batches(Raising(asyncio.CancelledError))[place]
    with anyio.fail_after(5):
        async with raw_wiro.batch(requests, **options) as batch:
            assert (await anext(batch)).error is None
            with pytest.raises(UsageError, match="CancelledError"):
                await anext(batch)


@pytest.mark.parametrize("place", ["progress", "async progress"])
async def test_cancelled_error_of_progress(raw_wiro: AsyncWiro, place: str, caplog: pytest.LogCaptureFixture) -> None:
    """The display is given up, as after any other error; the batch goes on."""
    _, options = batches(Raising(asyncio.CancelledError))[place]
    with anyio.fail_after(5):
        async with raw_wiro.batch(MODEL, [{}] * 3, **options) as batch:
            items = await batch.results()
    assert [item.error for item in items] == [None] * 3
    assert "its display failed" in caplog.text


@pytest.mark.parametrize("updates", ["polling", "sse"])
@pytest.mark.parametrize("place", ["data", "function", "coroutine"])
@pytest.mark.parametrize("kind", [*ENDS, asyncio.CancelledError, ValueError])
async def test_what_an_upload_raises(raw: RawWiro, place: str, kind: type[BaseException], updates: Any) -> None:
    """It is not taken for the end of the session, and nothing was run."""
    raising = Raising(kind)
    listener: Callable[..., Any] = getattr(raising, place)
    file = File(raising.data(), "x.bin") if place == "data" else File(bytes(9), "x.bin", on_progress=listener)
    expected = UsageError if kind is asyncio.CancelledError else kind
    async with AsyncWiro(**raw.options(), updates=updates, tuning=QUICK) as wiro:
        with anyio.fail_after(5), pytest.raises(expected, match="CancelledError" if expected is UsageError else "mine"):
            await wiro.run(MODEL, {"file": file})
        assert not raw.runs
        await wiro.run(MODEL, {"prompt": "the session is open"})


@pytest.mark.parametrize("kind", [*ENDS, asyncio.CancelledError, ValueError])
@pytest.mark.parametrize("name", ["function", "coroutine"])
async def test_what_on_event_raises(raw: RawWiro, raw_wiro: AsyncWiro, kind: type[BaseException], name: str) -> None:
    """It comes out of `run`, and the task was stopped. An error names the task, which may have been paid for."""
    with anyio.fail_after(5), pytest.raises(kind, match="mine") as raised:
        await raw_wiro.run("owner/stuck", on_event=getattr(Raising(kind), name), timeout=4)
    assert raw.rows["1000"]["status"] == "task_cancel"
    if kind is ValueError:
        assert "1000" in raised.value.__notes__[0]


@pytest.mark.parametrize("kind", [*ENDS, asyncio.CancelledError])
async def test_what_a_callback_url_raises(raw: RawWiro, kind: type[BaseException]) -> None:
    """The function is called for each run."""
    expected = UsageError if kind is asyncio.CancelledError else kind
    async with AsyncWiro(**raw.options(), callback_url=Raising(kind).function) as wiro:
        with pytest.raises(expected):
            await wiro.run(MODEL)
        with anyio.fail_after(5), pytest.raises(BatchFailedError if expected is UsageError else kind) as raised:
            await wiro.map(MODEL, [{}])
        assert expected is kind or isinstance(raised.value.__cause__, UsageError)
    assert not raw.runs


TIMEOUTS = [Timeouts(run=0.6), Timeouts(queue=0.6), Timeouts(idle=0.6)]


@pytest.mark.parametrize("timeouts", TIMEOUTS, ids=["run", "queue", "idle"])
async def test_a_slow_on_event_stretches_no_timeout(raw: RawWiro, raw_wiro: AsyncWiro, timeouts: Timeouts) -> None:
    """It is cancelled with the task, in time."""

    async def run(peer: Peer) -> None:
        made = raw.take_run(MODEL, peer.sent)
        raw.rows[made["taskid"]].update(status="task_queue", pexit="", starttime="0", endtime="0", outputs=[])
        await peer.respond_json(made)

    async def slow(_: object) -> None:
        await asyncio.sleep(15)

    raw.routes["Run"] = run
    began = anyio.current_time()
    with pytest.raises(TaskTimeoutError) as raised:
        await raw_wiro.run(MODEL, timeout=timeouts, on_event=slow)
    assert anyio.current_time() - began < 2.5
    assert raised.value.task_id == "1000"
    assert raw.rows["1000"]["status"] == "task_cancel"


@pytest.mark.parametrize("place", ["data", "on_progress"])
async def test_a_slow_upload_stretches_no_timeout(raw: RawWiro, raw_wiro: AsyncWiro, place: str) -> None:
    """Nothing was run."""

    async def slow(*_: object) -> None:
        await asyncio.sleep(15)

    async def data() -> AsyncIterator[bytes]:
        yield bytes(10)
        await slow()

    file = File(data(), "x.bin") if place == "data" else File(bytes(10), "x.bin", on_progress=slow)
    began = anyio.current_time()
    with pytest.raises(TaskTimeoutError):
        await raw_wiro.run(MODEL, {"file": file}, timeout=0.6)
    assert anyio.current_time() - began < 2.5
    assert not raw.runs


async def test_an_end_of_the_program_loses_no_item_that_ended(
    raw: RawWiro, raw_wiro: AsyncWiro, tmp_path: Path
) -> None:
    """Items that wait for their outputs come without them, before the error."""

    async def never(peer: Peer) -> None:
        await peer.gone()

    raw.routes |= {f"files/{number}.png": never for number in range(1000, 1040)}

    def progress(stats: BatchStats) -> None:
        if stats.succeeded == 21:  # 16 are being saved, and 5 wait for that
            raise OwnError

    items = list[BatchItem]()

    async def read(batch: Batch) -> None:
        async for item in batch:
            items.append(item)

    with anyio.fail_after(5):
        async with raw_wiro.batch(MODEL, [{}] * 21, concurrency=5, save_to=tmp_path, progress=progress) as batch:
            with pytest.raises(OwnError):
                await read(batch)
    assert len(items) == 21
    assert all(item.result is not None and not item.saved for item in items)


async def test_a_slow_on_event_loses_no_result(raw_wiro: AsyncWiro, caplog: pytest.LogCaptureFixture) -> None:
    """The task is over and paid for when the timeout passes: its result comes in time."""
    called = 0

    async def slow(_: object) -> None:
        nonlocal called
        called += 1
        await asyncio.sleep(15)

    began = anyio.current_time()
    result = await raw_wiro.run(MODEL, timeout=1.5, on_event=slow)
    assert anyio.current_time() - began < 3
    assert result.outputs
    assert called == 1
    assert "on_event was too slow" in caplog.text
