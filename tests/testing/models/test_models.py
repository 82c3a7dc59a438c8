"""The standard models."""

import io
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import pytest
from PIL import Image

from wiro_async.testing import (
    FileOutput,
    ModelScript,
    Outputs,
    Script,
    Step,
    WiroEmulator,
    progress,
    timeline,
)

if TYPE_CHECKING:
    from tests.testing.conftest import Api

Generation = Literal["older", "newer"]
Picture = tuple[str, tuple[int, int]]


async def _picture(api: "Api", url: str) -> Picture:
    answer = await api.http.get(url)
    with Image.open(io.BytesIO(answer.content)) as image:
        return answer.headers["content-type"], image.size


def _echoed(task: dict[str, Any]) -> dict[str, Any]:
    parameters = task["parameters"]
    found: dict[str, Any] = json.loads(parameters) if isinstance(parameters, str) else parameters
    return found


async def test_painter(api: "Api") -> None:
    """PNGs of the requested number and size, with the right file sizes."""
    task = await api.ended(await api.run("painter", prompt="a fox", width=48, height=32, images=2, seconds=0.2))
    assert [output["name"] for output in task["outputs"]] == ["0.png", "1.png"]
    for output in task["outputs"]:
        assert await _picture(api, output["url"]) == ("image/png", (48, 32))
        assert len((await api.http.get(output["url"])).content) == int(output["size"])
    assert int(task["size"]) == sum(int(output["size"]) for output in task["outputs"])
    assert task["totalcost"] == "0.080000000000"


async def test_painter_reports_progress(api: "Api") -> None:
    """Twelve steps with the data of a progress bar."""
    received = await api.follow("painter", prompt="a fox", width=16, height=16, seconds=60)
    steps = [json.loads(message["message"]) for message in received if message["type"] == "task_output"]
    assert [step["stepCurrent"] for step in steps] == [str(n) for n in range(1, 13)]
    assert (steps[5]["percentage"], steps[5]["stepTotal"], steps[5]["remainingTime"]) == ("50", "12", "30.0s")


async def test_mirror(api: "Api", emulator: WiroEmulator) -> None:
    """The picture is a file, a URL of the emulator, or a URL of another host."""
    painted = await api.ended(await api.run("painter", prompt="x", width=20, height=10, seconds=0.1))
    url = painted["outputs"][0]["url"]
    data = (await api.http.get(url)).content
    run = f"{emulator.base_url}/Run/emulator/mirror"
    sent = await api.http.post(run, files={"inputImage": ("photo.png", data, "image/png")})
    by_file = await api.ended(sent.json()["socketaccesstoken"])
    assert (await api.http.get(_echoed(by_file)["inputImage"])).content == data
    assert await _picture(api, by_file["outputs"][0]["url"]) == ("image/png", (20, 10))
    by_url = await api.ended(await api.run("mirror", inputImageUrl=f"{url}, https://elsewhere.example/x.png"))
    sizes = [(await _picture(api, output["url"]))[1] for output in by_url["outputs"]]
    assert sizes == [(20, 10), (256, 256)]
    by_list = await api.ended(await api.run("mirror", inputImage=[url], effect="invert"))
    assert len(by_list["outputs"]) == 1


async def test_mirror_fails_without_a_picture(api: "Api", emulator: WiroEmulator) -> None:
    """If the outputs cannot be made, the run fails, and the log has the reason."""
    run = f"{emulator.base_url}/Run/emulator/mirror"
    sent = await api.http.post(run, files={"inputImage": ("photo.png", b"oops", "image/png")})
    task = await api.ended(sent.json()["socketaccesstoken"])
    assert (task["pexit"], task["outputs"], task["totalcost"]) == ("1", [], "0")
    assert "cannot identify image file" in task["debugerror"]


