"""Tools that raise, return or do anything: the turn goes on or ends by a `ToolError`, and the next one is right."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import anyio
import attrs
import pytest
import pytest_asyncio

from wiro_async import AsyncWiro, Conversation, InvalidInputError, ToolError, Tuning, TurnResult

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

MODEL = "owner/assistant"
LONE = "\udce9"  # of a file name that is no UTF-8


class OddError(Exception):
    """An error without a text."""

    def __str__(self) -> str:
        """Fail."""
        raise KeyError("text")


class OddBase(BaseException):
    """Something that `except Exception` does not catch."""


def raising(error: BaseException) -> Callable[[], Any]:
    """Return an async tool that raises."""

    async def tool() -> str:
        raise error

    return tool


def raising_in_a_thread(error: BaseException) -> Callable[[], Any]:
    """Return a plain tool that raises."""

    def tool() -> str:
        raise error

    return tool


def giving(output: Any) -> Callable[[], Any]:
    """Return a tool that returns something."""

    async def tool() -> Any:
        return output() if callable(output) else output

    return tool


async def cancels_its_task() -> str:
    """Cancel the own task, then wait."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)
    return "never"


async def cancels_its_task_and_returns() -> str:
    """Cancel the own task at the end."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return "done"


async def cancels_its_task_later() -> str:
    """Cancel the own task from the loop."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.01, task.cancel)
    await asyncio.sleep(1)
    return "never"


async def fails_in_a_group() -> str:
    """Raise a group with a cancellation in it."""
    async with anyio.create_task_group() as group:
        group.start_soon(raising(OddBase("within")))
        await anyio.sleep(1)
    return "never"


def recurses() -> str:
    """Recurse without end."""
    return recurses()


def exits() -> str:
    """Exit the program."""
    sys.exit(3)


def stops() -> object:
    """Ask an empty iterator."""
    return next(iter(()))


def generates() -> Iterator[int]:
    """Yield numbers."""
    yield 1


async def generates_async() -> AsyncIterator[int]:
    """Yield numbers."""
    yield 1


def endless() -> list[Any]:
    """Return a list that holds itself."""
    held: list[Any] = []
    held.append(held)
    return held


FAILING: dict[str, Callable[..., Any]] = {
    "an error": raising(ValueError("bad")),
    "an error in a thread": raising_in_a_thread(ValueError("bad")),
    "a lone surrogate": raising(ValueError(f"caf{LONE}")),
    "a lone surrogate in a thread": raising_in_a_thread(OSError(2, "gone", f"caf{LONE}")),
    "an error without a text": raising(OddError()),
    "a huge error": raising(ValueError("x" * 5_000_000)),
    "a base exception": raising(OddBase("odd")),
    "a base exception in a thread": raising_in_a_thread(OddBase("odd")),
    "an exit": raising(SystemExit(3)),
    "an exit in a thread": exits,
    "a group": raising(ExceptionGroup("many", [ValueError("a"), KeyError("b")])),
    "a base group": raising(BaseExceptionGroup("many", [OddBase("a"), KeyError("b")])),
    "a group of its own": fails_in_a_group,
    "a cancellation": raising(asyncio.CancelledError("enough")),
    "a cancellation in a thread": raising_in_a_thread(asyncio.CancelledError("enough")),
    "the end of a generator": raising(GeneratorExit()),
    "the end of an iterator": stops,
    "the end of an async iterator": raising(StopAsyncIteration()),
    "a timeout": raising(TimeoutError()),
    "its own cancellation": cancels_its_task,
    "its own cancellation at the end": cancels_its_task_and_returns,
    "its own cancellation later": cancels_its_task_later,
    "a recursion": recurses,
    "a surrogate in text": giving(f"caf{LONE}"),
    "a surrogate in a key": giving({f"caf{LONE}": 1}),
    "not a number": giving(float("nan")),
    "infinity in a list": giving([float("inf")]),
    "no JSON": giving(object),
    "a generator": generates,
    "an async generator": generates_async,
    "a list that holds itself": endless,
}
RETURNING: dict[str, Callable[..., Any]] = {
    "nothing": giving(None),
    "text": giving("fine"),
    "a huge text": giving("x" * 1_000_000),
    "bytes": giving(b"bytes"),
    "a coroutine": lambda: asyncio.sleep(0, "slept"),
}


