"""Inputs are validated, priced and sent as their models expect, and always in the same way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from time import process_time
from typing import Any

import anyio
import pytest
import pytest_asyncio

from wiro_async import (
    AsyncWiro,
    AuthenticationError,
    ConfigurationError,
    File,
    InvalidInputError,
    RetryPolicy,
    Tuning,
)
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
async def validating(emulator: WiroEmulator) -> AsyncIterator[AsyncWiro]:
    """A session that validates every input."""
    async with AsyncWiro(**emulator.options(), validate=True) as session:
        yield session


def calls(emulator: WiroEmulator, endpoint: str) -> int:
    """Return the number of requests to an endpoint."""
    return sum(call.endpoint == endpoint for call in emulator.ledger.calls)


# Checking and pricing


async def test_validate(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """All problems are in one error, and nothing is sent."""
    await wiro.models.validate("family/text-to-image", {"prompt": "a fox"})
    with pytest.raises(InvalidInputError) as caught:
        await wiro.models.validate("family/text-to-image", {"promt": "a fox", "width": 100, "samples": "5"})
    assert len(caught.value.errors) == 4
    assert "did you mean 'prompt'?" in caught.value.errors[0]
    assert not emulator.ledger.submissions


async def test_estimate(wiro: AsyncWiro) -> None:
    """For one run or many. A negative number of runs is refused."""
    one = await wiro.models.estimate("family/text-to-video", {"prompt": "x", "resolution": "1080p"})
    assert (one.total, one.method, one.exact) == (Decimal("0.29"), "cpr", True)
    assert (await wiro.models.estimate("family/text-to-video", {"prompt": "x"}, count=1000)).total == 130
    with pytest.raises(InvalidInputError, match="count is -1"):
        await wiro.models.estimate("family/text-to-video", {}, count=-1)


@pytest.mark.parametrize("name", RUNS)
async def test_families(validating: AsyncWiro, emulator: WiroEmulator, name: str) -> None:
    """Realistic inputs are valid, run, and cost what was estimated."""
    given, cost = RUNS[name]
    model = await validating.models.get(f"family/{name}")
    estimate = await validating.models.estimate(model, given)
    result = await validating.run(model.raw_slug, given)
    assert result.succeeded
    assert estimate.total == (result.cost if cost is None and estimate.quantity else estimate.total)
    assert (estimate.exact, estimate.total) == ((True, result.cost) if cost else (False, estimate.total))
    assert cost is None or result.cost == Decimal(cost)


def test_there_are_enough_families() -> None:
    """At least twelve, in both vocabularies, grouped and flat. Each of them is run above."""
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


async def test_run_with_validate(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """The error lists the problems before anything is sent."""
    with pytest.raises(InvalidInputError, match="1 problem in the input for family/text-to-image"):
        await wiro.run("family/text-to-image", BAD, validate=True)
    with pytest.raises(InvalidInputError, match="1 problem"):
        await wiro.submit("family/text-to-image", BAD, validate=True)
    with pytest.raises(InvalidInputError, match="1 problem"):
        async with wiro.stream("family/text-to-image", BAD, validate=True):
            pass
    assert calls(emulator, "Run/family/text-to-image") == 0


@pytest.mark.parametrize(
    "setting,known,validate,refused",
    [
        (False, False, None, False),
        (False, True, None, False),
        (False, True, False, False),
        (False, False, True, True),
        (True, False, None, True),
        (True, True, None, True),
        (True, False, False, False),
    ],
)
async def test_when_inputs_are_validated(
    emulator: WiroEmulator, setting: bool, known: bool, validate: bool | None, refused: bool
) -> None:
    """The option of the session or of the call decides, not what the session has cached."""
    async with AsyncWiro(**emulator.options(), validate=setting) as wiro:
        if known:
            await wiro.models.get("family/text-to-image")
        if refused:
            with pytest.raises(InvalidInputError):
                await wiro.run("family/text-to-image", BAD, validate=validate)
        else:
            assert (await wiro.run("family/text-to-image", BAD, validate=validate)).succeeded
    assert len(emulator.ledger.submissions) == (not refused)


async def test_names_outside_the_schema(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """They are sent, because models accept more than they list. Validation refuses them."""
    await wiro.models.get("family/text-to-image")
    for name in ("undocumented", "prompt_"):
        assert (await wiro.run("family/text-to-image", {"prompt": "a fox", name: 1})).succeeded
    with pytest.raises(InvalidInputError, match="did you mean"):
        await wiro.run("family/text-to-image", {"prompt": "a fox", "prompt_": "1K"}, validate=True)
    with pytest.raises(InvalidInputError, match="undocumented"):
        await wiro.run("family/text-to-image", {"prompt": "a fox", "undocumented": 1}, validate=True)
    assert len(emulator.ledger.submissions) == 2


@pytest.mark.parametrize("max_age", [3600.0, 0.0])
async def test_an_old_schema(emulator: WiroEmulator, max_age: float) -> None:
    """It is read again before it refuses an input, but not before it accepts one."""
    items = [{"id": "prompt", "type": "textarea"}, {"id": "resolution", "type": "select", "options": ["480p"]}]
    tool = {"slugowner": "family", "slugproject": "text-to-video", "parameters": items}
    emulator.faults.http("Tool/Detail", Respond(200, json.dumps({"result": True, "tool": [tool]}).encode()))
    options: Any = {**emulator.options(), "tuning": Tuning(schema_max_age=max_age), "validate": True}
    async with AsyncWiro(**options) as wiro:
        await wiro.submit("family/text-to-video", {"prompt": "a fox", "resolution": "480p"})
        assert calls(emulator, "Tool/Detail") == 1
        new = {"prompt": "a fox", "resolution": "720p"}
        if max_age:
            with pytest.raises(InvalidInputError, match="'720p'"):
                await wiro.submit("family/text-to-video", new)
            assert calls(emulator, "Tool/Detail") == 1
            return
        await wiro.submit("family/text-to-video", new)
        assert calls(emulator, "Tool/Detail") == 2
        with pytest.raises(InvalidInputError, match="'9p'"):
            await wiro.submit("family/text-to-video", {"prompt": "a fox", "resolution": "9p"})
        assert calls(emulator, "Tool/Detail") == 3


async def test_very_long_values(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Very long numbers as text are valid in runs and estimates, with and without a schema, and take no time."""
    start = process_time()
    for validate in (None, True):
        for prompt in ("1e9999999", "9" * 5000):
            await wiro.submit("family/text-to-image", {"prompt": prompt, "seed": "1e999999"}, validate=validate)
            assert emulator.ledger.submissions[-1].parameters["prompt"] == prompt
        with pytest.raises(InvalidInputError, match="over 4300 digits"):
            await wiro.submit("family/text-to-image", {"prompt": "x", "odd": 10**5000}, validate=validate)
    assert (await wiro.models.estimate("family/text-to-image", {"prompt": "x", "samples": "1e9999999"})).total > 0
    assert process_time() - start < 10


