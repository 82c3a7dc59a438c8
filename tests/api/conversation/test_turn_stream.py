"""Streams of turns: each run and each tool runs once, whatever the reader does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest

from wiro_async import (
    AsyncWiro,
    InvalidInputError,
    SessionClosedError,
    TaskFailedError,
    TextDelta,
    TextReset,
    ToolCall,
    ToolOutput,
    Tuning,
    UsageError,
    WiroError,
)
from wiro_async.testing import ModelScript, RawOutput, Respond, RunInput, Script, Step, WiroEmulator, timeline

if TYPE_CHECKING:
    from tests.conftest import Until

MODEL = "emulator/assistant"
QUICK = {"seconds": 0.1}
CALL = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "pay", "status": "completed"}


@attrs.define
class Till:
    """A tool that must not be run twice."""

    paid: list[int] = attrs.field(factory=list)

    async def pay(self, amount: int) -> str:
        """Pay."""
        self.paid.append(amount)
        return f"paid {amount}"


def asking(*calls: dict[str, Any]) -> ModelScript:
    """A model that makes these calls, then answers."""

    def script(given: RunInput) -> Script:
        content: dict[str, Any] = {"segments": list(calls), "finishreason": "tool_calls"}
        if given.has("toolOutputs"):
            outputs = given.json("toolOutputs")
            content = {"segments": [{"type": "answer", "text": f"got {outputs}"}], "finishreason": "stop"}
        return Script(timeline(2, [Step("task_output", content)]), (RawOutput(content),))

    return ModelScript("my/cashier", script, tool={"categories": ["llm"]})


@contextlib.asynccontextmanager
async def cashier(*calls: dict[str, Any]) -> AsyncGenerator[tuple[WiroEmulator, AsyncWiro]]:
    """A session with that model."""
    with WiroEmulator(speed=50, models=[asking(*calls)]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro:
            yield emulator, wiro


@pytest.mark.parametrize(
    "calls, paid",
    [
        ([{**CALL, "arguments": '{"amount": 5}'}] * 2, [5]),
        ([{**CALL, "call_id": None, "arguments": '{"amount": 5}'}] * 2, [5]),
        ([{**CALL, "arguments": {"amount": 7}}], [7]),
        ([{**CALL, "id": "", "call_id": None, "arguments": {"amount": amount}} for amount in (1, 2)], [1, 2]),
    ],
)
async def test_each_call_is_run_once(short_timing: Tuning, calls: list[dict[str, Any]], paid: list[int]) -> None:
    """Calls may be reported repeatedly and in several shapes. Each is run once, with its arguments."""
    till = Till()
    async with cashier(*calls) as (emulator, wiro):
        chat = wiro.conversation("my/cashier", tools=[till.pay], run_tools=True)
        turn = await chat.send("x")
        assert sorted(till.paid) == paid
        assert turn.text.count("paid") == len(turn.tool_outputs) == len(paid)
        async with chat.stream("x") as stream:
            events = [event async for event in stream]
        assert sum(isinstance(event, ToolCall) for event in events) == len(paid)
        assert sorted(till.paid) == sorted(paid * 2)
        assert len(emulator.ledger.submissions) == 4


async def test_a_stream_is_one_turn(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Entering it again would be billed again."""
    chat = wiro.conversation(MODEL, input=QUICK)
    stream = chat.stream("How is Rome?")
    async with stream:
        await stream.result()
    with pytest.raises(UsageError, match="entered before"):
        async with stream:
            pytest.fail("not reached")
    assert len(emulator.ledger.submissions) == len(chat.history) == 1
    assert (await chat.send("And Paris?")).succeeded