@attrs.define
class Assistant:
    """A model that calls tools once, then answers. Each run costs 0.04 and 10 tokens."""

    raw: RawWiro
    calls: list[str] = attrs.field(factory=lambda: ["look"])
    inputs: list[dict[str, Any]] = attrs.field(factory=list[dict[str, Any]])

    async def run(self, peer: Peer) -> None:
        """Take a run, which ends at once."""
        self.inputs.append(peer.sent)
        model = unquote(peer.path.partition("/Run/")[2])
        self.raw.runs.append((model, peer.sent))
        segments: list[dict[str, Any]] = [{"type": "answer", "text": "All is well."}]
        is_asking = "toolOutputs" not in peer.sent and "tools" in peer.sent
        if is_asking:
            segments = [
                {
                    "type": "function_call",
                    "call_id": f"c-{name}",
                    "name": name,
                    "arguments": "null",
                    "status": "completed",
                }
                for name in self.calls
            ]
        content = {
            "segments": segments,
            "finishreason": "tool_calls" if is_asking else "stop",
            "usage": {"input_tokens": 4, "output_tokens": 6, "total_tokens": 10},
        }
        row = self.raw.make_task(model, {}, outputs=[{"contenttype": "raw", "content": content}])
        ids = {"taskid": row["id"], "socketaccesstoken": row["socketaccesstoken"]}
        await peer.respond_json({"result": True, "errors": [], **ids})


@pytest.fixture
def assistant(raw: RawWiro) -> Assistant:
    """The model."""
    assistant = Assistant(raw)
    raw.routes["Run"] = assistant.run
    return assistant


@pytest_asyncio.fixture
async def wiro(raw: RawWiro) -> AsyncIterator[AsyncWiro]:
    """A session that waits for stubborn tools for a moment only."""
    async with AsyncWiro(**raw.options(), updates="polling", tuning=Tuning(poll_min=0.02, tool_end=0.05)) as wiro:
        yield wiro


def named(tool: Callable[..., Any], name: str = "look") -> Callable[..., Any]:
    """Give a tool the name that the model calls."""
    tool.__name__ = name
    tool.__annotations__.pop("return", None)
    return tool


async def talk(chat: Conversation, how: str, **settings: Any) -> TurnResult[Any]:
    """Take one turn."""
    turn: TurnResult[Any]
    if how == "send":
        turn = await chat.send("Look!", **settings)
        return turn
    async with chat.stream("Look!", **settings) as stream:
        turn = await stream.result()
    return turn


async def check_next_turn(chat: Conversation, assistant: Assistant, runs: int, turns: int) -> None:
    """One more turn without tools: history, cost and usage are those of all runs."""
    assert (await chat.send("And now?", tools=[])).text == "All is well."
    assert len(chat.history) == turns + 1
    assert chat.cost == Decimal("0.04") * (runs + 1)
    assert chat.usage["total_tokens"] == 10 * (runs + 1)
    assert len(assistant.inputs) == runs + 1


@pytest.mark.parametrize("how", ["send", "stream"])
@pytest.mark.parametrize("shape", FAILING)
async def test_the_model_hears_of_the_error(assistant: Assistant, wiro: AsyncWiro, shape: str, how: str) -> None:
    """Another tool that works goes on, and the turn ends well."""
    assistant.calls = ["look", "listen"]

    async def listen() -> str:
        return "music"

    chat = wiro.conversation(MODEL, tools=[named(FAILING[shape]), listen], run_tools=True)
    with anyio.fail_after(5):
        turn = await talk(chat, how)
    assert turn.text == "All is well."
    first, second = assistant.inputs[1]["toolOutputs"]
    assert first["output"].startswith("Error: ")
    assert len(first["output"]) < 11_000
    assert (second["call_id"], second["output"]) == ("c-listen", "music")
    assert [output.failed for output in turn.tool_outputs] == [True, False]
    await check_next_turn(chat, assistant, runs=2, turns=1)


@pytest.mark.parametrize("how", ["send", "stream"])
@pytest.mark.parametrize("shape", FAILING)
async def test_the_caller_gets_the_error(assistant: Assistant, wiro: AsyncWiro, shape: str, how: str) -> None:
    """It names the run that was paid for."""
    chat = wiro.conversation(MODEL, tools=[named(FAILING[shape])], run_tools=True, on_tool_error="raise")
    with anyio.fail_after(5), pytest.raises(ToolError, match="look") as caught:
        await talk(chat, how)
    assert [task.id for task in caught.value.tasks] == ["1000"]
    str(caught.value).encode()
    await check_next_turn(chat, assistant, runs=1, turns=0)


