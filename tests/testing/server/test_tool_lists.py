"""Tool/List, Tool/Detail, Tool/Explore."""

import json
from typing import TYPE_CHECKING

from wiro_async.testing import STANDARD

if TYPE_CHECKING:
    from tests.testing.conftest import Api


async def test_list_in_pages(api: "Api") -> None:
    """Pages in both orders. A summary has no parameters."""
    page = await api.post("Tool/List", {"start": "1", "limit": "2", "sort": "id", "order": "ASC", "summary": True})
    assert page["total"] == len(STANDARD)
    assert [tool["slugproject"] for tool in page["tool"]] == ["writer", "mirror"]
    assert all(tool["parameters"] is None for tool in page["tool"])
    newest = await api.post("Tool/List", {"order": "DESC", "limit": "1", "slugowner": "emulator"})
    assert newest["tool"][0]["id"] == max(
        str(model.tool["id"]) for model in STANDARD if model.slug.startswith("emulator/")
    )


async def test_list_filters(api: "Api") -> None:
    """Filters by text, owner, category and tag."""

    async def found(**filters: object) -> list[str]:
        return [tool["slugproject"] for tool in (await api.post("Tool/List", filters))["tool"]]

    assert await found(search="PAINTS") == ["painter"]
    assert {"writer", "assistant"} <= set(await found(categories=["llm"], slugowner="emulator"))
    assert await found(tags=["fast"]) == ["painter"]
    assert await found(slugowner="somebody") == []


async def test_detail(api: "Api") -> None:
    """Slugs ignore case, and parameters come in both formats."""
    answer = await api.post("Tool/Detail", {"slugowner": "Emulator", "slugproject": "PAINTER"})
    [tool] = answer["tool"]
    names = [item["id"] for group in tool["parameters"] for item in group["items"]]
    assert names == ["prompt", "width", "height", "images", "seed", "seconds"]
    assert json.loads(tool["dynamicprice"])[0]["priceMethod"] == "cpo"
    [flat] = (await api.post("Tool/Detail", {"slugowner": "emulator", "slugproject": "mirror"}))["tool"]
    assert flat["parameters"][0]["maxinputlenght"] == "4"
    assert (await api.post("Tool/Detail", {"slugowner": "x", "slugproject": "y"}))["tool"] == []


async def test_explore(api: "Api") -> None:
    """Lists the models by category."""
    sections = (await api.post("Tool/Explore"))["explore"]
    assert [section["title"] for section in sections][:3] == ["text-to-image", "llm", "llm-tool-call"]
    assert sections[0]["tools"][0]["slugproject"] == "painter"
