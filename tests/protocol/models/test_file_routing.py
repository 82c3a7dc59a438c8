"""Where files and URLs are sent, by the parameters of the model."""

from __future__ import annotations

import io
import json
from collections import deque
from decimal import Decimal
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from wiro_async import File, InvalidInputError, Parameter
from wiro_async._protocol.http.requests import run
from wiro_async._protocol.models.file_routing import route_files
from wiro_async._protocol.models.input_view import split_files
from wiro_async._protocol.models.parameters import parse_parameter

Item = dict[str, Any]
JPEG = File(b"jpeg", "a.jpg")


def item(kind: str, name: str = "x", **more: Any) -> Item:
    """A parameter in the service's format."""
    return {"id": name, "type": kind, **more}


def parameter(kind: str, name: str = "x", **more: Any) -> Parameter:
    """A parameter as a record."""
    return parse_parameter(item(kind, name, **more))


PARAMETERS = (
    parameter("fileinput", "one"),
    parameter("multifileinput", "many"),
    parameter("combinefileinput", "mixed"),
    parameter("select", "flag", options=["true", "false"]),
    parameter("select", "five", options=[{"text": "5", "value": 5}]),
    parameter("select", "zero", options=["01", "1"]),
    parameter("checkbox", "box"),
    parameter("number", "count"),
    parameter("textarea", "prompt"),
)
A, B = "https://a.test/a.png", "https://a.test/b.png"


def sent(given: Item) -> dict[str, Any]:
    """Return the JSON that is sent, or the parts of the form by name."""
    request = run("a/b", route_files(given, PARAMETERS), None, None)
    if request.parts is None:
        found: dict[str, Any] = json.loads(request.body)
        return found
    names = dict.fromkeys(name for name, _ in request.parts)
    return {name: [value for other, value in request.parts if other == name] for name in names}


@pytest.mark.parametrize(
    "given,expected",
    [
        ({"one": A}, {"oneUrl": A}),
        ({"oneUrl": A}, {"oneUrl": A}),
        ({"one": JPEG}, {"oneUrl": [""], "one": [JPEG]}),
        ({"many": [A, B]}, {"manyUrl": f"{A},{B}"}),
        ({"many": [JPEG, A], "prompt": "p"}, {"prompt": ["p"], "manyUrl": [A], "many": [JPEG]}),
        ({"many": [JPEG, JPEG], "one": A}, {"one": [""], "oneUrl": [A], "many": [JPEG, JPEG], "manyUrl": [""]}),
        ({"many": JPEG, "manyUrl": [A, B]}, {"manyUrl": [f"{A},{B}"], "many": [JPEG]}),
        ({"many": ["https://a.test/x,y.png", A]}, {"manyUrl": f"https://a.test/x%2Cy.png,{A}"}),
        ({"one": "https://a.test/x,y.png"}, {"oneUrl": "https://a.test/x,y.png"}),
        ({"mixed": A}, {"mixed": [A]}),
        ({"mixed": f"{A}, {B}"}, {"mixed": [A, B]}),
        ({"mixed": [A, JPEG, B]}, {"mixed": [A, JPEG, B]}),
        ({"mixed": [A, B], "one": JPEG}, {"oneUrl": [""], "one": [JPEG], "mixed": [A, B]}),
        ({"flag": True}, {"flag": "true"}),
        ({"five": 5.0, "box": "false", "count": "2.5"}, {"five": "5", "box": False, "count": 2.5}),
        ({"box": True, "count": "3", "prompt": "4"}, {"box": True, "count": 3, "prompt": "4"}),
        ({"one": None, "mixed": [], "many": ""}, {"one": None, "mixed": [], "many": ""}),
        ({"other": [A, JPEG]}, {"otherUrl": [A], "other": [JPEG]}),
        ({"one": [], "mixed": [None], "manyUrl": [], "two": JPEG},
         {"one": [""], "mixed": [""], "manyUrl": [""], "two": [JPEG]}),
        ({"one": [""], "many": "  ", "mixed": deque()}, {"one": [], "many": "", "mixed": []}),
        ({"one": "https://a.test/?w=1,https://b.test/a.png"}, {"oneUrl": "https://a.test/?w=1,https://b.test/a.png"}),
        ({"zero": 1}, {"zero": "1"}),
        ({"zero": "1.0"}, {"zero": "01"}),
        ({"count": "1e9999"}, {"count": "1e9999"}),
        ({"count": "1e-30"}, {"count": "1e-30"}),
        ({"count": Decimal("2.50"), "prompt": Decimal(3)}, {"count": 2.5, "prompt": 3}),
        ({"one": {"odd": 1}}, {"one": {"odd": 1}}),
        ({"count": 2, "box": True, "flag": False, "one": JPEG},
         {"count": ["2"], "box": ["true"], "flag": ["false"], "oneUrl": [""], "one": [JPEG]}),
    ],
)  # fmt: skip
def test_where_files_and_urls_go(given: Item, expected: Item) -> None:
    """Files under their own name, URLs in the field beside it, combined parameters in order."""
    found = sent(given)
    assert found == {name: found[name] for name in found} | expected
    assert sorted(found) == sorted(expected)


def test_paths_and_open_files_are_files(tmp_path: Path) -> None:
    """Every value that can be uploaded becomes a `File` with a name."""
    found = route_files({"mixed": [tmp_path / "a.png", io.BytesIO(b"b")]}, PARAMETERS)
    assert [value.name for _, value in found.parts if isinstance(value, File)] == ["a.png", "file"]


@pytest.mark.parametrize("piece", [" ", " ,", "a", "a,b", "a:,", ",a "])
def test_long_texts_take_no_time(piece: str) -> None:
    """URLs are found in one pass."""
    start = process_time()
    assert split_files(f"a,{piece * 50_000}b")
    assert process_time() - start < 2


def test_what_cannot_be_sent_is_refused() -> None:
    """The usual errors of inputs are raised."""
    with pytest.raises(InvalidInputError, match="prompt is a object"):
        route_files({"prompt": object()}, PARAMETERS)
    with pytest.raises(InvalidInputError, match="input is a str"):
        route_files("x", PARAMETERS)  # type: ignore[arg-type]


FILES: list[object] = [A, JPEG, [A, B], [JPEG, A], [JPEG, JPEG], None]


@pytest.mark.parametrize("one", FILES)
@pytest.mark.parametrize("mixed", FILES)
def test_nothing_is_lost_or_doubled(one: object, mixed: object) -> None:
    """Every file and URL is sent exactly once."""
    given = [item for value in (one, mixed) for item in (value if isinstance(value, list) else [value]) if item]
    seen: list[object] = []
    for values in sent({"many": one, "mixed": mixed}).values():
        for value in values if isinstance(values, list) else [values]:
            seen += value.split(",") if isinstance(value, str) else [value]
    assert sorted(map(repr, filter(None, seen))) == sorted(map(repr, given))
