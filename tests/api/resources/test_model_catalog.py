"""`wiro.models`: finding models and getting them."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import anyio
import pytest

from wiro_async import (
    AsyncWiro,
    InvalidInputError,
    Model,
    NotFoundError,
    RetryPolicy,
    SessionClosedError,
    Tuning,
)
from wiro_async.testing import STANDARD, Delay, Respond, WiroEmulator


def calls(emulator: WiroEmulator, endpoint: str) -> int:
    """Return the number of requests to an endpoint."""
    return sum(call.endpoint == endpoint for call in emulator.ledger.calls)


# Finding


@pytest.mark.parametrize("size", [3, 7, 1000])
async def test_list(emulator: WiroEmulator, size: int) -> None:
    """All models, newest first, over all pages, with their parameters."""
    emulator.tuning = Tuning(model_page_size=size)
    async with AsyncWiro(**emulator.options()) as wiro:
        found = [model async for model in wiro.models.list()]
    assert [int(model.id) for model in found] == sorted((int(model.id) for model in found), reverse=True)
    assert len(found) == len(STANDARD)
    assert calls(emulator, "Tool/List") == -(-len(STANDARD) // size)
    assert any(model.parameters for model in found)


async def test_list_with_filters(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """They are sent to the service. A summary has no parameters."""
    found = [model async for model in wiro.models.list(owner="family", categories=["video"], summary=True, order="ASC")]
    assert [model.slug for model in found] == ["family/text-to-video", "family/image-to-video", "family/lip-sync"]
    assert not any(model.parameters for model in found)
    assert emulator.ledger.calls[-1].parameters["hideworkflows"] is True
    assert [model.slug async for model in wiro.models.list(tags=["fast"], hide_workflows=False)] == ["emulator/painter"]
    assert emulator.ledger.calls[-1].parameters["hideworkflows"] is False


async def test_search(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """By text, the most relevant first."""
    assert [model.slug async for model in wiro.models.search("paints", summary=True)] == ["emulator/painter"]
    assert emulator.ledger.calls[-1].parameters["sort"] == "relevance"
    assert [model async for model in wiro.models.search("no such thing")] == []


async def test_a_list_is_left_early(emulator: WiroEmulator) -> None:
    """Unneeded pages are not fetched."""
    emulator.tuning = Tuning(model_page_size=5)
    async with AsyncWiro(**emulator.options()) as wiro:
        async for _ in wiro.models.list():
            break
    assert calls(emulator, "Tool/List") == 1


@pytest.mark.parametrize("total", ['"total": 1000,', ""])
async def test_pages_that_repeat_themselves(emulator: WiroEmulator, total: str) -> None:
    """The list ends if the service has fewer models than its total, or repeats a page."""
    body = f'{{"result": true, {total} "tool": [{{"id": "1", "slugowner": "a", "slugproject": "b"}}]}}'
    emulator.faults.http("Tool/List", Respond(200, body.encode()), times=5)
    emulator.tuning = Tuning(model_page_size=1)
    async with AsyncWiro(**emulator.options()) as wiro:
        assert [model.slug async for model in wiro.models.list()] == ["a/b"]
    assert calls(emulator, "Tool/List") == 2


def pages(emulator: WiroEmulator, rows: list[Any], size: int, **more: Any) -> None:
    """Make the service return so many rows at a time."""
    for start in range(0, len(rows) + size, size):
        body = json.dumps({"result": True, "tool": rows[start : start + size], **more})
        emulator.faults.http("Tool/List", Respond(200, body.encode()))


@pytest.mark.parametrize("total", [None, "", "many", 0, -1, "50", 50])
async def test_a_service_that_gives_fewer_at_a_time(emulator: WiroEmulator, wiro: AsyncWiro, total: Any) -> None:
    """A page that is not full is not the last, whatever total the service reports."""
    rows = [{"id": str(n), "slugowner": "a", "slugproject": f"m{n}"} for n in range(50)]
    pages(emulator, rows, 20, total=total)
    assert [model.slug async for model in wiro.models.list()] == [f"a/m{n}" for n in range(50)]


async def test_rows_without_the_services_own_names(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Models are identified by their clean names or their ids. A null among them is ignored."""
    rows: list[Any] = [{"id": str(n), "cleanslugowner": "a", "cleanslugproject": f"m{n}"} for n in range(30)]
    rows[3:5] = [None, {"id": "x"}]
    rows.append({"id": "y"})
    pages(emulator, rows, 20)
    assert len([model async for model in wiro.models.list()]) == 30


