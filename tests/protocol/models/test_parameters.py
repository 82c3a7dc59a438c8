"""Parameters in both vocabularies."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiro_async import Parameter
from wiro_async._protocol.models.parameters import parse_parameter, parse_parameters

Item = dict[str, Any]


def item(kind: str, name: str = "x", **more: Any) -> Item:
    """A parameter in the service's format."""
    return {"id": name, "type": kind, **more}


def parameter(kind: str, name: str = "x", **more: Any) -> Parameter:
    """A parameter as a record."""
    return parse_parameter(item(kind, name, **more))


def test_two_vocabularies_give_one_record() -> None:
    """Numbers as text, options as texts and values, and bounds under other names."""
    older = item("Range", defaultvalue="5", minvalue="1", maxvalue="9", incrementby="2", required="true")
    newer = item("range", default=5, min=1, max=9, step=2, required=True)
    for one in map(parse_parameter, (older, newer)):
        assert [one.minimum, one.maximum, one.step] == [1, 9, 2]
        assert (one.type, str(one.default), one.required) == ("range", "5", True)
    assert parameter("text", value="v").default == "v"
    assert parameter("text", value="").default is None
    assert parameter("checkbox", value=False).default is False
    assert parameter("text", required="0").required is False


@pytest.mark.parametrize(
    "options,expected",
    [
        ([{"text": "Wide", "value": "16:9"}], [("16:9", "Wide")]),
        ([{"label": "Five", "value": 5}], [("5", "Five")]),
        (["a", 2, True], [("a", "a"), ("2", "2"), ("true", "true")]),
        ([{"text": "Only text"}], [("Only text", "Only text")]),
        ([{"text": "None", "value": ""}, {"text": "", "value": ""}, "", None], [("", "None")]),
        ('[{"label": "L", "value": "v"}]', [("v", "L")]),
        ("", []),
        (None, []),
        ({"odd": 1}, []),
    ],
)
def test_options(options: Any, expected: list[tuple[str, str]]) -> None:
    """Mappings of either kind, plain values, JSON text, and the empty ones of old models."""
    assert [(one.value, one.label) for one in parameter("select", options=options).options] == expected


def test_groups_and_flat_lists() -> None:
    """Groups have a title. Unknown types and invalid entries are accepted. The first of equal names counts."""
    flat: list[Any] = [item("text", "a"), item("hologram", "b", density="3"), "odd", {"type": "text"}]
    flat.append(item("number", "a"))
    groups: list[Any] = [{"title": "G", "items": flat}, {"title": "H", "items": None}, item("text", "c")]
    assert [one.id for one in parse_parameters(flat)] == ["a", "b"]
    found = parse_parameters(json.dumps(groups))
    assert [(one.id, one.group) for one in found] == [("a", "G"), ("b", "G"), ("c", "")]
    assert (found[1].type, found[1].raw["density"]) == ("hologram", "3")
    assert parse_parameters(None) == parse_parameters("") == parse_parameters({}) == ()


def test_files_and_their_number() -> None:
    """The service's spelling of the maximum number of files, for file parameters only."""
    assert parameter("fileinput", maxinputlenght="9").max_files == 1
    assert parameter("multifileinput", maxinputlenght="9").max_files == 9
    assert parameter("combinefileinput").max_files is None
    assert parameter("text", maxinputlenght="9").max_files is None
    names = [parameter(kind, "img").url_id for kind in ("fileinput", "multifileinput", "combinefileinput", "text")]
    assert names == ["imgUrl", "imgUrl", None, None]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=20))
@settings(max_examples=50, deadline=None)
def test_any_schema_is_read(odd: Any) -> None:
    """Any value of any key is accepted."""
    keys = "id type label required default min max step options maxinputlenght note placeholder advanced".split()
    groups: list[Any] = [dict.fromkeys(keys, odd), {"title": odd, "items": odd}, {"items": [{"id": "a", "min": odd}]}]
    assert parse_parameters(groups)
    assert isinstance(parse_parameters(odd), tuple)


def test_bounds_are_exact() -> None:
    """Bounds and steps are decimal numbers without rounding."""
    assert parameter("float", step="0.1").step == Decimal("0.1")