@pytest.mark.parametrize("generation", ["older", "newer"])
async def test_writer(api: "Api", generation: Generation) -> None:
    """The text grows with each message: thinking first, then the answer."""
    with WiroEmulator(api_secret=None, speed=20, generation=generation) as emulator:
        one = type(api)(emulator, api.http)
        received = await one.follow("writer", prompt="Explain qubits", seconds=6)
        task = next(iter(emulator.ledger.tasks.values()))
        content = (await one.detail(task.token))["outputs"][0]["content"]
        merged = (await one.detail(task.token))["debugoutput"]
    texts = [message["message"] for message in received if message["type"] == "task_output"]
    assert 30 <= len(texts) <= 45
    assert texts[0]["isThinking"] is True
    assert texts[0]["answer"] == []
    for before, after in pairwise(texts):
        assert after["raw"].startswith(before["raw"])
    assert content["raw"] == texts[-1]["raw"] == texts[-1]["answer"][0] == merged
    full = next(message["message"] for message in received if message["type"] == "task_output_full")
    if generation == "older":
        assert full["raw"] == merged
        assert (content["thinking"], content["answer"]) == (texts[-1]["thinking"], [merged])
        assert "segments" not in texts[-1]
    else:
        assert full == ""
        assert [segment["type"] for segment in content["segments"]] == ["thinking", "answer"]
        assert content["finishreason"] == texts[-1]["finishreason"] == "stop"
        usage = content["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


TOOL = {"type": "function", "function": {"name": "get_weather"}}


@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL]), [TOOL["function"]]])
async def test_writer_calls_tools(api: "Api", tools: Any) -> None:
    """With a tool, the writer calls it and stops."""
    task = await api.ended(await api.run("writer", prompt="Weather?", tools=tools, seconds=0.1))
    content = task["outputs"][0]["content"]
    call = content["segments"][-1]
    assert (content["finishreason"], call["type"], call["name"]) == (
        "tool_calls",
        "function_call",
        "get_weather",
    )
    assert (call["status"], json.loads(call["arguments"])) == ("completed", {"query": "weather"})


@pytest.mark.parametrize(
    "turn,problem",
    [
        ({}, "Request parameter [prompt] required"),
        ({"prompt": "x", "messages": [{}]}, "Request parameters are invalid."),
        ({"toolOutputs": [{}]}, "Request parameters are invalid."),
        ({"toolOutputs": [{}], "previousTaskToken": "t", "prompt": "x"}, "Request parameters are invalid."),
        ({"toolOutputs": [{}], "previousTaskToken": "t"}, "Request parameters are invalid."),
        ({"messages": [{"role": "user"}], "tools": ["odd"]}, None),
        ({"prompt": "x", "tools": [{"function": "odd"}]}, None),
    ],
)
async def test_writer_turns(api: "Api", turn: dict[str, Any], problem: str | None) -> None:
    """A turn has exactly one of prompt, messages and tool outputs."""
    answer = await api.post("Run/emulator/writer", turn)
    assert answer["result"] is (problem is None)
    assert problem is None or answer["errors"][0]["message"] == problem


async def test_custom_models(api: "Api") -> None:
    """A model is a function from inputs to a script. Outputs may be late, or without a start."""

    def late() -> Outputs:
        return (FileOutput("late.bin", "application/octet-stream", b"late"),)

    def script(inputs: Any) -> Script:
        assert inputs.text("missing", "default") == "default"
        return Script((Step("task_postprocess_end", after=0.1),), late)

    def replaced(inputs: Any) -> Script:
        return Script(timeline(0.1, [progress(1, 1, 0)], overhead=0.01))

    mine = [ModelScript("me/late", script), ModelScript("emulator/writer", replaced)]
    with WiroEmulator(models=mine, api_secret=None) as emulator:
        one = type(api)(emulator, api.http)
        answer = await one.post("Run/me/late")
        task = await one.ended(answer["socketaccesstoken"])
        assert task["outputs"][0]["name"] == "late.bin"
        assert (await one.ended(await one.run("writer")))["outputs"] == []