async def test_one_category(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """A text is one category or tag, not one for each letter."""
    assert [model.slug async for model in wiro.models.list(categories="video", owner="family")]
    assert emulator.ledger.calls[-1].parameters["categories"] == ["video"]
    assert [model.slug async for model in wiro.models.search("paints", tags="fast")] == ["emulator/painter"]


async def test_no_models_at_all(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The service may report an empty list as an error."""
    body = b'{"result": false, "errors": [{"code": 1, "message": "slug-owner-project-not-exist"}]}'
    emulator.faults.http("Tool/List", Respond(200, body), times=5)
    assert [model async for model in wiro.models.list()] == []


async def test_explore(wiro: AsyncWiro) -> None:
    """Sections of summaries."""
    shelves = {section.title: section for section in await wiro.models.explore()}
    assert [model.slug for model in shelves["3d"].models] == ["family/image-to-3d"]
    assert shelves["video"].total == 3


# Getting


async def test_get_requests_once(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """One request serves any spelling and any number of calls at the same time."""
    emulator.faults.http("Tool/Detail", Delay(0.05))
    found = await asyncio.gather(*(wiro.models.get("Family/MUSIC") for _ in range(20)))
    again = await wiro.models.get("family/music")
    assert {id(model) for model in found} == {id(again)}
    assert calls(emulator, "Tool/Detail") == 1
    assert (await wiro.models.get("family/music", refresh=True)) is not again
    assert calls(emulator, "Tool/Detail") == 2


async def test_the_services_own_spelling(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """A clean name that the service does not find is searched among its models, and cached under all names."""
    model = await wiro.models.get("family/virtual-try-on")
    assert (model.slug, model.raw_slug) == ("family/virtual-try-on", "family/Virtual Try-On")
    asked = len(emulator.ledger.calls)
    assert await wiro.models.get("family/virtual try-on") is await wiro.models.get("FAMILY/Virtual-Try-On") is model
    assert len(emulator.ledger.calls) == asked


@pytest.mark.parametrize(
    "listed",
    [
        {"slugowner": "Wiro", "slugproject": "Virtual Try-On"},
        {"slugowner": "wiro", "slugproject": "virtual-try-on "},
        {"cleanslugowner": "wiro", "cleanslugproject": "virtual-try-on"},
        {"id": "7"},
    ],
)
@pytest.mark.parametrize("alone", [False, True])
async def test_what_the_service_gives_is_what_was_asked_for(
    emulator: WiroEmulator, wiro: AsyncWiro, listed: dict[str, Any], alone: bool
) -> None:
    """A single model that is not clearly another one is accepted, in any spelling, with or without a list around it."""
    tool = {**listed, "parameters": [{"id": "prompt", "type": "textarea"}]}
    body = json.dumps({"result": True, "tool": tool if alone else [tool]})
    emulator.faults.http("Tool/Detail", Respond(200, body.encode()))
    model = await wiro.models.get("wiro/virtual-try-on")
    assert [parameter.id for parameter in model.parameters] == ["prompt"]
    assert model.slug.casefold().replace(" ", "-").strip("-") == "wiro/virtual-try-on"
    asked = len(emulator.ledger.calls)
    assert await wiro.models.get("wiro/virtual-try-on") is model
    assert await wiro.models.get(model) is model
    assert len(emulator.ledger.calls) == asked


async def test_another_model_than_requested(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """It is not accepted."""
    tool = {"slugowner": "family", "slugproject": "chat", "parameters": []}
    emulator.faults.http("Tool/Detail", Respond(200, json.dumps({"result": True, "tool": [tool]}).encode()), times=9)
    with pytest.raises(NotFoundError, match="family/music"):
        await wiro.models.get("family/musik")


async def test_from_a_summary(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """A summary contains both spellings, so no search is needed."""
    [summary] = [model async for model in wiro.models.search("try", summary=True)]
    assert summary.parameters == ()
    assert (await wiro.models.get(summary)).parameters
    assert calls(emulator, "Tool/List") == 1
    estimate = await wiro.models.estimate(summary, {"inputImageClothes": "https://example.com/a.png"})
    assert estimate.total == Decimal("0.09")


async def test_a_missing_model(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """Every waiting call gets an error that names similar models. The error is not cached."""
    emulator.faults.http("Tool/Detail", Delay(0.05))
    results = await asyncio.gather(*(wiro.models.get("family/musik") for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, NotFoundError) for result in results)
    assert len({id(result) for result in results}) == 5
    assert str(results[0]) == "there is no model 'family/musik'; did you mean 'family/music'?"
    assert calls(emulator, "Tool/Detail") == 1
    with pytest.raises(NotFoundError, match=r"wiro\.models\.search"):
        await wiro.models.get("nobody/nothing-at-all")
    with pytest.raises(InvalidInputError, match="owner/model"):
        await wiro.models.get("music")


async def test_a_model_that_is_listed_but_missing(emulator: WiroEmulator) -> None:
    """The search through the owner's models ends."""
    body = b'{"result": false, "errors": [{"code": 1, "message": "tool-not-accessible"}]}'
    emulator.faults.http("Tool/Detail", Respond(200, body), times=9)
    emulator.tuning = Tuning(max_candidates=3)
    async with AsyncWiro(**emulator.options()) as wiro:
        with pytest.raises(NotFoundError, match="'family/chat' is listed, but this account has no access"):
            await wiro.models.get("family/chat")
        with pytest.raises(NotFoundError):
            await wiro.models.get("family/virtual-try-on")


async def test_errors_reach_every_waiting_call(emulator: WiroEmulator) -> None:
    """Any error of the request is raised in every call that waits for it."""
    emulator.faults.http("Tool/Detail", Respond(500, b"{}"), times=9)
    async with AsyncWiro(**emulator.options(), retry=RetryPolicy(attempts=1)) as wiro:
        results = await asyncio.gather(*(wiro.models.get("family/chat") for _ in range(3)), return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["ServerError"] * 3


async def test_the_first_call_is_cancelled(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """The others still get the model."""
    emulator.faults.http("Tool/Detail", Delay(0.1))
    first = asyncio.create_task(wiro.models.get("family/chat"))
    second = asyncio.create_task(wiro.models.get("family/chat"))
    await asyncio.sleep(0.02)
    first.cancel()
    assert (await second).slug == "family/chat"
    assert calls(emulator, "Tool/Detail") == 1


async def test_the_session_is_closed_meanwhile(emulator: WiroEmulator) -> None:
    """The waiting call raises."""
    emulator.faults.http("Tool/Detail", Delay(5))
    wiro = AsyncWiro(**emulator.options())
    waiting = asyncio.create_task(wiro.models.get("family/chat"))
    await asyncio.sleep(0.05)
    await wiro.aclose()
    with anyio.fail_after(2), pytest.raises(SessionClosedError):
        await waiting


async def test_views_share_the_cache(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """Only with the same key, because another key may see other models."""
    model = await wiro.models.get("family/chat")
    assert await wiro.with_options(timeout=5).models.get("family/chat") is model
    assert calls(emulator, "Tool/Detail") == 1
    await wiro.with_options(api_key="other").models.get("family/chat")
    assert calls(emulator, "Tool/Detail") == 2
    emulator.faults.http("Tool/Detail", Delay(0.05))
    views = [wiro.with_options(timeout=seconds) for seconds in range(1, 6)]
    found = await asyncio.gather(*(view.models.get("family/music") for view in views))
    assert len({id(one) for one in found}) == 1
    assert calls(emulator, "Tool/Detail") == 3, "also while it is being asked for"


async def test_unknown_references(wiro: AsyncWiro) -> None:
    """A value that names no model is refused by every call."""
    with pytest.raises(InvalidInputError, match="owner/model"):
        await wiro.run(7, {})  # type: ignore[call-overload]
    assert isinstance(await wiro.models.get("family/chat"), Model)
