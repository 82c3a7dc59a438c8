"""Runs that hold the request open."""

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from wiro_async.testing import ModelScript, Script, Step, WiroEmulator

if TYPE_CHECKING:
    from tests.testing.conftest import Api


async def _events(api: "Api", path: str, body: dict[str, Any], **headers: str) -> list[tuple[str, Any]]:
    answer = await api.http.post(f"{api.emulator.base_url}/{path}", json=body, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in answer.text.split("\n\n") if block]
    return [
        (lines[0], None)
        if lines[0].startswith(":")
        else (lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: ")))
        for lines in blocks
    ]


async def test_json(api: "Api") -> None:
    """The response is that of Task/Detail, once the task is over."""
    answer = await api.post("Run/emulator/sleeper/sync", {"seconds": 0.2})
    assert answer["tasklist"][0]["pexit"] == "0"


async def test_timeout(api: "Api") -> None:
    """After the timeout the response is 504 with both ids, and the task continues."""
    api.emulator.faults.sync_timeout = 0.01
    answer = await api.send("Run/emulator/sleeper/sync", {"seconds": 1})
    assert answer.status_code == 504
    assert answer.json()["result"] is False
    task = await api.ended(answer.json()["socketaccesstoken"])
    assert (task["id"], task["pexit"]) == (answer.json()["taskid"], "0")


@pytest.mark.parametrize("by_header", [True, False])
async def test_events(api: "Api", by_header: bool) -> None:
    """A start with both ids, cumulative segments, and Task/Detail's envelope at the end."""
    headers = {"accept": "text/event-stream"} if by_header else {}
    path = "Run/emulator/writer/sync" + ("" if by_header else "?stream=true")
    received = await _events(api, path, {"prompt": "Explain qubits", "seconds": 2}, **headers)
    names = [name for name, _ in received]
    assert names[0] == "start"
    assert names[-1] == "done"
    assert ": keep-alive" in names
    assert set(received[0][1]) == {"taskid", "socketaccesstoken"}
    outputs = [data for name, data in received if name == "task_output"]
    assert all(data["id"] == received[0][1]["taskid"] and data["pexit"] is None for data in outputs)
    for before, after in pairwise(outputs):
        assert after["segments"][0]["text"].startswith(before["segments"][0]["text"])
    assert [segment["type"] for segment in outputs[-1]["segments"]] == ["thinking", "answer"]
    assert received[-1][1]["tasklist"][0]["pexit"] == "0"


async def test_events_of_a_silent_model(api: "Api") -> None:
    """Comments keep the stream alive while nothing happens."""
    with WiroEmulator(api_secret=None, speed=200) as emulator:
        fast = type(api)(emulator, api.http)
        received = await _events(fast, "Run/emulator/sleeper/sync?stream=true", {"seconds": 300, "events": 9})
    assert len([name for name, _ in received if name.startswith(":")]) > 3


async def test_a_run_without_duration(api: "Api") -> None:
    """A task that ends at once has its result at once."""
    at_once = ModelScript("me/now", lambda given: Script((Step("task_postprocess_end"),)))
    with WiroEmulator(models=[at_once], api_secret=None) as emulator:
        one = type(api)(emulator, api.http)
        assert (await one.post("Run/me/now/sync"))["tasklist"][0]["pexit"] == "0"
        assert (await _events(one, "Run/me/now/sync?stream=true", {}))[-1][0] == "done"


async def test_dropping_the_stream_does_not_stop_the_task(api: "Api") -> None:
    """The run continues without its client."""
    url = f"{api.emulator.base_url}/Run/emulator/sleeper/sync?stream=true"
    async with api.http.stream("POST", url, json={"seconds": 1}) as stream:
        assert await anext(stream.aiter_lines()) == "event: start"
    [submission] = api.emulator.ledger.submissions
    assert (await api.ended(submission.token))["pexit"] == "0"
