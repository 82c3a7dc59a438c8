"""`run()`: inputs, results, listeners, refusals."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from wiro_async import (
    AsyncWiro,
    File,
    InvalidInputError,
    NotFoundError,
    Progress,
    StatusChanged,
    TaskCancelledError,
    TaskEvent,
    TaskFailedError,
    TaskFinished,
)
from wiro_async.testing import WiroEmulator

SMALL = {"prompt": "a fox", "width": 16, "height": 16, "seconds": 5}


async def test_the_result_of_a_run(wiro: AsyncWiro) -> None:
    """The outputs, the cost, the duration, and the service's record."""
    result = await wiro.run("emulator/painter", {**SMALL, "images": 2})
    assert result.succeeded
    assert [output.name for output in result.outputs] == ["0.png", "1.png"]
    assert result.output is result.outputs[0]
    assert result.cost == Decimal("0.08")
    assert result.elapsed is not None
    assert result.elapsed > 0
    assert result.info.model == "emulator/painter"
    assert result.info.parameters["width"] == "16"
    assert result.info.raw["pexit"] == "0"


async def test_parameters_arrive_unchanged(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A JSON run keeps the types of its values."""
    given = {"a": 1, "b": 2.5, "c": True, "d": None, "e": ["https://x.test/1.png", 2], "f": {"g": "h"}, "text": "é"}
    await wiro.run("emulator/sleeper", {**given, "seconds": 3})
    assert emulator.ledger.submissions[0].parameters == {**given, "seconds": 3}


async def test_no_input_is_an_empty_one(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Some models need no input."""
    await wiro.run("emulator/sleeper", timeout=30)
    assert emulator.ledger.submissions[0].parameters == {}


async def test_project_and_callback_are_sent(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Both belong to the run. The callback's own query is kept as it is."""
    url = "http://127.0.0.1:9/hook?secret=a%20b&empty="
    await wiro.run("emulator/sleeper", {"seconds": 3}, callback_url=url, project_id="4711")
    (made,) = emulator.ledger.submissions
    assert made.project_id == "4711"
    assert made.callback_url.startswith("http://127.0.0.1:9/hook?secret=a%20b&empty=&")


async def test_a_slug_is_sent_as_it_is_written(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Capitals and spaces are kept, and each segment is encoded."""
    with pytest.raises(NotFoundError):
        await wiro.run(" Some Owner/Model #1")
    assert emulator.ledger.calls[0].path == "/v1/Run/%20Some%20Owner/Model%20%231"


@pytest.mark.parametrize(
    "model",
    ["painter", "a/b/c", "", "/", "owner/", "/model", "../Task", "owner/..", "./x", "a\n/b", " / ", None, 5, "owner/."],
)
async def test_an_invalid_model_name(emulator: WiroEmulator, wiro: AsyncWiro, model: Any) -> None:
    """It is refused before any request."""
    with pytest.raises(InvalidInputError, match="owner/model"):
        await wiro.run(model)
    assert not emulator.ledger.calls


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {1, 2},
        b"bytes",
        object(),
        {"inner": [1, float("nan")]},
        {1: "a key that is no text"},
        [b"bytes"],
    ],
    ids=lambda value: type(value).__name__,
)
async def test_values_that_json_cannot_hold(emulator: WiroEmulator, wiro: AsyncWiro, value: object) -> None:
    """The error names the parameter, and nothing is sent."""
    with pytest.raises(InvalidInputError, match="strange"):
        await wiro.run("emulator/sleeper", {"fine": 1, "strange": value})
    assert not emulator.ledger.calls


@pytest.mark.parametrize("given", [["a", "list"], "text", {1: "x"}, 5])
async def test_an_input_that_is_no_mapping(emulator: WiroEmulator, wiro: AsyncWiro, given: Any) -> None:
    """It is refused before any request."""
    with pytest.raises(InvalidInputError, match=r"mapping|strings"):
        await wiro.run("emulator/sleeper", given)
    assert not emulator.ledger.calls


async def test_a_missing_file_is_reported_as_such(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """The usual FileNotFoundError with its name, and no run is sent."""
    missing = tmp_path / "missing.png"
    for value in (missing, File(missing, "a.png"), [missing]):
        with pytest.raises(FileNotFoundError) as caught:
            await wiro.run("emulator/mirror", {"inputImage": value})
        assert caught.value.filename == str(missing)
    assert emulator.ledger.count("Run/*") == 0
    assert wiro.statistics().submissions == 0


async def test_text_never_opens_a_file(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """A string that looks like a path stays a string."""
    path = tmp_path / "file.txt"
    path.write_text("private")
    await wiro.run("emulator/sleeper", {"prompt": str(path), "seconds": 3})
    (made,) = emulator.ledger.submissions
    assert made.parameters["prompt"] == str(path)
    assert not made.files


async def picture(wiro: AsyncWiro) -> bytes:
    """A PNG."""
    return await (await wiro.run("emulator/painter", SMALL)).output.read()


@pytest.mark.parametrize("kind", ["path", "open file", "bytes in File", "iterator", "memory", "path in File"])
async def test_files_of_every_kind(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path, kind: str) -> None:
    """For a path, an open file, bytes and an async iterator, equal bytes arrive, and a picture is returned."""
    data = await picture(wiro)
    path = tmp_path / "fox.png"
    path.write_bytes(data)

    async def chunks() -> AsyncIterator[bytes]:
        yield data[:100]
        yield data[100:]

    with path.open("rb") as opened:
        file = {
            "path": path,
            "open file": opened,
            "bytes in File": File(data, "fox.png"),
            "iterator": File(chunks(), "fox.png", "image/png"),
            "memory": io.BytesIO(data),
            "path in File": File(path, "fox.png"),
        }[kind]
        result = await wiro.run("emulator/mirror", {"inputImage": file, "effect": "invert", "seconds": 5, "flag": True})
    assert (await result.output.read()).startswith(b"\x89PNG")
    made = emulator.ledger.submissions[-1]
    (upload,) = made.files
    assert (upload.field, upload.data) == ("inputImage", data)
    assert upload.name == ("file" if kind == "memory" else "fox.png")
    assert upload.content_type == ("application/octet-stream" if kind == "memory" else "image/png")
    assert made.parameters == {"effect": "invert", "seconds": "5", "flag": "true", "inputImageUrl": ""}


async def test_several_files_and_urls_for_one_parameter(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Files repeat the parameter's name. URLs have a name of their own."""
    data = await picture(wiro)
    files = [File(data, "1.png"), "https://x.test/2.png", File(data, "3.png")]
    result = await wiro.run("emulator/mirror", {"inputImage": files, "seconds": 5})
    made = emulator.ledger.submissions[-1]
    assert [(file.field, file.name) for file in made.files] == [("inputImage", "1.png"), ("inputImage", "3.png")]
    assert made.parameters["inputImageUrl"] == "https://x.test/2.png"
    assert len(result.outputs) == 3


async def test_a_file_opened_as_text(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """The error states how to open it, and no task is made."""
    path = tmp_path / "text.txt"
    path.write_text("text")
    with path.open() as opened, pytest.raises(InvalidInputError, match="'rb'"):
        await wiro.run("emulator/mirror", {"inputImage": opened})
    assert not emulator.ledger.submissions


@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine function"])
async def test_a_listener_gets_every_event(wiro: AsyncWiro, is_async: bool) -> None:
    """Events come in order, the end last. A listener may be a coroutine function."""
    events: list[TaskEvent] = []

    async def listen(event: TaskEvent) -> None:
        events.append(event)

    result = await wiro.run(
        "emulator/painter", {**SMALL, "seconds": 20}, on_event=listen if is_async else events.append
    )
    fractions = [event.fraction for event in events if isinstance(event, Progress)]
    assert fractions
    assert fractions == sorted(fractions)
    assert isinstance(events[0], StatusChanged)
    last = events[-1]
    assert isinstance(last, TaskFinished)
    assert last.result.info == result.info


@pytest.mark.parametrize("listened", [False, True])
async def test_a_failed_run(emulator: WiroEmulator, wiro: AsyncWiro, listened: bool) -> None:
    """The error has the task, and its text has the last log lines. The run is not billed."""
    events: list[TaskEvent] = []
    with pytest.raises(TaskFailedError) as caught:
        await wiro.run(
            "emulator/failing", {"seconds": 5, "reason": "No such LoRA."}, on_event=events.append if listened else None
        )
    error = caught.value
    assert "No such LoRA." in str(error)
    assert "exit code 1" in str(error)
    assert "Loading weights" in error.info.log
    assert (error.task_id, error.token) == (error.info.id, emulator.ledger.submissions[0].token)
    assert str(error.token) not in f"{error}{error!r}"
    assert not error.info.cost


async def test_a_run_that_is_killed_elsewhere(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """It raises instead of returning a result."""

    async def kill(event: TaskEvent) -> None:
        if event.status == "task_start":
            await wiro.task(emulator.ledger.submissions[0].token).cancel()

    with pytest.raises(TaskCancelledError, match="was cancelled") as caught:
        await wiro.run("emulator/stuck", on_event=kill)
    assert caught.value.info.was_cancelled


async def test_a_refusal_has_the_message_of_the_service(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A missing parameter becomes InvalidInputError, a missing model NotFoundError."""
    with pytest.raises(InvalidInputError, match=r"Request parameter \[prompt\] required") as caught:
        await wiro.run("emulator/painter", {"width": 16})
    assert (caught.value.code, caught.value.http_status) == (0, 200)
    with pytest.raises(NotFoundError, match="not-exist"):
        await wiro.run("emulator/nowhere")
    assert not emulator.ledger.submissions
    assert wiro.statistics().owned_tasks == 0


async def test_stored_files_are_sent_as_urls(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Outputs and uploaded files are not uploaded again."""
    first = await wiro.run("emulator/painter", {"prompt": "a fox", "seconds": 1})
    uploaded = await wiro.files.upload(File(b"words", "words.txt"))
    await wiro.run("emulator/sleeper", {"seconds": 1, "image": first.output, "all": [first.output, uploaded]})
    sent = emulator.ledger.submissions[-1]
    assert sent.parameters["image"] == first.output.url
    assert sent.parameters["all"] == [first.output.url, uploaded.url]
    assert not sent.files


async def test_a_key_in_a_tasks_log_is_not_shown(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A model may write anything to its log, even secrets of the program."""
    with pytest.raises(TaskFailedError) as caught:
        await wiro.run("emulator/failing", {"reason": f"no access with {emulator.api_secret}"})
    assert "no access with" in str(caught.value)
    assert str(emulator.api_secret) not in f"{caught.value} {caught.value!r}"
