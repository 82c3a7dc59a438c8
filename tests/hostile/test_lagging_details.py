"""Task/Detail that lags behind messages, for a while or for good: text that was streamed is not taken back."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest
import pytest_asyncio

from wiro_async import AsyncWiro, TaskResult, TextDelta, TextReset, Timeouts, Tuning

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

QUICK = Tuning(poll_confirm=0.02, callback_confirm=0.02)
MODEL = "owner/writer"
TEXT, THOUGHTS = "The tide comes and goes.", "Tides. Moon."
CALL = {"type": "function_call", "id": "c1", "call_id": "c1", "name": "look", "arguments": "{}", "status": "completed"}
USAGE = {"input_tokens": 3, "output_tokens": 7, "total_tokens": 10}


def segments(text: str = TEXT, thoughts: str = THOUGHTS) -> list[dict[str, Any]]:
    """Return a timeline with a thought and an answer."""
    return [{"type": "thinking", "text": thoughts}, {"type": "answer", "text": text}]


def output(**content: Any) -> dict[str, Any]:
    """Return what a record has of a text."""
    return {"outputs": [{"contenttype": "raw", "content": {"prompt": "x", **content}}]}


NEW: list[dict[str, Any]] = [{"segments": segments(TEXT[:end])} for end in (3, 10, len(TEXT))]
FULL: list[dict[str, Any]] = [*NEW, {"segments": segments(), "finishreason": "stop", "usage": USAGE}]
OLD: list[dict[str, Any]] = [
    {"raw": TEXT[:end], "thinking": [THOUGHTS], "answer": [TEXT[:end]]} for end in (3, 10, len(TEXT))
]
GENERATIONS: dict[str, list[dict[str, Any]]] = {"segments": NEW, "full": FULL, "lists": OLD}


@attrs.define
class Writer:
    """A service whose messages bring a text, and whose record of it lags.

    Attributes:
        messages: the payloads that are sent.
        records: what the reads of the ended task show, in order. The last one stays.
    """

    raw: RawWiro
    messages: Sequence[dict[str, Any]] = tuple(FULL)
    records: Sequence[dict[str, Any]] = ({"outputs": []},)
    reads: int = 0

    def serve(self) -> None:
        """Take over the routes."""
        self.raw.routes |= {"Run": self.run, "Task/Detail": self.detail, "socket": self.socket}
        self.raw.routes |= {f"Run/{MODEL}/sync": self.run}

    async def run(self, peer: Peer) -> None:
        """Take a run. A synchronous one is answered by an event stream."""
        self.raw.runs.append((MODEL, peer.sent))
        row = self.raw.make_task(MODEL, {}, status="task_output", pexit="", outputs=[])
        ids = {"taskid": row["id"], "socketaccesstoken": row["socketaccesstoken"]}
        if "/sync" not in peer.path:
            await peer.respond_json({"result": True, "errors": [], **ids})
            return
        events = [("start", ids)]
        events += [("task_output", {"id": row["id"], "status": "task_output", **content}) for content in self.messages]
        self.end()
        events.append(("done", {"result": True, "errors": [], "total": "1", "tasklist": [self.row()]}))
        body = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
        await peer.respond(body.encode(), "Content-Type: text/event-stream")

    def end(self) -> None:
        """End the task."""
        self.raw.rows["1000"].update(status="task_postprocess_end", pexit="0")

    def row(self) -> dict[str, Any]:
        """Return the record for one more read."""
        row = self.raw.rows["1000"]
        if row["status"] != "task_postprocess_end":
            return row
        self.reads += 1
        return {**row, **self.records[min(self.reads, len(self.records)) - 1]}

    async def detail(self, peer: Peer) -> None:
        """Answer Task/Detail."""
        await peer.respond_json({"result": True, "errors": [], "total": "1", "tasklist": [self.row()]})

    async def socket(self, peer: Peer) -> None:
        """Bring the text, then the end."""
        await peer.accept_websocket()
        await peer.read_frame()
        for content in self.messages:
            await peer.send_event({"type": "task_output", "id": "1000", "message": {"type": "answer", **content}})
        self.end()
        await peer.send_event({"type": "task_postprocess_end", "id": "1000", "message": []})
        await peer.gone()


@pytest.fixture
def writer(raw: RawWiro) -> Writer:
    """The service, whose final record is empty."""
    writer = Writer(raw)
    writer.serve()
    return writer


@pytest_asyncio.fixture
async def wiro(raw: RawWiro) -> AsyncIterator[AsyncWiro]:
    """A session that asks again sooner than in production."""
    async with AsyncWiro(**raw.options(), tuning=QUICK) as wiro:
        yield wiro


async def read(wiro: AsyncWiro) -> tuple[TaskResult, dict[str, str], list[str]]:
    """Read a stream to its end: its result, its text by kind, and the kinds that were reset."""
    texts, resets = {"thinking": "", "answer": ""}, list[str]()
    async with wiro.stream(MODEL, {"prompt": "tides"}) as stream:
        async for event in stream:
            match event:
                case TextDelta():
                    texts[event.kind] += event.text
                case TextReset():
                    texts[event.kind] = ""
                    resets.append(event.kind)
        return await stream.result(), texts, resets


EMPTY_RECORDS: dict[str, dict[str, Any]] = {
    "no outputs": {"outputs": []},
    "null outputs": {"outputs": None},
    "an empty content": output(),
    "empty texts": output(thinking=[], answer=[], raw=""),
    "empty segments": output(segments=[]),
    "an empty answer that is done": output(answer=[""], finishreason="stop"),
    "the beginning of the text": output(answer=[TEXT[:10]], thinking=[THOUGHTS]),
    "the beginning of the timeline": output(segments=segments(TEXT[:3], THOUGHTS[:3])),
    "the thoughts alone": output(thinking=[THOUGHTS]),
}


@pytest.mark.parametrize("record", EMPTY_RECORDS)
@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("updates", ["auto", "sse"])
async def test_streamed_text_stays(writer: Writer, wiro: AsyncWiro, record: str, generation: str, updates: Any) -> None:
    """A record that stays behind for good takes nothing back, and the result says where its text came from."""
    writer.messages, writer.records = GENERATIONS[generation], [EMPTY_RECORDS[record]]
    result, texts, resets = await read(wiro.with_options(updates=updates))
    assert texts == {"thinking": THOUGHTS, "answer": TEXT}
    assert resets == []
    assert (result.text, result.thinking, result.text_source) == (TEXT, THOUGHTS, "stream")
    if generation == "full":
        assert (result.finish_reason, dict(result.usage)) == ("stop", USAGE)
    if generation != "lists":
        assert list(result.segments) == segments()
    assert writer.reads > 3 or record == "an empty answer that is done"
    assert len(writer.raw.runs) == 1


@pytest.mark.parametrize("record", [name for name in EMPTY_RECORDS if "done" not in name])
@pytest.mark.parametrize("updates", ["auto", "sse"])
async def test_a_record_that_catches_up_is_the_result(
    writer: Writer, wiro: AsyncWiro, record: str, updates: Any
) -> None:
    """Task/Detail is asked again before the end is believed."""
    final = output(segments=segments(TEXT + " Again."), finishreason="stop", usage=USAGE)
    writer.records = [*[EMPTY_RECORDS[record]] * 3, final]
    result, texts, resets = await read(wiro.with_options(updates=updates))
    assert texts == {"thinking": THOUGHTS, "answer": TEXT + " Again."}
    assert (resets, result.text, result.text_source) == ([], TEXT + " Again.", "output")


@pytest.mark.parametrize("how", ["run", "stream"])
async def test_a_timeout_takes_what_there_is(writer: Writer, raw: RawWiro, how: str) -> None:
    """A run that has succeeded in time is no timeout because its record lags."""
    async with AsyncWiro(**raw.options(), timeout=Timeouts(run=1.0)) as wiro:
        start = anyio.current_time()
        result = await wiro.run(MODEL) if how == "run" else (await read(wiro))[0]
        assert anyio.current_time() - start < 2
    assert (result.text, result.text_source) == (TEXT, "stream")


async def test_a_run_that_nobody_listens_to_has_the_text(writer: Writer, wiro: AsyncWiro) -> None:
    """The newest message is kept for its end."""
    result = await wiro.run(MODEL, {"prompt": "tides"})
    assert (result.text, result.thinking, result.text_source) == (TEXT, THOUGHTS, "stream")


async def test_polled_text_stays(writer: Writer, wiro: AsyncWiro) -> None:
    """What Task/Detail has shown before the end counts as well."""
    row = output(segments=segments())

    async def run(peer: Peer) -> None:
        await writer.run(peer)
        writer.raw.rows["1000"].update(row)

    writer.raw.routes["Run"] = run
    asyncio.get_running_loop().call_later(0.8, writer.end)
    result, texts, resets = await read(wiro.with_options(updates="polling"))
    assert (texts["answer"], resets, result.text, result.text_source) == (TEXT, [], TEXT, "stream")


@pytest.mark.parametrize("log", [TEXT, TEXT + " Again.", f"{THOUGHTS}\n{TEXT}"])
async def test_the_merged_text_of_the_log_is_enough(writer: Writer, wiro: AsyncWiro, log: str) -> None:
    """A record with the whole text in its log is not asked for again. The rest comes from messages."""
    writer.records = [{"outputs": [], "debugoutput": log}]
    result, texts, _ = await read(wiro)
    assert (result.text, result.text_source, texts["answer"]) == (log, "log", log)
    assert (result.thinking, result.finish_reason, dict(result.usage)) == (THOUGHTS, "stop", USAGE)
    assert writer.reads <= 2


async def test_a_part_of_the_text_in_the_log_is_not(writer: Writer, wiro: AsyncWiro) -> None:
    """A log with less than was streamed lags, too."""
    writer.records = [{"outputs": [], "debugoutput": TEXT[:8]}]
    result, _, resets = await read(wiro)
    assert (result.text, result.text_source, resets) == (TEXT, "stream", [])


async def test_another_text_is_the_services_word(writer: Writer, wiro: AsyncWiro) -> None:
    """A final text that contradicts the streamed one replaces it."""
    writer.records = [output(segments=segments("Something else."), finishreason="stop")]
    result, texts, resets = await read(wiro)
    assert (result.text, texts["answer"], resets, result.text_source) == (
        "Something else.",
        "Something else.",
        ["answer"],
        "output",
    )


async def test_what_the_model_took_back_stays_away(writer: Writer, wiro: AsyncWiro) -> None:
    """A text that messages have rewritten or shortened, as the record says, is no lag."""
    writer.messages = [{"answer": ["One two three"]}, {"answer": ["One"]}]
    writer.records = [output(answer=["One"])]
    result, texts, _ = await read(wiro)
    assert (result.text, texts["answer"], result.text_source) == ("One", "One", "output")
    assert writer.reads <= 2


@pytest.mark.parametrize("record", [{"outputs": []}, output(segments=segments())], ids=["none", "text only"])
async def test_calls_of_tools_stay(writer: Writer, wiro: AsyncWiro, record: dict[str, Any]) -> None:
    """Calls, counts and the reason of the end that only messages brought are in the result."""
    writer.messages = [*NEW, {"segments": [*segments(), CALL], "finishreason": "tool_calls", "usage": USAGE}]
    writer.records = [record]
    result = await wiro.run(MODEL, {"prompt": "tides"})
    assert result.asks_for_tools
    assert [call.name for call in result.tool_calls] == ["look"]


async def test_a_success_without_text_is_believed_at_once(writer: Writer, wiro: AsyncWiro) -> None:
    """Its files may have been deleted, and no message has told of a text."""
    writer.messages = []
    result, texts, _ = await read(wiro)
    assert (result.text, texts["answer"], writer.reads) == ("", "", 1)


async def test_streamed_text_survives_pickling_and_journals(
    writer: Writer, raw: RawWiro, wiro: AsyncWiro, tmp_path: Path
) -> None:
    """A stored result is the same."""
    journal = tmp_path / "batch.sqlite"
    for _ in range(2):
        async with wiro.batch(MODEL, [{"prompt": "tides"}], journal=journal) as batch:
            items = [item async for item in batch]
        result = items[0].result
        assert result is not None
        assert (result.text, result.thinking, result.text_source) == (TEXT, THOUGHTS, "stream")
        assert pickle.loads(pickle.dumps(result.info)) == result.info
    assert len(raw.runs) == 1


async def test_a_conversation_goes_on_with_the_streamed_answer(writer: Writer, wiro: AsyncWiro) -> None:
    """A turn whose record lags has the answer that was streamed."""
    chat = wiro.conversation(MODEL)
    with anyio.fail_after(3):
        turn = await chat.send("Tell me of tides.")
    assert (turn.text, turn.text_source) == (TEXT, "stream")
