"""Inputs are checked, priced and sent as their models want them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from time import process_time
from typing import Any

import pytest
import pytest_asyncio

from wiro_async import (
    AsyncWiro,
    ConfigurationError,
    File,
    InvalidInputError,
)
from wiro_async._api.resources import model_catalog as models
from wiro_async._types import CheckInputs
from wiro_async.testing import STANDARD, Delay, Respond, WiroEmulator

FAMILIES = [model for model in STANDARD if model.slug.startswith("family/")]
PNG = File(b"picture", "a.png")
URL = "https://example.com/a.png"

# What people would run each of them with, and what that costs if it can be known.
RUNS: dict[str, tuple[dict[str, Any], str | None]] = {
    "text-to-image": ({"prompt": "a fox", "width": 768, "samples": 2, "seed": 7}, "0.078"),
    "virtual-try-on": ({"inputImageHuman": PNG, "inputImageClothes": [URL, PNG], "keepShoes": True}, "0.14"),
    "image-edit": ({"prompt": "add a hat", "inputImage": [PNG], "resolution": "4K", "watermark": True}, "0.24"),
    "exact-canvas": ({"prompt": "a fox", "width": 2048, "height": 1024, "inputImage": [URL, PNG]}, None),
    "upscaler": ({"inputImage": URL, "scale": 4, "outputSize": "2048x2048"}, "0.05"),
    "text-to-video": ({"prompt": "a fox", "duration": 10, "resolution": "480p", "generateAudio": False}, "0.12"),
    "image-to-video": ({"inputImage": PNG, "inputImageLast": URL, "videoDuration": 8}, None),
    "lip-sync": ({"inputVideo": File(b"v", "v.mp4"), "inputAudio": File(b"a", "a.wav")}, None),
    "text-to-speech": ({"prompt": "Hello there", "voice": "roger", "speed": "1.1"}, "0.0011"),
    "speech-to-text": ({"inputAudio": File(b"a", "a.m4a"), "diarize": "true", "language": ""}, None),
    "music": ({"prompt": "a waltz", "durationSeconds": 60}, "0.08"),
    "chat": ({"prompt": "2 + 2?", "tools": [{"type": "function"}], "session_id": "s"}, None),
    "document-reader": ({"prompt": "What is it?", "inputDocumentMultiple": [File(b"p", "p.pdf"), URL]}, None),
    "image-to-3d": ({"inputImage": [PNG, PNG], "targetPolycount": 5000, "pbr.enable": True}, None),
    "lora-training": ({"inputZip": File(b"z", "z.zip"), "triggerWord": "ohwx", "steps": "500"}, None),
}


@pytest_asyncio.fixture
async def checking(emulator: WiroEmulator) -> AsyncIterator[AsyncWiro]:
    """A session that checks every input."""
    async with AsyncWiro(**emulator.options(), check_inputs=True) as session:
        yield session


def calls(emulator: WiroEmulator, endpoint: str) -> int:
    """How often an endpoint was asked."""
    return sum(call.endpoint == endpoint for call in emulator.ledger.calls)


# Checking and pricing


async def test_check(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """Every problem in one error, nothing sent."""
    await wiro.models.validate("family/text-to-image", {"prompt": "a fox"})
    with pytest.raises(InvalidInputError) as caught:
        await wiro.models.validate("family/text-to-image", {"promt": "a fox", "width": 100, "samples": "5"})
    assert len(caught.value.errors) == 4
    assert "did you mean 'prompt'?" in caught.value.errors[0]
    assert not emulator.ledger.submissions


async def test_estimate(wiro: AsyncWiro) -> None:
    """For one run or many; a negative number of runs is refused."""
    one = await wiro.models.estimate("family/text-to-video", {"prompt": "x", "resolution": "1080p"})
    assert (one.total, one.method, one.exact) == (Decimal("0.29"), "cpr", True)
    assert (await wiro.models.estimate("family/text-to-video", {"prompt": "x"}, count=1000)).total == 130
    with pytest.raises(InvalidInputError, match="count is -1"):
        await wiro.models.estimate("family/text-to-video", {}, count=-1)


@pytest.mark.parametrize("name", RUNS)
async def test_families(checking: AsyncWiro, emulator: WiroEmulator, name: str) -> None:
    """Inputs people would give pass, run, and cost what was estimated."""
    given, cost = RUNS[name]
    model = await checking.models.get(f"family/{name}")
    estimate = await checking.models.estimate(model, given)
    result = await checking.run(model.raw_slug, given)
    assert result.succeeded
    assert estimate.total == (result.cost if cost is None and estimate.quantity else estimate.total)
    assert (estimate.exact, estimate.total) == ((True, result.cost) if cost else (False, estimate.total))
    assert cost is None or result.cost == Decimal(cost)


def test_there_are_enough_families() -> None:
    """At least twelve, in both vocabularies, grouped and flat, and each of them is run above."""
    tools = [model.tool for model in FAMILIES]
    assert len(tools) >= 12
    assert {"minvalue", "min"} <= {key for tool in tools for key in _keys(tool["parameters"])}
    assert {"defaultvalue", "value", "default"} & {key for tool in tools for key in _keys(tool["parameters"])}
    grouped = {"items" in parameters[0] for parameters in (list[Any](tool["parameters"]) for tool in tools)}  # type: ignore[arg-type]
    assert grouped == {True, False}
    assert {
        str(tool.get("cleanslugproject") or model.slug.partition("/")[2])
        for tool, model in zip(tools, FAMILIES, strict=True)
    } == set(RUNS)


def _keys(parameters: Any) -> set[str]:
    items = [inner for outer in parameters for inner in outer.get("items", [outer])]
    return {key for item in items for key in item}


# Running

BAD: dict[str, Any] = {"prompt": "x", "width": 100}


async def test_run_with_check(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """What is wrong is told before anything is sent."""
    with pytest.raises(InvalidInputError, match="1 problem in the input for family/text-to-image"):
        await wiro.run("family/text-to-image", BAD, validate=True)
    with pytest.raises(InvalidInputError, match="1 problem"):
        await wiro.submit("family/text-to-image", BAD, validate=True)
    with pytest.raises(InvalidInputError, match="1 problem"):
        async with wiro.stream("family/text-to-image", BAD, validate=True):
            pass
    assert calls(emulator, "Run/family/text-to-image") == 0


@pytest.mark.parametrize(
    "setting,known,check,refused",
    [
        ("auto", False, None, False),
        ("auto", True, None, True),
        ("auto", True, False, False),
        (True, False, None, True),
        (True, False, False, False),
        (False, True, None, False),
        (False, False, True, True),
    ],
)
async def test_when_inputs_are_checked(
    emulator: WiroEmulator, setting: CheckInputs, known: bool, check: bool | None, refused: bool
) -> None:
    """By the session's setting, by what it knows, and by what the call says."""
    async with AsyncWiro(**emulator.options(), check_inputs=setting) as wiro:
        if known:
            await wiro.models.get("family/text-to-image")
        if refused:
            with pytest.raises(InvalidInputError):
                await wiro.run("family/text-to-image", BAD, validate=check)
        else:
            assert (await wiro.run("family/text-to-image", BAD, validate=check)).succeeded
    assert len(emulator.ledger.submissions) == (not refused)


