"""Outputs are read, streamed and saved."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from wiro_async import AsyncWiro, DownloadError, TaskResult
from wiro_async.testing import FileOutput, ModelScript, Respond, Script, Step, WiroEmulator
from wiro_async.testing import timeline as played

SMALL = {"prompt": "a fox", "width": 64, "height": 64, "seconds": 3}
NAMES = ["..\\up.txt", "CON.txt", "a:b?.png", "same.png", "same.png"]


async def painted(wiro: AsyncWiro, images: int = 1) -> TaskResult:
    """The result of a run with pictures."""
    return await wiro.run("emulator/painter", {**SMALL, "images": images})


def script(*outputs: FileOutput) -> ModelScript:
    """A model that makes these files."""
    return ModelScript("emulator/maker", lambda given: Script(played(3, [Step("task_output")] * 3), outputs))


async def test_read_and_stream_give_the_same_bytes(wiro: AsyncWiro) -> None:
    """Both give the whole file."""
    output = (await painted(wiro)).output
    data = await output.read()
    async with output.stream() as chunks:
        streamed = b"".join([chunk async for chunk in chunks])
    assert data == streamed
    assert len(data) == output.size
    assert output.content_type == "image/png"


async def test_no_credentials_go_to_an_output_url(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The URL is public. Its access key does not appear in a repr."""
    output = (await painted(wiro)).output
    await output.read()
    sent = emulator.ledger.calls[-1].headers
    assert not {name for name in sent if name.startswith("x-")}
    assert str(output.url).split("/")[-2] not in repr(output)


async def test_save_under_a_path(wiro: AsyncWiro, tmp_path: Path) -> None:
    """The file has that name, and nothing else is left beside it."""
    output = (await painted(wiro)).output
    path = await output.save(tmp_path / "new" / "fox.png")
    assert path == tmp_path / "new" / "fox.png"
    assert path.read_bytes() == await output.read()
    assert [file.name for file in path.parent.iterdir()] == ["fox.png"]


@pytest.mark.parametrize("given", ["existing", "existing/", "fresh/"])
async def test_save_into_a_directory(wiro: AsyncWiro, tmp_path: Path, given: str) -> None:
    """In a directory that exists, or ends with a slash, the file gets its own name."""
    (tmp_path / "existing").mkdir()
    path = await (await painted(wiro)).output.save(f"{tmp_path}/{given}")
    assert path == tmp_path / given.strip("/") / "0.png"


async def test_saving_twice_numbers(wiro: AsyncWiro, tmp_path: Path) -> None:
    """No file is replaced by default."""
    output = (await painted(wiro)).output
    names = [(await output.save(tmp_path / "fox.png")).name for _ in range(3)]
    assert names == ["fox.png", "fox-2.png", "fox-3.png"]


async def test_overwriting(wiro: AsyncWiro, tmp_path: Path) -> None:
    """With `overwrite` the old file is replaced."""
    path = tmp_path / "fox.png"
    path.write_bytes(b"old")
    output = (await painted(wiro)).output
    assert await output.save(path, overwrite=True) == path
    assert path.read_bytes() == await output.read()


async def test_all_outputs_of_a_result(wiro: AsyncWiro, tmp_path: Path) -> None:
    """They are saved at the same time and returned in order."""
    result = await painted(wiro, images=3)
    paths = await result.save(tmp_path / "out")
    assert [path.name for path in paths] == ["0.png", "1.png", "2.png"]
    assert [path.read_bytes() for path in paths] == [await output.read() for output in result.outputs]
    again = await result.save(tmp_path / "out", overwrite=True)
    assert again == paths


async def test_unsafe_names_stay_in_their_directory(tmp_path: Path) -> None:
    """Reserved, unsafe or equal names: each file ends up in the directory, under a name of its own."""
    outputs = [FileOutput(name, "text/plain", f"{number}".encode()) for number, name in enumerate(NAMES)]
    with WiroEmulator(speed=50, models=[script(*outputs)]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro:
            paths = await (await wiro.run("emulator/maker")).save(tmp_path / "out")
    assert [path.read_text() for path in paths] == [f"{number}" for number in range(len(NAMES))]
    assert sorted((tmp_path / "out").iterdir()) == sorted(paths)
    assert {path.name for path in paths} == {"_up.txt", "_CON.txt", "a_b_.png", "same.png", "same-2.png"}


async def test_an_llms_text_is_an_output(wiro: AsyncWiro, tmp_path: Path) -> None:
    """It has no URL, but reads and saves like a file."""
    result = await wiro.run("emulator/writer", {"prompt": "a fox", "seconds": 5})
    output = result.output
    assert (output.url, output.content_type, output.name) == (None, "raw", "answer.txt")
    assert (await output.read()).decode() == result.text
    path = await output.save(tmp_path)
    assert path.read_text(encoding="utf-8") == result.text


async def test_the_parts_of_an_llms_answer(wiro: AsyncWiro) -> None:
    """Thoughts, usage and the finish reason."""
    result = await wiro.run("emulator/writer", {"prompt": "a fox", "seconds": 5})
    assert result.thinking
    assert result.text
    again = await wiro.run("emulator/writer", {"prompt": "a fox", "seconds": 5})
    newer = result if result.segments else again
    assert newer.finish_reason == "stop"
    assert newer.usage["total_tokens"]
    assert [segment["type"] for segment in newer.segments] == ["thinking", "answer"]


async def test_tool_calls(wiro: AsyncWiro) -> None:
    """A tool call has the name of the tool and its arguments."""
    tools = [{"type": "function", "function": {"name": "search", "parameters": {}}}]
    result = await wiro.run("emulator/writer", {"prompt": "a fox", "tools": tools, "seconds": 5})
    (call,) = result.tool_calls
    assert (call.name, call.status, call.arguments) == ("search", "completed", '{"query":"weather"}')
    assert call.call_id == "call_1"
    assert result.finish_reason == "tool_calls"


async def test_text_of_other_models_is_their_log(wiro: AsyncWiro) -> None:
    """The log is all the text that they have."""
    with WiroEmulator(
        speed=50,
        models=[ModelScript("emulator/log", lambda given: Script(played(3, [Step("task_output", log="line\n")])))],
    ) as emulator:
        async with AsyncWiro(**emulator.options()) as session:
            result = await session.run("emulator/log")
    assert result.text == "line\n"
    assert (result.thinking, result.segments, result.tool_calls, result.finish_reason) == ("", (), (), None)
    assert dict(result.usage) == {}


async def test_a_result_without_outputs() -> None:
    """Asking for the first one raises an error."""
    with WiroEmulator(speed=50, models=[script()]) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro:
            result = await wiro.run("emulator/maker")
    assert result.outputs == ()
    with pytest.raises(DownloadError, match="made no output"):
        _ = result.output


async def test_one_failed_download_of_several(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """The error is raised as itself, not in a group, and the other files are kept."""
    result = await painted(wiro, images=3)
    emulator.faults.http("files/*", Respond(403, "no"))
    with pytest.raises(DownloadError, match="403"):
        await result.save(tmp_path)
    assert len([file async for file in anyio.Path(tmp_path).iterdir()]) == 2


async def test_late_output_files_are_waited_for(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A URL may answer 404 for some time after success."""
    emulator.faults.output_lag = 2
    assert (await (await painted(wiro)).output.read()).startswith(b"\x89PNG")
