"""`stream()`: text as it is written."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import pytest

from wiro_async import (
    AsyncWiro,
    InvalidInputError,
    TaskCancelledError,
    TaskFailedError,
    TextDelta,
    TextReset,
    Tuning,
    WiroError,
)
from wiro_async._types import UpdateMode
from wiro_async.testing import ModelScript, RawOutput, Script, Step, WiroEmulator
from wiro_async.testing import timeline as played

if TYPE_CHECKING:
    from tests.conftest import Until

STORY = {"prompt": "a lighthouse", "seconds": 15}


def statuses(emulator: WiroEmulator) -> list[str]:
    """Return the status of each task."""
    return [task.status for task in emulator.ledger.tasks.values()]


async def test_text_comes_in_pieces(wiro: AsyncWiro) -> None:
    """Thinking and answer, each piece once. Joined they are the text of the result."""
    async with wiro.stream("emulator/writer", STORY) as stream:
        deltas = [delta async for delta in stream]
        result = await stream.result()
    answer = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta) and delta.kind == "answer")
    assert len(deltas) > 3
    assert answer == stream.text_so_far == result.text


def gathered(deltas: list[TextDelta | TextReset]) -> dict[str, str]:
    """Return the text of a reader that joins deltas and clears at resets."""
    text = {"thinking": "", "answer": ""}
    for delta in deltas:
        text[delta.kind] = text[delta.kind] + delta.text if isinstance(delta, TextDelta) else ""
    return text


@pytest.mark.parametrize("progress", ["auto", "sse", "polling"])
@pytest.mark.parametrize("way", ["growing", "rewriting", "late", "wrapped"])
async def test_every_way_of_writing(
    emulator: WiroEmulator, short_timing: Tuning, progress: UpdateMode, way: str
) -> None:
    """In every form and over every feed, the pieces make up the result's text, without any tags."""
    async with (
        AsyncWiro(**emulator.options(), updates=progress) as wiro,
        wiro.stream(f"text/{way}", STORY) as stream,
    ):
        deltas = [delta async for delta in stream]
        result = await stream.result()
    assert gathered(deltas) == {"thinking": result.thinking, "answer": result.text}
    assert (stream.thinking_so_far, stream.text_so_far) == (result.thinking, result.text)
    assert result.thinking
    assert len(result.text) > 300
    assert "answer>" not in result.text
    assert any(isinstance(delta, TextReset) for delta in deltas) == (way == "rewriting" and progress != "polling")


@pytest.mark.parametrize("generation", ["raw", "lists", "segments"])
async def test_every_generation(wiro: AsyncWiro, generation: str) -> None:
    """Text comes in pieces, with a kind if the model reports kinds."""
    async with wiro.stream("text/growing", {**STORY, "generation": generation}) as stream:
        deltas = [delta async for delta in stream]
        result = await stream.result()
    assert len(deltas) > 3
    assert gathered(deltas) == {"thinking": result.thinking, "answer": result.text}
    assert bool(result.thinking) == (generation != "raw")


async def test_text_so_far(wiro: AsyncWiro) -> None:
    """It grows with the pieces read, and contains no thinking."""
    async with wiro.stream("emulator/writer", STORY) as stream:
        assert stream.text_so_far == ""
        read = ""
        async for delta in stream:
            if isinstance(delta, TextDelta) and delta.kind == "answer":
                read += delta.text
            assert stream.text_so_far == read


async def test_the_result_without_reading(wiro: AsyncWiro) -> None:
    """Text that was not read is skipped, and kept in `text_so_far`."""
    async with wiro.stream("emulator/writer", STORY) as stream:
        result = await stream.result()
        assert (await stream.result()).info == result.info
    assert stream.text_so_far == result.text