async def test_names_that_a_model_does_not_tell(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Where the schema is known by chance they pass, for models take more than they tell; slips of the pen do not."""
    await wiro.models.get("family/text-to-image")
    assert (await wiro.run("family/text-to-image", {"prompt": "a fox", "undocumented": 1})).succeeded
    with pytest.raises(InvalidInputError, match="did you mean"):
        await wiro.run("family/text-to-image", {"prompt": "a fox", "prompt_": "1K"})
    with pytest.raises(InvalidInputError, match="undocumented"):
        await wiro.run("family/text-to-image", {"prompt": "a fox", "undocumented": 1}, validate=True)
    assert len(emulator.ledger.submissions) == 1


async def test_a_schema_that_has_grown_old(
    emulator: WiroEmulator, wiro: AsyncWiro, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for again before it refuses what it allows by now, and never before it lets something pass."""
    items = [{"id": "prompt", "type": "textarea"}, {"id": "resolution", "type": "select", "options": ["480p"]}]
    tool = {"slugowner": "family", "slugproject": "text-to-video", "parameters": items}
    emulator.faults.http("Tool/Detail", Respond(200, json.dumps({"result": True, "tool": [tool]}).encode()))
    await wiro.models.get("family/text-to-video")
    new = {"prompt": "a fox", "resolution": "720p"}
    with pytest.raises(InvalidInputError, match="'720p'"):
        await wiro.submit("family/text-to-video", new)
    monkeypatch.setattr(models, "FRESH", 0.0)
    await wiro.submit("family/text-to-video", {"prompt": "a fox", "resolution": "480p"})
    assert calls(emulator, "Tool/Detail") == 1
    await wiro.submit("family/text-to-video", new)
    assert calls(emulator, "Tool/Detail") == 2
    with pytest.raises(InvalidInputError, match="'9p'"):
        await wiro.submit("family/text-to-video", {"prompt": "a fox", "resolution": "9p"})
    assert calls(emulator, "Tool/Detail") == 3


async def test_values_beyond_all_measure(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Text of any number is text, to runs and estimates, with a schema or without; and no time is lost with it."""
    start = process_time()
    for check in (None, True):
        for prompt in ("1e9999999", "9" * 5000):
            await wiro.submit("family/text-to-image", {"prompt": prompt, "seed": "1e999999"}, validate=check)
            assert emulator.ledger.submissions[-1].parameters["prompt"] == prompt
        with pytest.raises(InvalidInputError, match="over 4300 digits"):
            await wiro.submit("family/text-to-image", {"prompt": "x", "odd": 10**5000}, validate=check)
    assert (await wiro.models.estimate("family/text-to-image", {"prompt": "x", "samples": "1e9999999"})).total > 0
    assert process_time() - start < 10


async def test_a_project_by_number(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Ids are digits, as text or as a number."""
    number: Any = 716
    await wiro.submit("emulator/queued", project_id=number)
    assert emulator.ledger.calls[-1].parameters["projectid"] == "716"


async def test_a_batch_is_checked_item_by_item(checking: AsyncWiro, emulator: WiroEmulator) -> None:
    """The model is asked for once, wrong items never leave."""
    inputs: list[dict[str, Any]] = [{"prompt": "x"}, BAD, {"prompt": "y"}]
    results = await checking.map("family/text-to-image", inputs, return_exceptions=True)
    assert [isinstance(result, InvalidInputError) for result in results] == [False, True, False]
    assert (calls(emulator, "Tool/Detail"), len(emulator.ledger.submissions)) == (1, 2)


async def test_the_setting_of_a_view(wiro: AsyncWiro) -> None:
    """A view may set it for itself; anything else than the three is refused."""
    with pytest.raises(InvalidInputError):
        await wiro.with_options(check_inputs=True).run("family/text-to-image", BAD)
    assert (await wiro.with_options(check_inputs=False).run("family/text-to-image", BAD)).succeeded
    with pytest.raises(ConfigurationError, match="check_inputs is 'yes'"):
        wiro.with_options(check_inputs="yes")  # type: ignore[arg-type]


async def test_files_go_where_the_model_wants_them(checking: AsyncWiro, emulator: WiroEmulator, tmp_path: Path) -> None:
    """Uploads under their name, URLs beside them, the unused one empty; combined ones together in order."""
    photo = tmp_path / "me.png"
    photo.write_bytes(b"me")
    given = {"inputImageHuman": photo, "inputImageClothes": [URL, PNG, URL + "2"]}
    await checking.run("family/Virtual Try-On", given)
    sent = emulator.ledger.submissions[-1]
    assert [(upload.field, upload.name, upload.data) for upload in sent.files] == [
        ("inputImageHuman", "me.png", b"me"),
        ("inputImageClothes", "a.png", b"picture"),
    ]
    assert sent.parameters == {"inputImageHumanUrl": "", "inputImageClothes": [URL, URL + "2"]}


async def test_urls_alone_go_as_json(checking: AsyncWiro, emulator: WiroEmulator) -> None:
    """Comma-separated beside their name; what looks like a number or a boolean takes the form the model wants."""
    given = {"prompt": "x", "inputDocumentMultiple": [URL, URL], "outputType": "json"}
    await checking.run("family/document-reader", given)
    assert emulator.ledger.submissions[-1].parameters == {
        "prompt": "x",
        "outputType": "json",
        "inputDocumentMultipleUrl": f"{URL},{URL}",
    }
    await checking.run("family/text-to-video", {"prompt": "x", "duration": 5, "generateAudio": True, "seed": "7"})
    assert emulator.ledger.submissions[-1].parameters == {
        "prompt": "x",
        "duration": "5",
        "generateAudio": "true",
        "seed": 7,
    }


async def test_the_time_for_a_run_counts_the_question_too(emulator: WiroEmulator) -> None:
    """A model that is asked for in vain does not hold up a run beyond its time-out."""
    emulator.faults.http("Tool/Detail", Delay(3))
    async with AsyncWiro(**emulator.options(), check_inputs=True) as wiro:
        with pytest.raises(TimeoutError):
            await wiro.run("family/chat", {"prompt": "x"}, timeout=0.1)
    assert not emulator.ledger.submissions