async def test_a_reader_with_a_heartbeat(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A reader that waits for short times disturbs neither the tools nor the next run."""
    called = list[str]()

    async def look(city: str) -> str:
        called.append(city)
        await asyncio.sleep(0.3)
        return city

    chat = wiro.conversation(MODEL, input=QUICK, tools=[look], run_tools=True)
    beats, events = 0, list[Any]()
    async with chat.stream("How is it in Rome?") as stream:
        while True:
            try:
                events.append(await asyncio.wait_for(anext(stream), 0.02))
            except TimeoutError:
                beats += 1
            except StopAsyncIteration:
                break
        assert "look says Rome" in (await stream.result()).text
    assert beats
    assert called == ["Rome"]
    assert [type(event) for event in events if not isinstance(event, TextDelta)] == [ToolCall, ToolOutput]
    assert len(emulator.ledger.submissions) == 2


async def test_leaving_while_tools_run(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """They are cancelled and have ended when the stream is left. The conversation takes another turn."""
    started, ended = asyncio.Event(), False

    async def wait(city: str) -> None:
        nonlocal ended
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended = True

    chat = wiro.conversation(MODEL, input=QUICK, tools=[wait], run_tools=True)
    async with chat.stream("How is it in Rome?") as stream:
        reading = asyncio.create_task(stream.result())
        await started.wait()
    assert ended
    with pytest.raises(WiroError, match="left before its end"):
        await reading
    assert len(emulator.ledger.submissions) == 1
    assert emulator.ledger.count("Task/Kill") == emulator.ledger.count("Task/Cancel") == 0
    assert wiro.statistics().owned_tasks == 0
    assert (await chat.send("How is Rome?", run_tools=False)).succeeded


async def test_closing_the_session_while_tools_run(wiro: AsyncWiro) -> None:
    """The reader gets the error."""
    started = asyncio.Event()

    async def wait(city: str) -> None:
        started.set()
        await asyncio.sleep(60)

    chat = wiro.conversation(MODEL, input=QUICK, tools=[wait], run_tools=True)
    async with chat.stream("How is it in Rome?") as stream:
        reading = asyncio.create_task(stream.result())
        await started.wait()
        await wiro.aclose()
        with pytest.raises(SessionClosedError):
            await reading


async def test_two_readers(wiro: AsyncWiro) -> None:
    """The second would take events from the first, so it is refused."""
    chat = wiro.conversation(MODEL, input={"seconds": 500})
    async with chat.stream("How is it in Rome?") as stream, anyio.create_task_group() as group:
        group.start_soon(stream.result)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(UsageError, match="already being iterated"):
            await anext(stream)
        group.cancel_scope.cancel()


async def test_a_turn_that_is_over_is_not_stopped(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """Not even if its text was not read to the end."""
    chat = wiro.conversation(MODEL, input={"seconds": 2})
    async with chat.stream("How is Rome?") as stream:
        await anext(stream)
        await until(lambda: stream.is_over)
    assert emulator.ledger.count("Task/Kill") == emulator.ledger.count("Task/Cancel") == 0


async def test_closing_instead_of_leaving(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """`aclose` leaves the stream, any number of times. Before entering there is nothing to do."""
    chat = wiro.conversation(MODEL, input={"seconds": 500})
    async with contextlib.aclosing(chat.stream("never sent")):
        pass
    async with chat.stream("How is Rome?") as stream:
        await anext(stream)
        await stream.aclose()
        await stream.aclose()
        assert [task.status for task in emulator.ledger.tasks.values()] == ["task_cancel"]
        assert (await chat.send("How is Rome?", input=QUICK)).succeeded
    assert wiro.statistics().owned_tasks == 0


async def test_a_text_that_only_the_log_holds(short_timing: Tuning) -> None:
    """The joined deltas are the text of the result, for both kinds. The log has no thoughts of its own to put there."""
    said = {"thinking": ["hm"], "answer": ["Once"]}
    steps = [Step("task_output", said), Step("task_output", {**said, "answer": ["Once upon"]}, log="Once upon a time")]
    model = ModelScript("text/forgetful", lambda given: Script(timeline(20, steps)))
    with WiroEmulator(speed=50, models=[model]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro:
            text = {"thinking": "", "answer": ""}
            async with wiro.conversation("text/forgetful").stream("x") as stream:
                async for event in stream:
                    assert isinstance(event, TextDelta | TextReset)
                    text[event.kind] = text[event.kind] + event.text if isinstance(event, TextDelta) else ""
                result = await stream.result()
            assert (
                text
                == {"thinking": result.thinking, "answer": result.text}
                == {"thinking": "hm", "answer": "Once upon a time"}
            )
            assert stream.text_so_far == result.text


@pytest.mark.parametrize("how", ["send", "stream"])
async def test_a_later_run_that_fails_names_the_earlier_ones(emulator: WiroEmulator, wiro: AsyncWiro, how: str) -> None:
    """A note names them, because they are billed."""

    async def look(city: str) -> str:
        emulator.faults.http("Run/*", Respond(200, '{"result":false,"errors":[{"code":97,"message":"balance"}]}'))
        return city

    chat = wiro.conversation(MODEL, input=QUICK, tools=[look], run_tools=True)

    async def ask() -> None:
        if how == "send":
            await chat.send("How is it in Rome?")
        else:
            async with chat.stream("How is it in Rome?") as stream:
                await stream.result()

    with pytest.raises(WiroError) as caught:
        await ask()
    [submission] = emulator.ledger.submissions
    assert any(submission.task_id in note and "paid" in note for note in caught.value.__notes__)
    assert submission.token not in str(caught.value.__notes__)


async def test_a_first_run_that_fails(wiro: AsyncWiro) -> None:
    """Its error has no note."""
    chat = wiro.conversation("emulator/failing", input={"seconds": 1})
    with pytest.raises(TaskFailedError) as caught:
        await chat.send("x")
    assert not hasattr(caught.value, "__notes__")
    with pytest.raises(TaskFailedError):
        async with chat.stream("x") as stream:
            await stream.result()
    with pytest.raises(InvalidInputError):
        await chat.send("")
