"""Conversations: turns, tools, streams, costs and cancellation."""

from __future__ import annotations

import asyncio
import pickle
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from wiro_async import (
    AsyncWiro,
    ConversationBusyError,
    File,
    FinishReasonError,
    InvalidInputError,
    ResponseFormatError,
    TaskCancelledError,
    TaskResult,
    TaskTimeoutError,
    TextDelta,
    TextReset,
    ToolCall,
    ToolError,
    ToolOutput,
    TurnLimitError,
    UsageError,
    WiroError,
)
from wiro_async.testing import ModelScript, RawOutput, ResetAfter, RunInput, Script, Step, WiroEmulator, timeline

if TYPE_CHECKING:
    from tests.conftest import Until

MODEL = "emulator/assistant"
QUICK = {"seconds": 0.1}
RAW = {"type": "function", "function": {"name": "raw", "parameters": {"type": "object"}}}
NEW = {"prompt", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format"}


@attrs.frozen
class Weather:
    city: str


async def get_weather(city: str, days: int = 1) -> dict[str, object]:
    """Report the weather."""
    return {"city": city, "degrees": 21, "days": days}


def get_time(city: str) -> str:
    """Return the time."""
    return f"noon in {city}"


async def fail(city: str) -> str:
    """Never works."""
    raise KeyError(city)


def sent(emulator: WiroEmulator) -> list[dict[str, Any]]:
    """The parameters of all runs, in order."""
    return [dict(run.parameters) for run in emulator.ledger.submissions]


def tokens(emulator: WiroEmulator) -> list[str]:
    """The tokens of all runs, in order."""
    return [run.token for run in emulator.ledger.submissions]


def statuses(emulator: WiroEmulator) -> list[str]:
    """The statuses of all tasks."""
    return [task.status for task in emulator.ledger.tasks.values()]


# What goes from turn to turn


async def test_turns_continue_one_another(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Each names the previous one, and all have one session. The conversation keeps them and their costs."""
    chat = wiro.conversation(MODEL, input={**QUICK, "system_instructions": "Be brief."})
    turns = [await chat.send("How is Rome?"), await chat.send("And Paris?", input={"user_id": "u"})]
    first, second = sent(emulator)
    assert first == {
        **QUICK,
        "system_instructions": "Be brief.",
        "session_id": chat.session_id,
        "prompt": "How is Rome?",
    }
    assert second == {**first, "prompt": "And Paris?", "user_id": "u", "previousTaskToken": tokens(emulator)[0]}
    assert chat.previous_task_token == tokens(emulator)[1]
    assert list(chat.history) == turns
    assert all(isinstance(turn, TaskResult) for turn in turns)
    assert [turn.text[:10] for turn in turns] == ["You asked:"] * 2
    assert chat.cost == sum(turn.cost or 0 for turn in turns) > 0
    assert chat.usage["total_tokens"] == sum(int(str(turn.usage["total_tokens"])) for turn in turns)
    assert turns[0].parsed is None


async def test_messages(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Messages instead of text, as the prompt or by name."""
    messages = [{"role": "user", "content": "How is Rome?"}]
    chat = wiro.conversation(MODEL, input=QUICK)
    assert "How is Rome?" in (await chat.send(messages)).text
    assert "How is Rome?" in (await chat.send(messages=messages)).text
    assert [turn["messages"] for turn in sent(emulator)] == [messages, messages]


async def test_resuming_elsewhere(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Another process resumes it with the session and the last token."""
    chat = wiro.conversation(MODEL, "my session", input=QUICK)
    await chat.send("How is Rome?")
    async with AsyncWiro(**emulator.options()) as other:
        again = other.conversation(
            MODEL, chat.session_id, previous_task_token=chat.previous_task_token, user_id="u", input=QUICK
        )
        assert (await again.send("And Paris?")).succeeded
    assert sent(emulator)[1] == {
        **QUICK,
        "session_id": "my session",
        "user_id": "u",
        "previousTaskToken": tokens(emulator)[0],
        "prompt": "And Paris?",
    }


async def test_older_chat_models(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """They remember by session and user alone, and get no token."""
    chat = wiro.conversation(
        "family/document-reader", user_id="u", input={"inputDocumentMultiple": File(b"x", "x.txt")}
    )
    for question in ("What is it about?", "And who wrote it?"):
        await chat.send(question)
    for run in sent(emulator):
        assert (run["session_id"], run["user_id"]) == (chat.session_id, "u")
        assert "previousTaskToken" not in run
    assert chat.previous_task_token == tokens(emulator)[1]


async def test_a_repr_without_secrets(wiro: AsyncWiro) -> None:
    """Neither the conversation nor its parts show any."""
    chat = wiro.conversation(MODEL, "s", previous_task_token="very-secret-token")
    assert repr(chat) == "Conversation('emulator/assistant', session_id='s', turns=0)"
    assert "very-secret" not in repr(vars(chat))


# What is refused before it is sent


@pytest.mark.parametrize(
    "settings,words",
    [
        ({"session_id": ""}, "session_id is ''; give 1 to 256 bytes"),
        ({"session_id": "ü" * 129}, "give 1 to 256 bytes"),
        ({"input": {"session_id": "x"}}, "session_id is in the input; the conversation sets it"),
        ({"input": {"tools": []}, "tools": [get_time]}, "tools is given, and is in the input too"),
        ({"input": 7}, "input is a int"),
        ({"max_turns": 0}, "max_turns is 0; give 1 or more"),
        ({"on_tool_error": "ignore"}, "on_tool_error is 'ignore'; give 'tell' or 'raise'"),
        ({"raise_on_finish": "length"}, r"raise_on_finish is text; give \('length',\)"),
        ({"previous_task_token": "t"}, "previous_task_token is given without the session_id"),
        ({"tools": get_time}, r"tools is a function; give a list: tools=\[get_time\]"),
    ],
)
def test_settings_that_are_wrong(settings: dict[str, Any], words: str) -> None:
    """They are refused at once."""
    with pytest.raises(InvalidInputError, match=words):
        AsyncWiro("key").conversation(MODEL, **settings)


async def test_unknown_settings(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """They are a TypeError that suggests the right name."""
    given: dict[str, Any] = {"max_turn": 3}
    for use in (lambda: wiro.conversation(MODEL, **given), lambda: wiro.conversation(MODEL).stream("x", **given)):
        with pytest.raises(TypeError, match=r"has no option 'max_turn'; did you mean 'max_turns'\?"):
            use()
    with pytest.raises(TypeError, match=r"send\(\) has no option 'bogus'"):
        await wiro.conversation(MODEL).send("x", bogus=1)  # type: ignore[call-overload]
    assert not emulator.ledger.calls


@pytest.mark.parametrize(
    "turn,words",
    [
        ({}, "prompt: given nothing; allowed text"),
        ({"prompt": " "}, "prompt: given nothing"),
        ({"prompt": "x", "messages": [{"role": "user", "content": "x"}]}, "messages: given together with prompt"),
        ({"prompt": "x", "tool_outputs": {"c": 1}}, "has nothing new"),
        ({"tool_outputs": {"c": 1}}, "previousTaskToken: given nothing"),
        ({"tool_outputs": [{"output": 1}]}, "has no call_id"),
        ({"tool_outputs": {"c": object()}}, "the output of c is a object"),
        ({"prompt": "x", "tools": [7]}, "a tool is 7"),
        ({"prompt": "x", "max_turns": 0}, "max_turns is 0"),
        ({"prompt": "x", "input": {"toolOutputs": []}}, "toolOutputs is in the input"),
        ({"prompt": 5}, "prompt is a int; give text, or a list of messages"),
        ({"prompt": b"x"}, "prompt is a bytes; give text"),
        ({"prompt": {"role": "user", "content": "x"}}, "prompt is a dict; give text, or a list of messages"),
        ({"prompt": ["x"]}, "prompt is a list with a str in it; give text, or a list of messages"),
        ({"messages": "x"}, "messages is a str; give a list of messages"),
        ({"prompt": "x", "tools": get_time}, r"tools is a function; give a list: tools=\[get_time\]"),
        ({"prompt": "x", "tools": {"type": "function"}}, "tools is a dict; give a list"),
    ],
)
async def test_turns_that_contradict_themselves(
    emulator: WiroEmulator, wiro: AsyncWiro, turn: dict[str, Any], words: str
) -> None:
    """Nothing is sent, and the conversation is free for another turn."""
    chat = wiro.conversation(MODEL, input=QUICK)
    with pytest.raises(InvalidInputError, match=words):
        await chat.send(**turn)
    with pytest.raises(InvalidInputError, match=words):
        async with chat.stream(**turn):
            pytest.fail("not reached")
    assert not emulator.ledger.calls
    assert (await chat.send("How is Rome?")).succeeded


# Tools


async def test_tools_that_are_run(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """All calls of a run are run, and their outputs are sent back. Then the model answers."""
    chat = wiro.conversation(MODEL, input=QUICK, tools=[get_weather, get_time], run_tools=True, tool_choice="auto")
    turn = await chat.send("How is it in Rome?", parallel_tool_calls=True)
    assert 'get_weather says {"city":"Rome","degrees":21,"days":1}; get_time says noon in Rome' in turn.text
    assert [(out.name, out.failed) for out in turn.tool_outputs] == [("get_weather", False), ("get_time", False)]
    first, second = sent(emulator)
    assert [tool["function"]["name"] for tool in first["tools"]] == ["get_weather", "get_time"]
    assert (first["tool_choice"], first["parallel_tool_calls"]) == ("auto", True)
    assert not NEW & second.keys()
    assert (second["previousTaskToken"], second["session_id"]) == (tokens(emulator)[0], chat.session_id)
    assert [sorted(output) for output in second["toolOutputs"]] == [["call_id", "output"]] * 2
    assert [run.finish_reason for run in turn.runs] == ["tool_calls", "stop"]
    assert turn.cost == sum(run.cost or 0 for run in turn.runs)
    assert turn.usage["total_tokens"] == sum(int(str(run.usage["total_tokens"])) for run in turn.runs)
    assert turn.elapsed == sum(run.elapsed or 0 for run in turn.runs)
    assert chat.previous_task_token == tokens(emulator)[1]
    assert (await chat.send("And in Paris?")).runs[1].succeeded


async def test_files_go_along_once(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A continuation does not upload the files again. Other parameters stay."""
    chat = wiro.conversation(MODEL, input={**QUICK, "doc": File(b"x", "x.txt")}, tools=[get_time], run_tools=True)
    assert (await chat.send("What is it?")).succeeded
    first, second = emulator.ledger.submissions
    assert [(len(run.files), run.parameters["seconds"]) for run in (first, second)] == [(1, "0.1"), (0, 0.1)]


async def test_calls_are_left_to_the_caller_by_default(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """They are left to the caller, whose outputs are checked against them."""
    chat = wiro.conversation(MODEL, input=QUICK, tools=[get_weather, RAW])
    turn = await chat.send("How is it in Rome?")
    assert (turn.finish_reason, turn.tool_outputs) == ("tool_calls", ())
    weather, raw = turn.pending_calls
    assert turn.tool_calls == (weather, raw)
    with pytest.raises(InvalidInputError, match="no call 'call_9' waits for an output; these do: call_1_1, call_1_2"):
        await chat.send(tool_outputs={weather.call_id: 1, raw.call_id: 2, "call_9": 3})
    with pytest.raises(InvalidInputError, match="call 'call_1_2' of raw has no output"):
        await chat.send(tool_outputs={weather.call_id: 1})
    answer = await chat.send(
        tool_outputs=[
            {"call_id": weather.call_id, "output": "fine"},
            ToolOutput(call_id=raw.call_id, name=raw.name, output={"n": 2}),
        ]
    )
    assert 'get_weather says fine; raw says {"n":2}' in answer.text
    assert len(emulator.ledger.submissions) == 2


async def test_functions_and_schemas_side_by_side(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Functions are run, other calls are left to the caller, and all outputs are sent together."""
    chat = wiro.conversation(MODEL, input=QUICK, tools=[get_time, RAW], run_tools=True)
    turn = await chat.send("How is it in Rome?")
    assert [call.name for call in turn.pending_calls] == ["raw"]
    assert [output.output for output in turn.tool_outputs] == ["noon in Rome"]
    answer = await chat.send(tool_outputs={turn.pending_calls[0].call_id: "done"})
    assert "get_time says noon in Rome; raw says done" in answer.text
    assert answer.pending_calls == ()


async def test_outputs_from_elsewhere(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A conversation that was resumed does not know the calls, and sends any outputs."""
    chat = wiro.conversation(MODEL, input=QUICK, tools=[RAW])
    call = (await chat.send("How is it in Rome?")).pending_calls[0]
    again = wiro.conversation(MODEL, chat.session_id, previous_task_token=chat.previous_task_token, input=QUICK)
    assert "raw says 5" in (await again.send(tool_outputs={call.call_id: 5})).text


@pytest.mark.parametrize("incomplete,runs", [(1, 2), (2, 1)])
async def test_incomplete_calls_are_never_run(
    emulator: WiroEmulator, wiro: AsyncWiro, incomplete: int, runs: int
) -> None:
    """Completed calls beside them are run."""
    called = list[str]()

    def one(city: str) -> str:
        called.append("one")
        return city

    def two(city: str) -> str:
        called.append("two")
        return city

    chat = wiro.conversation(MODEL, input={**QUICK, "incomplete": incomplete}, tools=[one, two], run_tools=True)
    turn = await chat.send("How is it in Rome?")
    assert called == ["one"] * (2 - incomplete)
    assert len(turn.runs) == len(emulator.ledger.submissions) == runs
    assert turn.pending_calls == ()
    if incomplete == 2:
        assert (turn.finish_reason, len(turn.tool_calls)) == ("length", 2)


async def test_completed_calls_of_a_turn_that_did_not_ask() -> None:
    """Without the finish reason "tool_calls" no call is run, even if it is complete."""
    call = {"type": "function_call", "id": "f", "call_id": "c", "name": "get_time", "arguments": '{"city":"x"}'}

    def script(given: RunInput) -> Script:
        content: dict[str, Any] = {"segments": [{**call, "status": "completed"}], "finishreason": "content_filter"}
        return Script(timeline(0.1, [Step("task_output", content)]), (RawOutput(content),))

    with WiroEmulator(speed=50, models=[ModelScript("my/model", script)]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro:
            chat = wiro.conversation("my/model", tools=[get_time], run_tools=True)
            turn = await chat.send("x")
            assert (turn.tool_calls[0].status, turn.tool_outputs, turn.pending_calls) == ("completed", (), ())
            assert len(emulator.ledger.submissions) == 1


async def test_an_error_of_a_tool_is_sent_to_the_model(wiro: AsyncWiro) -> None:
    """That is the default, also for wrong arguments."""
    chat = wiro.conversation(MODEL, input=QUICK, tools=[fail], run_tools=True)
    turn = await chat.send("How is it in Rome?")
    assert "fail says Error: KeyError: 'Rome'" in turn.text
    assert turn.tool_outputs[0].failed
    turn = await chat.send("How is it in Rome?", input={"arguments": '{"town": 7}'})
    assert "the arguments do not fit" in turn.text


async def test_an_error_of_a_tool_can_be_raised(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The error has the run, and the conversation stays where it was."""
    chat = wiro.conversation(MODEL, input=QUICK, tools=[fail], run_tools=True, on_tool_error="raise")
    with pytest.raises(ToolError, match="tool 'fail' failed: KeyError: 'Rome'") as caught:
        await chat.send("How is it in Rome?")
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.token == tokens(emulator)[0]
    assert (chat.previous_task_token, chat.history) == (None, ())
    assert chat.cost == caught.value.tasks[0].cost


async def test_a_model_that_never_stops_asking(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The last calls are not run, and the error has all runs."""
    called = list[str]()

    def look(city: str) -> str:
        called.append(city)
        return city

    chat = wiro.conversation(MODEL, input={**QUICK, "rounds": 99}, tools=[look], run_tools=True, max_turns=3)
    with pytest.raises(TurnLimitError, match="after 3 runs") as caught:
        await chat.send("How is it in Rome?")
    assert [task.token for task in caught.value.tasks] == tokens(emulator)
    assert len(called) == 2
    assert chat.cost == sum(task.cost or 0 for task in caught.value.tasks)
    error: TurnLimitError = pickle.loads(pickle.dumps(caught.value))
    assert (error.limit, error.tasks) == (3, caught.value.tasks)


# Answers that are not what was asked for


@pytest.mark.parametrize("reason", ["length", "content_filter", "error"])
async def test_finish_reasons(emulator: WiroEmulator, wiro: AsyncWiro, reason: str) -> None:
    """They are in the result. Those that are named raise an error with the text so far."""
    chat = wiro.conversation(MODEL, input={**QUICK, "finish": reason})
    turn = await chat.send("How is Rome?")
    assert turn.finish_reason == reason
    with pytest.raises(FinishReasonError, match=f"stopped by '{reason}'") as caught:
        await chat.send("How is Rome?", raise_on_finish=["length", "content_filter", "error"])
    assert (caught.value.finish_reason, caught.value.text) == (reason, turn.text)
    assert chat.previous_task_token == tokens(emulator)[0]
    assert chat.cost == 2 * (turn.cost or Decimal(0))


async def test_typed_answers(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """They work with tools, too. A continuation does not request the form again."""
    chat = wiro.conversation(MODEL, input=QUICK, tools=[get_time], run_tools=True)
    turn = await chat.send("How is it in Rome?", response_model=Weather)
    assert turn.parsed == Weather("Rome")
    assert [("response_format" in run) for run in sent(emulator)] == [True, False]
    assert (await chat.send("And in Paris?")).parsed is None


async def test_an_answer_of_the_wrong_form(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The error has all runs of the turn. The conversation stays where it was, and counts the cost."""
    chat = wiro.conversation(MODEL, input={**QUICK, "malformed": True}, tools=[get_time], run_tools=True)
    with pytest.raises(ResponseFormatError) as caught:
        await chat.send("How is it in Rome?", response_model=Weather)
    assert [task.token for task in caught.value.tasks] == tokens(emulator)
    assert (chat.history, chat.previous_task_token) == ((), None)
    assert chat.cost == sum(task.cost or 0 for task in caught.value.tasks)


async def test_a_form_that_a_model_does_not_take(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """With validation nothing is sent."""
    with pytest.raises(InvalidInputError, match="takes no response_format"):
        await wiro.conversation("family/document-reader", validate=True).send("What is it?", response_model=Weather)
    assert not emulator.ledger.submissions


# Streams


async def test_a_stream_without_a_socket(polling: AsyncWiro) -> None:
    """Calls and text come from polls."""
    chat = polling.conversation(MODEL, input=QUICK, tools=[get_time], run_tools=True)
    async with chat.stream("How is it in Rome?") as stream:
        events = [event async for event in stream]
    assert [type(event) for event in events if not isinstance(event, TextDelta)] == [ToolCall, ToolOutput]


async def test_a_stream_of_a_turn(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """It gives text, calls, outputs of tools and text again. The result is that of `send`."""
    chat = wiro.conversation(MODEL, input={"seconds": 5}, tools=[get_weather, get_time], run_tools=True)
    async with chat.stream("How is it in Rome?") as stream:
        events = [event async for event in stream]
        turn = await stream.result()
    kinds = [type(event) for event in events if not isinstance(event, TextDelta)]
    assert kinds == [ToolCall, ToolCall, ToolOutput, ToolOutput]
    place = [type(event) for event in events].index(ToolOutput)
    after = [event for event in events[place:] if isinstance(event, TextDelta) and event.kind == "answer"]
    assert "".join(event.text for event in after) == turn.text == stream.text_so_far
    assert [event for event in events if isinstance(event, ToolOutput)] == list(turn.tool_outputs)
    assert chat.history == (turn,)
    assert stream.handle.token == tokens(emulator)[1]
    assert wiro.statistics().owned_tasks == 0


async def test_a_stream_with_a_form(wiro: AsyncWiro) -> None:
    """The result is parsed, also if the stream is not read."""
    chat = wiro.conversation(MODEL, input=QUICK)
    async with chat.stream("How is it in Rome?", response_model=Weather) as stream:
        assert (await stream.result()).parsed == Weather("Rome")


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_leaving_a_stream_stops_its_run(
    emulator: WiroEmulator, wiro: AsyncWiro, error: type[BaseException]
) -> None:
    """The conversation stays where it was, and takes another turn."""
    chat = wiro.conversation(MODEL, input=QUICK)
    await chat.send("How is Rome?")

    async def leave() -> None:
        async with chat.stream("And Paris?", input={"seconds": 500}) as stream:
            await anext(stream)
            raise error

    with pytest.raises(error):
        await leave()
    assert statuses(emulator) == ["task_postprocess_end", "task_cancel"]
    assert (chat.previous_task_token, len(chat.history)) == (tokens(emulator)[0], 1)
    assert (await chat.send("And Paris?")).succeeded
    assert wiro.statistics().owned_tasks == 0


async def test_errors_within_a_stream(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Reading raises them once. Nothing is run again."""
    chat = wiro.conversation(MODEL, input=QUICK, tools=[fail], run_tools=True, on_tool_error="raise")
    async with chat.stream("How is it in Rome?") as stream:
        with pytest.raises(ToolError):
            await stream.result()
        with pytest.raises(WiroError, match="this turn has ended by an error"):
            await stream.result()
    assert len(emulator.ledger.submissions) == 1
    assert statuses(emulator) == ["task_postprocess_end"]


async def test_a_reader_that_is_cancelled_while_tools_run(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The tools go on and are run once. The next reader gets their outputs."""
    called, started, wanted = list[str](), asyncio.Event(), asyncio.Event()

    async def wait(city: str) -> str:
        called.append(city)
        started.set()
        await wanted.wait()
        return city

    chat = wiro.conversation(MODEL, input=QUICK, tools=[wait], run_tools=True)
    async with chat.stream("How is it in Rome?") as stream:
        reading = asyncio.create_task(stream.result())
        await started.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        wanted.set()
        assert "wait says Rome" in (await stream.result()).text
    assert called == ["Rome"]
    assert len(emulator.ledger.submissions) == 2


async def test_a_stream_that_takes_back_its_text() -> None:
    """The reset is an event."""

    def said(text: str) -> Step:
        return Step("task_output", {"type": "answer", "raw": text, "answer": [text], "thinking": []})

    steps = [said("Once upon"), said("In the beginning"), said("In the beginning was")]
    outputs = (RawOutput({"raw": "In the beginning was", "answer": ["In the beginning was"]}),)
    model = ModelScript("my/fickle", lambda given: Script(timeline(20, steps), outputs))
    with WiroEmulator(speed=50, models=[model]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro, wiro.conversation("my/fickle").stream("x") as stream:
            events = [event async for event in stream]
            assert stream.text_so_far == (await stream.result()).text == "In the beginning was"
    assert any(isinstance(event, TextReset) for event in events)


async def test_a_stream_that_was_not_entered(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """It says how to use it."""
    stream = wiro.conversation(MODEL).stream("x")
    for use in (lambda: anext(stream), stream.result):
        with pytest.raises(UsageError, match="async with"):
            await use()
    with pytest.raises(UsageError, match="async with"):
        _ = stream.handle
    assert not emulator.ledger.calls


# Ways out, and money


async def test_one_turn_at_a_time(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """A second turn is refused at once. Other conversations can run at the same time."""
    chat = wiro.conversation(MODEL, input={"seconds": 20})
    running = asyncio.create_task(chat.send("How is Rome?"))
    await until(lambda: emulator.ledger.submissions)
    with pytest.raises(ConversationBusyError, match="still in a turn"):
        await chat.send("And Paris?")
    with pytest.raises(ConversationBusyError):
        async with chat.stream("And Paris?"):
            pytest.fail("not reached")
    assert (await wiro.conversation(MODEL, input=QUICK).send("And Paris?")).succeeded
    assert (await running).succeeded
    assert (await chat.send("And Paris?", input=QUICK)).succeeded
    assert len(emulator.ledger.submissions) == 3


async def test_cancelling_a_turn_stops_its_run(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """The conversation stays where it was."""
    chat = wiro.conversation(MODEL, input={"seconds": 500})
    running = asyncio.create_task(chat.send("How is Rome?"))
    await until(lambda: "task_start" in statuses(emulator) or "task_output" in statuses(emulator))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert statuses(emulator) == ["task_cancel"]
    assert (chat.previous_task_token, chat.history) == (None, ())
    assert (await chat.send("How is Rome?", input=QUICK)).succeeded


async def test_cancelling_while_tools_run(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The tools are cancelled, and nothing more is sent."""
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(city: str) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    chat = wiro.conversation(MODEL, input=QUICK, tools=[wait], run_tools=True)
    running = asyncio.create_task(chat.send("How is it in Rome?"))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cancelled.is_set()
    assert len(emulator.ledger.submissions) == 1
    assert chat.cost > 0
    assert chat.history == ()


async def test_a_turn_that_times_out(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Its run is stopped. That of a stream is stopped when the stream is left."""
    chat = wiro.conversation(MODEL, input={"seconds": 500}, timeout=0.5)
    with pytest.raises(TaskTimeoutError):
        await chat.send("How is Rome?")
    with pytest.raises(TaskTimeoutError):
        async with chat.stream("How is Rome?") as stream:
            await stream.result()
    assert set(statuses(emulator)) <= {"task_cancel"}
    assert chat.history == ()


async def test_a_run_that_is_stopped_elsewhere(wiro: AsyncWiro) -> None:
    """The turn fails, and the next one continues from the last good one."""
    chat = wiro.conversation(MODEL, input={"seconds": 500})
    async with chat.stream("How is Rome?") as stream:
        await anext(stream)
        await stream.handle.cancel()
        with pytest.raises(TaskCancelledError):
            await stream.result()
    assert (await chat.send("How is Rome?", input=QUICK)).succeeded


async def test_a_lost_answer_costs_no_second_run(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Both the run with tools and its continuation are found by their inputs."""
    chat = wiro.conversation(MODEL, input=QUICK, tools=[get_weather], run_tools=True)
    emulator.faults.http("Run/*", ResetAfter(), times=2)
    assert "get_weather says" in (await chat.send("How is it in Rome?")).text
    assert len(emulator.ledger.submissions) == 2