@pytest.mark.parametrize("how", ["send", "stream"])
@pytest.mark.parametrize("shape", RETURNING)
async def test_what_can_be_sent_is_sent(assistant: Assistant, wiro: AsyncWiro, shape: str, how: str) -> None:
    """Outputs of unusual types."""
    chat = wiro.conversation(MODEL, tools=[named(RETURNING[shape])], run_tools=True)
    turn = await talk(chat, how)
    assert [output.failed for output in turn.tool_outputs] == [False]
    await check_next_turn(chat, assistant, runs=2, turns=1)


async def stubborn() -> str:
    """Do not end when cancelled, for a while."""
    for _ in range(3):
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            continue
    return "late"


async def hangs() -> str:
    """Wait indefinitely."""
    await anyio.sleep_forever()
    return "never"


@pytest.mark.parametrize("how", ["send", "stream"])
@pytest.mark.parametrize("timeout", [0.1, {"look": 0.1}, {"*": 0.1, "other": 9}])
@pytest.mark.parametrize("tool", [hangs, stubborn])
async def test_a_tool_has_a_timeout(
    assistant: Assistant, wiro: AsyncWiro, tool: Callable[..., Any], timeout: Any, how: str
) -> None:
    """It is an error of the tool."""
    chat = wiro.conversation(MODEL, tools=[named(tool)], run_tools=True, tool_timeout=timeout)
    with anyio.fail_after(1):
        turn = await talk(chat, how)
    assert turn.tool_outputs[0].output == "Error: TimeoutError: look took longer than 0.1 s"
    await check_next_turn(chat, assistant, runs=2, turns=1)
    await asyncio.sleep(0.3)  # until the stubborn one has ended


async def test_a_tool_without_a_timeout_of_its_own(assistant: Assistant, wiro: AsyncWiro) -> None:
    """Timeouts by name leave other tools alone."""

    async def slow() -> str:
        await asyncio.sleep(0.2)
        return "slow"

    chat = wiro.conversation(MODEL, tools=[named(slow)], run_tools=True, tool_timeout={"other": 0.01})
    assert (await chat.send("Look!")).tool_outputs[0].output == "slow"


@pytest.mark.parametrize("tool", [hangs, stubborn])
@pytest.mark.parametrize("how", ["send", "stream"])
async def test_the_caller_alone_cancels(
    assistant: Assistant, wiro: AsyncWiro, tool: Callable[..., Any], how: str
) -> None:
    """A cancellation of the turn ends the tools, and comes out as one."""
    chat = wiro.conversation(MODEL, tools=[named(tool)], run_tools=True)
    talking = asyncio.create_task(talk(chat, how))
    await asyncio.sleep(0.3)
    talking.cancel()
    with anyio.fail_after(1), pytest.raises(asyncio.CancelledError):
        await talking
    await check_next_turn(chat, assistant, runs=1, turns=0)
    await asyncio.sleep(0.3)  # until the stubborn one has ended


@pytest.mark.parametrize("timeout", [0, -1, True, "5", float("nan"), {"look": "5"}, {"look": -1}])
def test_timeouts_of_tools_that_are_wrong(timeout: Any) -> None:
    """They are refused by name."""
    with pytest.raises(InvalidInputError, match="tool_timeout"):
        AsyncWiro("key").conversation(MODEL, tool_timeout=timeout)


@pytest.mark.parametrize("max_turns", [0, -1, True, "3", 2.5, float("nan"), None])
@pytest.mark.parametrize("where", ["conversation", "send", "stream"])
async def test_limits_of_turns_that_are_wrong(
    assistant: Assistant, wiro: AsyncWiro, max_turns: Any, where: str
) -> None:
    """They are refused by name, before anything is sent."""

    async def give() -> None:
        if where == "conversation":
            wiro.conversation(MODEL, max_turns=max_turns)
        else:
            await talk(wiro.conversation(MODEL), where, max_turns=max_turns)

    with pytest.raises(InvalidInputError, match="max_turns is"):
        await give()
    assert assistant.inputs == []


@pytest.mark.parametrize("how", ["send", "stream"])
@pytest.mark.parametrize("name, value", [("prompt", "Hello"), ("messages", [{"role": "user", "content": "Hello"}])])
@pytest.mark.parametrize("where", ["turn", "conversation"])
async def test_a_prompt_that_is_given_twice(
    assistant: Assistant, wiro: AsyncWiro, name: str, value: Any, where: str, how: str
) -> None:
    """The contradiction is refused by name, and nothing is sent."""
    chat = wiro.conversation(MODEL, input={name: value} if where == "conversation" else None)
    settings: dict[str, Any] = {"input": {name: value}} if where == "turn" else {}
    with pytest.raises(InvalidInputError, match=r"(prompt|messages)"):
        await talk(chat, how, **settings)
    assert assistant.inputs == []
