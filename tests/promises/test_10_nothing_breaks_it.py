"""Promise 10. Nothing new breaks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import attrs
import pytest

from wiro_async import AsyncWiro, Progress, Tuning, UnknownEvent
from wiro_async.testing import (
    Duplicate,
    ModelScript,
    Reorder,
    Respond,
    Rubbish,
    RunInput,
    Script,
    SocketFault,
    Step,
    WiroEmulator,
)

STRANGE = [
    Step("task_levitation", {"height": "3 m"}),
    Step("task_levitation", None, stored=True),
    Step("task_output", 12),
    Step("task_output", [1, None, {"a": []}]),
    Step("task_output", {"type": "progressGenerate", "percentage": 60, "stepCurrent": None, "stepTotal": "many"}),
    Step("task_output", {"type": "progressGenerate", "percentage": "70%", "speed": {}, "remainingTime": "soon"}),
    Step("task_output", '{"type":"progressGenerate","percentage":"80"}'),
    Step("task_output", {"type": "answer", "raw": None, "answer": None, "thinking": "text", "isThinking": "no"}),
    Step("task_output", {"type": "answer", "segments": [{"type": "smell", "text": 5}, None, "x"]}),
    Step("task_error", None, log="half a line"),
    Step("", ""),
    Step("task_output", "x" * 100_000),
]


def strange(given: RunInput) -> Script:
    """Send all of `STRANGE`, after a wait."""
    steps = [Step("task_start"), *STRANGE, Step("task_end"), Step("task_postprocess_end")]
    first = Step("task_accept", after=given.number("wait", 0.3))
    return Script((first, *(attrs.evolve(step, after=0.3) for step in steps)))


@pytest.fixture
def stranger() -> Iterator[WiroEmulator]:
    """An emulator with a model that sends unknown messages."""
    with WiroEmulator(speed=50, models=[ModelScript("emulator/strange", strange)]) as running:
        yield running


@pytest.mark.parametrize("faults", [[], [Duplicate()], [Reorder(0.01)], [Rubbish()]], ids=repr)
@pytest.mark.parametrize("mode", ["auto", "polling"])
async def test_10_unknown_messages_and_statuses_are_accepted(
    stranger: WiroEmulator, short_timing: Tuning, faults: list[SocketFault], mode: Any
) -> None:
    """Messages that are unknown, null, wrongly typed, duplicated or reordered do not change the result."""
    for fault in faults:
        stranger.faults.socket(fault)
    async with AsyncWiro(**stranger.options(), updates=mode) as wiro:
        result = await wiro.run("emulator/strange", on_event=lambda event: None)
        assert result.succeeded
        assert (await wiro.run("emulator/strange")).succeeded


async def test_10_unknown_messages_are_kept_raw(stranger: WiroEmulator, short_timing: Tuning) -> None:
    """They arrive as `UnknownEvent`, with their raw content."""
    async with AsyncWiro(**stranger.options()) as session:
        task = await session.submit("emulator/strange", {"wait": 25})  # until then the socket is open
        events = [event async for event in task.events()]
    unknown = next(event for event in events if isinstance(event, UnknownEvent))
    assert unknown.type == "task_levitation"
    assert unknown.raw["message"] == {"height": "3 m"}
    assert [event.fraction for event in events if isinstance(event, Progress)][-1] == 0.8


async def test_10_an_unusual_detail_is_accepted(emulator: WiroEmulator, polling: AsyncWiro) -> None:
    """Numbers as numbers, text as null, lists as text and new keys are all understood."""
    row = {
        "id": 7, "socketaccesstoken": None, "status": "task_postprocess_end", "pexit": 0, "outputs": None,
        "parameters": '{"a":"1"}', "totalcost": 0.5, "elapsedseconds": None, "starttime": "soon", "mood": "good",
        "debugoutput": None, "categories": 5,
    }  # fmt: skip
    body = json.dumps({"result": "true", "errors": None, "total": None, "tasklist": [row, None]})
    emulator.faults.http("Task/Detail", Respond(200, body))
    result = await polling.task("token").result()
    assert (result.info.id, result.cost, result.elapsed, result.outputs) == ("7", Decimal("0.5"), None, ())
    assert result.info.parameters == {"a": "1"}
    assert result.info.raw["mood"] == "good"
