"""Records of models, and the requests for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from wiro_async import ModelStats
from wiro_async._protocol.models.model import (
    Filters,
    has_slug,
    may_have_slug,
    parse_model,
    parse_model_stats,
    parse_models,
    parse_sections,
    parse_total,
    tool_detail,
    tool_explore,
    tool_list,
)

TOOL: dict[str, Any] = {
    "id": "1611",
    "title": "Virtual Try-on",
    "slugowner": "Wiro",
    "slugproject": "Virtual Try-On",
    "cleanslugowner": "wiro",
    "cleanslugproject": "virtual-try-on",
    "description": "Clothes on people",
    "image": "https://cdn.example/cover.webp",
    "readme": "How to",
    "categories": '["tool", "image-to-image"]',
    "tags": None,
    "samples": ["https://cdn.example/a.webp"],
    "computingtime": "10 seconds",
    "cps": "0.0005",
    "approximatelycost": 0.09,
    "dynamicprice": '[{"inputs":{},"price":0.09,"priceMethod":"cpr"}]',
    "taskstat": {"runcount": 672, "successcount": "254", "errorcount": "198", "lastruntime": "1774007585"},
    "parameters": [{"title": "", "items": [{"id": "prompt", "type": "textarea"}]}],
    "commentcount": "1",
}


def test_a_model() -> None:
    """Known fields are typed, and `raw` has all of them."""
    model = parse_model(TOOL)
    assert (model.id, model.slug, model.raw_slug) == ("1611", "wiro/virtual-try-on", "Wiro/Virtual Try-On")
    assert (model.categories, model.tags, model.samples) == (("tool", "image-to-image"), (), tuple(TOOL["samples"]))
    assert (model.cost_per_second, model.average_cost) == (Decimal("0.0005"), Decimal("0.09"))
    assert model.stats == ModelStats(672, 254, 198, datetime(2026, 3, 20, 11, 53, 5, tzinfo=UTC))
    assert [parameter.id for parameter in model.parameters] == ["prompt"]
    assert (model.title, model.description) == ("Virtual Try-on", "Clothes on people")
    assert (model.image, model.readme) == ("https://cdn.example/cover.webp", "How to")
    assert model.raw["commentcount"] == "1"
    assert not model.takes_turns


def test_its_names() -> None:
    """In any case and in both spellings. Without a clean name, the service's own."""
    model = parse_model(TOOL)
    assert has_slug(model, "WIRO/virtual-try-on")
    assert has_slug(model, "wiro/virtual try-on")
    assert not has_slug(model, "wiro/virtual")
    assert parse_model(TOOL | {"cleanslugproject": ""}).slug == "Wiro/Virtual Try-On"


def test_names_that_are_not_clearly_others() -> None:
    """Spaces, dashes and capitals are ignored. A record without a name matches any."""
    for entry in ({"slugowner": "Wiro", "slugproject": "virtual_try on "}, {"slugowner": "wiro"}, {}, TOOL):
        assert may_have_slug(parse_model(entry), "wiro/virtual-try-on")
    assert not may_have_slug(parse_model({"slugowner": "wiro", "slugproject": "virtual-try"}), "wiro/virtual-try-on")


ODD: list[Any] = [None, [], {}, 7, "", "{", "[7]"]


@pytest.mark.parametrize("odd", [{}, *(dict.fromkeys(TOOL, odd) for odd in ODD)])
def test_a_model_without_fields(odd: dict[str, Any]) -> None:
    """Null, absent and invalid values are accepted."""
    model = parse_model(odd)
    assert (model.parameters, model.prices) == ((), ())


@pytest.mark.parametrize("seconds", ["", "0", "1e30", "-1e30", None])
def test_a_model_that_never_ran(seconds: str | None) -> None:
    """Without a time, or with an invalid one."""
    assert parse_model_stats({"lastruntime": seconds}) == ModelStats(0, 0, 0, None)


def test_responses() -> None:
    """Lists of models, with totals as numbers or text, and sections. Invalid entries are left out."""
    assert [model.id for model in parse_models({"tool": [TOOL, "odd", None]})] == ["1611"]
    assert parse_models({}) == parse_models({"tool": {}}) == parse_models({"tool": [{}]}) == []
    assert [model.id for model in parse_models({"tool": TOOL})] == ["1611"], "one alone, without a list"
    assert parse_sections({"explore": None}) == []
    assert [parse_total({"total": entry}) for entry in (5, "5", None, "many")] == [5, 5, None, None]
    [section] = parse_sections(
        {"explore": [{"id": 1, "title": "New", "tools": [TOOL, 1], "url": "/new", "total": "9"}, 3]}
    )
    assert (section.id, section.title, section.url, section.total) == ("1", "New", "/new", 9)
    assert [model.slug for model in section.models] == ["wiro/virtual-try-on"]


def test_requests() -> None:
    """Numbers as text, and filters only if they are set. Calling twice has no effect."""
    plain = tool_list(Filters(), 40, 20)
    assert (plain.path, plain.repeatable) == ("Tool/List", True)
    assert json.loads(plain.body) == {
        "start": "40",
        "limit": "20",
        "sort": "id",
        "order": "DESC",
        "hideworkflows": True,
        "summary": False,
    }
    filters = Filters("cats", ("a",), ("b",), "google", "relevance", "ASC", False, True)
    assert json.loads(tool_list(filters, 0, 1).body) == {
        "start": "0",
        "limit": "1",
        "search": "cats",
        "categories": ["a"],
        "tags": ["b"],
        "slugowner": "google",
        "sort": "relevance",
        "order": "ASC",
        "hideworkflows": False,
        "summary": True,
    }
    one = json.loads(tool_list(Filters(categories="video", tags="fast"), 0, 1).body)
    assert (one["categories"], one["tags"]) == (["video"], ["fast"])
    assert json.loads(tool_detail("Wiro/Virtual Try-On").body) == {"slugowner": "Wiro", "slugproject": "Virtual Try-On"}
    assert (tool_explore().path, tool_explore().body) == ("Tool/Explore", b"{}")