async def test_a_stream_read_to_its_end_is_not_stopped(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Neither kill nor cancel is sent."""
    async with wiro.stream("emulator/writer", STORY) as stream:
        async for _ in stream:
            pass
    assert statuses(emulator) == ["task_postprocess_end"]
    assert emulator.ledger.count("Task/Kill") == emulator.ledger.count("Task/Cancel") == 0


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_leaving_early_stops_the_task(
    emulator: WiroEmulator, wiro: AsyncWiro, error: type[BaseException]
) -> None:
    """Any error in the block does."""

    async def leave() -> None:
        async with wiro.stream("emulator/writer", {**STORY, "seconds": 500}) as stream:
            await anext(stream)
            raise error

    with pytest.raises(error):
        await leave()
    assert statuses(emulator) == ["task_cancel"]
    assert wiro.statistics().owned_tasks == 0


async def test_leaving_early_may_leave_the_task(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """With on_cancel="leave" the task continues, and its handle can pick it up."""
    async with wiro.stream("emulator/writer", STORY, on_cancel="leave") as stream:
        await anext(stream)
    assert wiro.statistics().watched_tasks == 0
    assert (await stream.handle).succeeded
    assert statuses(emulator) == ["task_postprocess_end"]


async def test_a_stream_that_is_stopped_through_its_handle(wiro: AsyncWiro) -> None:
    """The reader gets TaskCancelledError."""
    async with wiro.stream("emulator/writer", {**STORY, "seconds": 500}) as stream:
        await anext(stream)
        await stream.handle.cancel()
        with pytest.raises(TaskCancelledError):
            async for _ in stream:
                pass


async def test_a_failed_stream(wiro: AsyncWiro) -> None:
    """The error is raised where the text would come."""
    async with wiro.stream("emulator/failing", {"seconds": 5}) as stream:
        with pytest.raises(TaskFailedError, match="CUDA"):
            async for _ in stream:
                pass
        with pytest.raises(TaskFailedError):
            await stream.result()


async def test_a_text_that_is_only_in_the_log() -> None:
    """Without text in the outputs, the log is the text of the result and of the stream."""
    steps = [Step("task_output", {"raw": "Once"}), Step("task_output", {"raw": "Once upon"}, log="Once upon a time")]
    model = ModelScript("text/forgetful", lambda given: Script(played(20, steps)))
    with WiroEmulator(speed=50, models=[model]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro, wiro.stream("text/forgetful") as stream:
            deltas = [delta async for delta in stream]
            assert gathered(deltas)["answer"] == (await stream.result()).text == "Once upon a time"


async def test_a_stream_is_one_run(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Entering it again would be billed again, so it raises."""
    stream = wiro.stream("emulator/writer", STORY)
    async with stream:
        pass
    with pytest.raises(WiroError, match="entered before"):
        async with stream:
            pytest.fail("not reached")
    assert len(emulator.ledger.submissions) == 1


async def test_a_stream_left_when_its_task_is_over(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """There is nothing to stop, even if text is unread."""
    async with wiro.stream("emulator/writer", STORY) as stream:
        await anext(stream)
        await until(lambda: wiro.statistics().watched_tasks and stream.is_over)
    assert emulator.ledger.count("Task/Kill") == emulator.ledger.count("Task/Cancel") == 0


async def test_a_refused_stream(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """No task was made, so nothing is stopped."""
    with pytest.raises(InvalidInputError, match="prompt"):
        async with wiro.stream("emulator/writer", {"seconds": 5}):
            pytest.fail("not reached")
    assert not emulator.ledger.submissions


async def test_a_stream_that_was_not_entered(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The error states how to use it, and nothing is sent."""
    stream = wiro.stream("emulator/writer", STORY)
    for use in (lambda: anext(stream), stream.result):
        with pytest.raises(WiroError, match="async with"):
            await use()
    with pytest.raises(WiroError, match="async with"):
        _ = stream.handle
    assert not emulator.ledger.calls


async def test_a_text_that_is_taken_back(until: Until) -> None:
    """A reset is yielded, and `text_so_far` starts over."""

    def said(text: str) -> Step:
        return Step(
            "task_output", {"type": "answer", "raw": text, "answer": [text], "thinking": [], "isThinking": False}
        )

    steps = [said("Once upon"), said("Once upon a time"), said("In the beginning"), said("In the beginning was")]
    outputs = (
        RawOutput({"prompt": "", "raw": "In the beginning was", "answer": ["In the beginning was"], "thinking": []}),
    )
    model = ModelScript("emulator/fickle", lambda given: Script(played(20, steps), outputs))
    with WiroEmulator(speed=50, models=[model]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro, wiro.stream("emulator/fickle") as stream:
            deltas = [delta async for delta in stream]
    assert any(isinstance(delta, TextReset) for delta in deltas)
    assert stream.text_so_far == "In the beginning was"


async def test_two_readers(wiro: AsyncWiro) -> None:
    """The second would take events from the first, so it raises."""
    async with wiro.stream("emulator/writer", {**STORY, "seconds": 500}) as stream, anyio.create_task_group() as group:
        group.start_soon(stream.result)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(WiroError, match="already being iterated"):
            await stream.result()
        group.cancel_scope.cancel()


async def test_closing_instead_of_leaving(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """`aclose` leaves the stream, any number of times. Before entering there is nothing to do."""
    async with contextlib.aclosing(wiro.stream("emulator/writer", STORY)):
        pass
    assert not emulator.ledger.submissions
    async with wiro.stream("emulator/writer", {**STORY, "seconds": 500}) as stream:
        await anext(stream)
        await stream.aclose()
        await stream.aclose()
        assert statuses(emulator) == ["task_cancel"]
    assert emulator.ledger.count("Task/Cancel") == 1


async def test_a_stream_that_is_forgotten(wiro: AsyncWiro) -> None:
    """Its task continues until the session is closed, so a warning names the model."""
    stream = wiro.stream("emulator/writer", {**STORY, "seconds": 500})
    await stream.__aenter__()

    def forget() -> None:
        nonlocal stream
        del stream
        gc.collect()

    with pytest.warns(ResourceWarning, match=r"emulator/writer.*async with"):
        forget()
    assert wiro.statistics().owned_tasks == 1
    await wiro.aclose()
    assert wiro.statistics().owned_tasks == 0


async def test_streams_that_are_not_forgotten(wiro: AsyncWiro) -> None:
    """No warning for streams that were left, not entered, refused, or whose task may continue."""
    wiro.stream("emulator/writer", STORY)
    with suppress(InvalidInputError):
        await wiro.stream("emulator/writer", {"seconds": 5}).__aenter__()
    async with wiro.stream("emulator/writer", STORY) as stream:
        await stream.result()
    del stream
    await wiro.stream("emulator/writer", STORY, on_cancel="leave").__aenter__()
    gc.collect()


async def test_printing_without_handling_resets(wiro: AsyncWiro) -> None:
    """A reset has a text too, which is empty."""
    assert TextReset().text == ""
    async with wiro.stream("text/rewriting", STORY) as stream:
        shown = "".join([delta.text async for delta in stream])
    assert shown.endswith(stream.text_so_far)
