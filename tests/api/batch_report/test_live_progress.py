"""The live progress of a batch."""

from __future__ import annotations

import io
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal

import anyio
import pytest

from wiro_async import AsyncWiro, BatchStats
from wiro_async._api.batch_report import live_progress as progress
from wiro_async._tuning import Tuning
from wiro_async.testing import WiroEmulator

STATS = BatchStats(10, 8, 3, 4, 1, 1, Decimal("0.2"), 2.0, 2.5, 61.6, 2, Decimal(1))
SHOWN = "4/10 done, 1 failed, 1 skipped, 3 in flight, 2 queued, 2.5 a second, 1:02 left, $0.20 of $1.00"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_one_line() -> None:
    """It has all numbers."""
    assert progress.line(STATS) == f"wiro: {SHOWN}"


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (59.6, "1:00"), (3723, "1:02:03")])
def test_durations(seconds: float, text: str) -> None:
    """Minutes and seconds, and hours where there are some."""
    assert progress.duration(seconds) == text


async def test_a_function_is_called(wiro: AsyncWiro) -> None:
    """The last call has the final numbers."""
    seen: list[BatchStats] = []
    async with wiro.batch("emulator/sleeper", [{"seconds": 0.1}] * 3, progress=seen.append) as batch:
        await batch.results()
    assert seen[-1].succeeded == 3
    assert seen[-1].in_flight == 0
    assert seen[0].total == 3


async def test_a_coroutine_function_is_awaited(wiro: AsyncWiro) -> None:
    """It is awaited."""
    seen: list[BatchStats] = []

    async def listener(stats: BatchStats) -> None:
        seen.append(stats)

    async with wiro.batch("emulator/sleeper", [{"seconds": 0.1}], progress=listener) as batch:
        await batch.results()
    assert seen[-1].succeeded == 1


async def test_a_function_that_fails(wiro: AsyncWiro, caplog: pytest.LogCaptureFixture) -> None:
    """It is not called again, which is logged once. The batch continues."""
    calls = []

    def listener(stats: BatchStats) -> None:
        calls.append(stats)
        raise ValueError("oops")

    async with wiro.batch("emulator/sleeper", [{"seconds": 0.1}] * 3, progress=listener) as batch:
        assert len(await batch.results()) == 3
    assert len(calls) == 1
    assert caplog.text.count("no longer shown") == 1


@pytest.mark.tuning(progress_last=0.1)
@pytest.mark.parametrize("stuck_at", ["start", "end"])
async def test_a_function_that_never_returns(wiro: AsyncWiro, caplog: pytest.LogCaptureFixture, stuck_at: str) -> None:
    """The wait for its last call times out, which is logged, and the batch ends."""

    async def listener(stats: BatchStats) -> None:
        if stuck_at == "start" or stats.succeeded == 3:
            await anyio.sleep_forever()

    async with wiro.batch("emulator/sleeper", [{"seconds": 0.1}] * 3, progress=listener) as batch:
        with anyio.fail_after(20):
            assert len(await batch.results()) == 3
    assert "did not take the last progress within 0.1 s" in caplog.text


class Broken(io.StringIO):
    """A pipe whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


class Closed(io.StringIO):
    """A stream that was closed."""

    def isatty(self) -> bool:
        raise ValueError("I/O operation on closed file")


@pytest.mark.tuning(progress_line_interval=0.0)
@pytest.mark.parametrize(
    "stream, failures", [(Broken(), 1), (Closed(), 1), (None, 0)], ids=["broken", "closed", "none"]
)
async def test_no_stream_to_write_to(
    emulator: WiroEmulator,
    wiro: AsyncWiro,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stream: io.StringIO | None,
    failures: int,
) -> None:
    """A standard error stream that is broken, closed or missing, as in a service, does not end a batch."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        async with wiro.batch("emulator/sleeper", [{"seconds": 0.5}] * 4, progress=True) as batch:
            assert len(await batch.results()) == 4
    assert caplog.text.count("no longer shown") == failures
    assert len(emulator.ledger.submissions) == 4


async def test_lines_without_a_terminal(wiro: AsyncWiro, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the last state, each in a line."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    async with wiro.batch("emulator/sleeper", [{"seconds": 0.1}] * 3, progress=True) as batch:
        await batch.results()
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("wiro: 0/3 done")
    assert lines[-1].startswith("wiro: 3/3 done")


async def test_a_live_display_on_a_terminal(wiro: AsyncWiro, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn in its place, and the last numbers stay."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")
    async with wiro.batch("emulator/sleeper", [{"seconds": 0.1}] * 3, progress=True) as batch:
        await batch.results()
    assert "3/3" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


def test_without_rich(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Lines, and a hint."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert isinstance(progress.display(Tuning()), progress.Lines)
    assert "wiro-async[cli]" in caplog.text


async def test_queued_tasks_are_counted(
    wiro: AsyncWiro, until: Callable[[Callable[[], object]], Awaitable[None]]
) -> None:
    """A task that has not left the queue counts as queued."""
    async with wiro.batch("emulator/queued", [{}] * 2, concurrency=2) as batch:
        await until(lambda: batch.stats.queued == 2)
        assert batch.stats.in_flight == 2