async def test_a_project_by_number(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Ids are digits, as text or as a number."""
    number: Any = 716
    await wiro.submit("emulator/queued", project_id=number)
    assert emulator.ledger.calls[-1].parameters["projectid"] == "716"


async def test_a_batch_is_checked_item_by_item(validating: AsyncWiro, emulator: WiroEmulator) -> None:
    """The schema is read once, and invalid items are not sent."""
    inputs: list[dict[str, Any]] = [{"prompt": "x"}, BAD, {"prompt": "y"}]
    results = await validating.map("family/text-to-image", inputs, return_exceptions=True)
    assert [isinstance(result, InvalidInputError) for result in results] == [False, True, False]
    assert (calls(emulator, "Tool/Detail"), len(emulator.ledger.submissions)) == (1, 2)


async def test_the_setting_of_a_view(wiro: AsyncWiro) -> None:
    """A view may set it. Only True and False are valid."""
    with pytest.raises(InvalidInputError):
        await wiro.with_options(validate=True).run("family/text-to-image", BAD)
    assert (await wiro.with_options(validate=False).run("family/text-to-image", BAD)).succeeded
    with pytest.raises(ConfigurationError, match="validate is 'yes'"):
        wiro.with_options(validate="yes")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="validate is 'yes'"):
        await wiro.run("family/text-to-image", BAD, validate="yes")  # type: ignore[call-overload]


async def test_files_go_where_the_model_wants_them(wiro: AsyncWiro, emulator: WiroEmulator, tmp_path: Path) -> None:
    """Uploads under the parameter's name, URLs in the field beside it, combined parameters in order."""
    photo = tmp_path / "me.png"
    photo.write_bytes(b"me")
    given = {"inputImageHuman": photo, "inputImageClothes": [URL, PNG, URL + "2"]}
    await wiro.run("family/Virtual Try-On", given)
    sent = emulator.ledger.submissions[-1]
    assert [(upload.field, upload.name, upload.data) for upload in sent.files] == [
        ("inputImageHuman", "me.png", b"me"),
        ("inputImageClothes", "a.png", b"picture"),
    ]
    assert sent.parameters == {"inputImageHumanUrl": "", "inputImageClothes": [URL, URL + "2"]}


async def test_urls_alone_go_as_json(validating: AsyncWiro, emulator: WiroEmulator) -> None:
    """They are joined by commas, and text that looks like a number or boolean takes the type of the schema."""
    given = {"prompt": "x", "inputDocumentMultiple": [URL, URL], "outputType": "json"}
    await validating.run("family/document-reader", given)
    assert emulator.ledger.submissions[-1].parameters == {
        "prompt": "x",
        "outputType": "json",
        "inputDocumentMultipleUrl": f"{URL},{URL}",
    }
    await validating.run("family/text-to-video", {"prompt": "x", "duration": 5, "generateAudio": True, "seed": "7"})
    assert emulator.ledger.submissions[-1].parameters == {
        "prompt": "x",
        "duration": "5",
        "generateAudio": "true",
        "seed": 7,
    }


async def test_the_timeout_of_a_run_covers_the_schema(emulator: WiroEmulator) -> None:
    """A schema that does not arrive delays no run beyond its timeout."""
    emulator.faults.http("Tool/Detail", Delay(3))
    async with AsyncWiro(**emulator.options(), validate=True) as wiro:
        with pytest.raises(TimeoutError):
            await wiro.run("family/chat", {"prompt": "x"}, timeout=0.1)
    assert not emulator.ledger.submissions


# The same call sends the same bytes


def fields(emulator: WiroEmulator) -> tuple[dict[str, Any], list[str]]:
    """Return the parameters and the file fields of the last run."""
    sent = emulator.ledger.submissions[-1]
    return dict(sent.parameters), [upload.field for upload in sent.files]


@pytest.mark.parametrize(
    "given",
    [
        {"prompt": "x", "inputDocumentMultiple": [URL, URL], "outputType": "json"},
        {"prompt": "x", "inputDocumentMultiple": [URL, File(b"p", "p.pdf")]},
        {"prompt": "x", "odd": True, "inputDocumentMultipleUrl": URL},
    ],
    ids=["urls", "files", "odd"],
)
async def test_the_cache_changes_nothing(emulator: WiroEmulator, given: dict[str, Any]) -> None:
    """A call sends equal data before and after the session has read the schema."""
    sent = []
    for knows in (False, True):
        async with AsyncWiro(**emulator.options()) as wiro:
            if knows:
                await wiro.models.get("family/document-reader")
            await wiro.run("family/document-reader", given)
            sent.append(fields(emulator))
    assert sent[0] == sent[1]


async def test_an_input_without_files_costs_no_call_for_the_schema(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """It is sent unchanged."""
    given = {"prompt": "x", "duration": 5, "generateAudio": True}
    await wiro.run("family/text-to-video", given)
    assert fields(emulator)[0] == given
    assert calls(emulator, "Tool/Detail") == 0


async def test_the_schema_is_read_once(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Once for each key, even by many runs at a time."""
    given = {"prompt": "x", "inputImage": File(b"picture", "a.png")}
    await asyncio.gather(*(wiro.run("family/image-edit", given) for _ in range(5)))
    await wiro.with_options(timeout=30).run("family/image-edit", given)
    assert calls(emulator, "Tool/Detail") == 1
    await wiro.with_options(api_key="other").models.get("family/image-edit")
    assert calls(emulator, "Tool/Detail") == 2


@pytest.mark.parametrize("status,again", [(404, False), (500, True)])
async def test_without_a_schema_files_keep_their_names(emulator: WiroEmulator, status: int, again: bool) -> None:
    """A run does not fail if the schema cannot be read. A missing model is not requested again."""
    refused = Respond(status, b'{"result": false, "errors": [{"code": 1, "message": "tool-not-accessible"}]}')
    emulator.faults.http("Tool/Detail", refused, times=None)
    given = {"inputImage": File(b"me", "me.png"), "otherImage": URL}
    async with AsyncWiro(**emulator.options(), retry=RetryPolicy(attempts=1)) as wiro:
        await wiro.submit("emulator/mirror", given)
        asked = calls(emulator, "Tool/Detail")
        assert fields(emulator) == ({"otherImage": URL}, ["inputImage"])
        await wiro.submit("emulator/mirror", given)
        assert fields(emulator) == ({"otherImage": URL}, ["inputImage"])
    assert asked
    assert (calls(emulator, "Tool/Detail") > asked) == again


# A refusal by the service is explained

REFUSAL = Respond(
    200, b'{"result": false, "errors": [{"code": 0, "message": "Request parameter [prompt] is required"}]}'
)


async def test_a_refusal_is_explained(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The schema is read then, and its problems are added to the error."""
    emulator.faults.http("Run/*", REFUSAL, times=None)
    for call in (wiro.run, wiro.submit):
        with pytest.raises(
            InvalidInputError, match=r"(?s)is required.*model family/text-to-image.*width: given"
        ) as caught:
            await call("family/text-to-image", BAD)
        service, own = caught.value.errors
        assert service == "Request parameter [prompt] is required"
        assert own.startswith("width: given 100")
    assert calls(emulator, "Tool/Detail") == 1


async def test_a_refused_item_of_a_batch_is_explained(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The schema's problems are added to its error."""
    emulator.faults.http("Run/*", REFUSAL, times=None)
    [error] = await wiro.map("family/text-to-image", [BAD], return_exceptions=True)
    assert "width: given 100" in str(error)


@pytest.mark.parametrize("fault", [Delay(5), Respond(500, b"{}")], ids=["slow", "broken"])
async def test_an_unavailable_explanation(emulator: WiroEmulator, fault: Any) -> None:
    """The error of the service stays unchanged, without much delay."""
    emulator.faults.http("Run/*", REFUSAL)
    emulator.faults.http("Tool/Detail", fault, times=None)
    options: Any = {**emulator.options(), "tuning": Tuning(schema_wait=0.1), "retry": RetryPolicy(attempts=1)}
    async with AsyncWiro(**options) as wiro:
        with anyio.fail_after(3), pytest.raises(InvalidInputError) as caught:
            await wiro.run("family/text-to-image", BAD)
    assert caught.value.errors == ("Request parameter [prompt] is required",)


async def test_other_errors_are_not_explained(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """They are not about the input."""
    emulator.faults.http("Run/*", Respond(401, b'{"result": false, "errors": [{"code": 99, "message": "expired"}]}'))
    with pytest.raises(AuthenticationError) as caught:
        await wiro.run("family/text-to-image", BAD)
    assert caught.value.model == "family/text-to-image"
    assert calls(emulator, "Tool/Detail") == 0
