"""Problems of inputs."""

from __future__ import annotations

import io
from collections import deque
from datetime import date
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from time import process_time
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiro_async import File, InvalidInputError, Model
from wiro_async._protocol.http.requests import run
from wiro_async._protocol.models.file_routing import route_files
from wiro_async._protocol.models.model import parse_model
from wiro_async._protocol.models.validation import Problem, invalid_input_error, validate

Item = dict[str, Any]
JPEG = File(b"jpeg", "a.jpg")
SECRET = "SECRETACCESSKEY1234"


class Level(IntEnum):
    """A number of a custom class."""

    HIGH = 3


class Array:
    """An array whose comparisons are arrays, which have no truth value."""

    shape = (2,)
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    def __index__(self) -> int:
        raise TypeError("only arrays of one item are indices")


def item(kind: str, name: str = "x", **more: Any) -> Item:
    """A parameter in the service's format."""
    return {"id": name, "type": kind, **more}


def model(*items: Item, categories: tuple[str, ...] = ()) -> Model:
    """A model with these parameters."""
    return parse_model(
        {"slugowner": "a", "slugproject": "b", "parameters": list(items), "categories": list(categories)}
    )


def problems(kind: str, value: object, **more: Any) -> list[Problem]:
    """Return the problems of a value of the parameter "x"."""
    return validate(model(item(kind, **more)), {"x": value})


GOOD: list[tuple[str, object, Item]] = [
    ("text", "hello", {}),
    ("text", 42, {"min": "0", "max": "100"}),
    ("textarea", "not a number", {"min": "0", "max": "100"}),
    ("number", 5, {}),
    ("number", "5", {"min": 5, "max": 5}),
    ("float", 0.30000000000000004, {"min": "0", "step": "0.1"}),
    ("integer", 10**40, {"step": 1}),
    ("integer", "3.0", {}),
    ("range", 1024, {"min": "1", "max": "2048", "step": "64", "default": "512"}),
    ("range", 7, {"step": 0}),
    ("float", "1e999999", {"step": "1e-999999"}),
    ("select", "a", {"options": ["a", "b"]}),
    ("select", 5, {"options": ["5", "10"]}),
    ("select", 5.0, {"options": [{"text": "five", "value": 5}]}),
    ("select", True, {"options": ["true", "false"]}),
    ("select", "anything", {"options": ""}),
    ("selectwithcover", "b", {"options": [{"label": "B", "value": "b"}]}),
    ("checkbox", False, {}),
    ("checkbox", "true", {}),
    ("checkbox", "false", {}),
    ("json", {"a": 1}, {}),
    ("json", "[1]", {}),
    ("json-array", [1], {}),
    ("json-array", "[1]", {}),
    ("fileinput", JPEG, {"id": "inputImage"}),
    ("fileinput", "https://example.com/a,b.jpg", {}),
    ("fileinput", "6bc3aa00", {}),
    ("fileinput", "data:image/png;base64,AAAA", {}),
    ("multifileinput", "https://a.test/1.jpg, https://a.test/2.jpg", {"maxinputlenght": "2"}),
    ("combinefileinput", [Path("a.png"), io.BytesIO(b"x"), "https://a.test/a.png"], {"maxinputlenght": 3}),
    ("hologram", {"any": ["thing", 1]}, {}),
    ("float", "1e999999", {"step": "1e-900"}),
    ("textarea", "1e9999999", {}),
    ("number", Decimal("0.5"), {"step": "0.1"}),
    ("integer", Decimal("3.0"), {}),
    ("select", Level.HIGH, {"options": ["3"]}),
    ("select", 1, {"options": ["01", "1"]}),
    ("json-array", deque([1]), {}),
    ("fileinput", Path("a.zip"), {"id": "inputImageZip"}),
    ("fileinput", "https://a.test/resize?w=1,https://b.test/a.png", {}),
    ("multifileinput", deque([Path("a.png"), Path("b.png")]), {"maxinputlenght": 2}),
    ("number", "", {}),
    ("select", None, {"options": ["a"]}),
]


@pytest.mark.parametrize("kind,value,more", GOOD)
def test_valid_values(kind: str, value: object, more: Item) -> None:
    """There is no problem, and the input can be sent."""
    name, known = more.get("id", "x"), model({**item(kind), **more})
    assert validate(known, {name: value}) == []
    start = process_time()
    run("a/b", route_files({name: value}, known.parameters), None, None)
    assert process_time() - start < 5


BAD: list[tuple[str, object, Item, str, str]] = [
    ("text", True, {}, "True", "text"),
    ("text", ["a"], {}, "['a']", "text"),
    ("text", 101, {"min": "0", "max": "100"}, "101", "text from 0 up to 100"),
    ("text", JPEG, {}, "a file (a.jpg)", "text"),
    ("textarea", b"bytes", {}, "bytes, which must be wrapped as File(data, name='…')", "text"),
    ("number", "five", {}, "'five'", "a number"),
    ("number", True, {}, "True", "a number"),
    ("number", float("nan"), {}, "nan", "a number"),
    ("number", 11, {"min": "1", "max": "10"}, "11", "a number from 1 up to 10"),
    ("number", 0.5, {"min": "1"}, "0.5", "a number from 1"),
    ("range", 3, {"min": "2", "step": "2"}, "3", "a number from 2 in steps of 2"),
    ("float", 0.35, {"step": "0.1"}, "0.35", "a number in steps of 0.1"),
    ("integer", 1.5, {}, "1.5", "a whole number"),
    ("select", "c", {"options": ["aa", "bb"]}, "'c'", "one of 'aa', 'bb'"),
    ("select", True, {"options": ["yes", "no"]}, "True", "one of 'yes', 'no'"),
    ("select", ["aa"], {"options": ["aa"]}, "['aa']", "one of 'aa'"),
    ("select", ["aa"], {}, "['aa']", "text"),
    ("select", "c", {"options": [*"0123456789" * 3]}, "'c'", f"one of {str([*'0123456789' * 2])[1:-1]} and more"),
    ("select", "c", {"options": [*"0123456789" * 2]}, "'c'", f"one of {str([*'0123456789' * 2])[1:-1]}"),
    ("checkbox", "yes", {}, "'yes'", "True or False"),
    ("checkbox", 1, {}, "1", "True or False"),
    ("json", "{broken", {}, "'{broken'", "a mapping or a list, or JSON text of one"),
    ("json", 5, {}, "5", "a mapping or a list, or JSON text of one"),
    ("json-array", {"a": 1}, {}, "{'a': 1}", "a list, or JSON text of one"),
    ("json-array", '{"a": 1}', {}, "'{\"a\": 1}'", "a list, or JSON text of one"),
    ("fileinput", "photos/me", {}, "'photos/me', which is text", "a URL, or Path('photos/me') to upload it"),
    ("fileinput", "me.jpg", {}, "'me.jpg', which is text", "a URL, or Path('me.jpg') to upload it"),
    ("fileinput", 7, {}, "7", "a file or a URL"),
    ("fileinput", [JPEG, JPEG], {}, "2 files", "at most 1"),
    ("multifileinput", [JPEG] * 3, {"maxinputlenght": "2"}, "3 files", "at most 2"),
    ("combinefileinput", {"url": "x"}, {}, "{'url': 'x'}", "files or URLs"),
    ("fileinput", "https://[::1/a.png", {}, "a URL that cannot be read", "a file or a URL"),
    ("number", "1e9999999", {}, "'1e9999999'", "a number"),
    ("select", [10**5000], {"options": ["a"]}, "[a number of over 4300 digits]", "one of 'a'"),
    ("select", ["x"], {"options": [{"text": "Auto", "value": ""}]}, "['x']", "one of ''"),
    ("select", "Auto", {"options": [{"text": "Auto", "value": ""}]}, "'Auto'", "one of ''"),
    ("checkbox", Array(), {}, "a Array", "True or False"),
    ("text", Array(), {}, "a Array", "text"),
    ("text", "\ud800", {}, "what cannot be sent: x has half of a surrogate pair at character 0, which cannot be sent: "
     "was it cut in two there? text.encode(errors='replace').decode() has a question mark instead", "text"),
    ("json", {"a": date(2026, 1, 1)}, {}, "what cannot be sent: x['a'] is a date, which JSON cannot hold",
     "a mapping or a list, or JSON text of one"),
    ("json", {1: 2}, {}, "what cannot be sent: x has the key 1, a int", "a mapping or a list, or JSON text of one"),
    ("json", [{1, 2}], {}, "what cannot be sent: x[0] is a set, which JSON cannot hold",
     "a mapping or a list, or JSON text of one"),
    ("json", [float("nan")], {}, "what cannot be sent: x[0] is nan, which JSON cannot hold",
     "a mapping or a list, or JSON text of one"),
    ("json", {"a": Path("a.txt")}, {}, "what cannot be sent: x['a'] is a PosixPath inside another value",
     "a mapping or a list, or JSON text of one"),
    ("hologram", object(), {}, "what cannot be sent: x is a object, which JSON cannot hold", "a value"),
    ("multifileinput", {"a", "b"}, {}, "{'a', 'b'}", "files or URLs, in a list"),
    ("multifileinput", (path for path in [Path("a.png")]), {}, "a generator", "files or URLs, in a list"),
    ("fileinput", "me.example/photos/me.jpg", {}, "a URL without https://",
     "a file or a URL; a file that is here as Path(…)"),
]  # fmt: skip


@pytest.mark.parametrize("kind,value,more,shown,allowed", BAD)
def test_invalid_values(kind: str, value: object, more: Item, shown: str, allowed: str) -> None:
    """One problem, with the name, the value, and what is allowed."""
    [problem] = problems(kind, value, **more)
    assert (problem.name, problem.given, problem.allowed) == ("x", shown, allowed)
    assert str(problem).startswith(f"x: given {shown}; allowed {allowed}")


def test_numbers_of_thousands_of_digits() -> None:
    """Python cannot write them, so they cannot be sent. As text they are valid."""
    assert [one.given for one in problems("number", 10**5000)] == ["a number of over 4300 digits"]
    [problem] = problems("text", 10**5000)
    assert problem.given == "what cannot be sent: x is a number of over 4300 digits, which cannot be sent"
    assert problems("integer", "9" * 5000) == []


@pytest.mark.parametrize(
    "name,file,kind",
    [
        ("inputImage", Path("song.mp3"), "audio"),
        ("inputImage", "https://a.test/dir/song.mp3?key=secret", "audio"),
        ("inputImage", File(b"", "picture.png", "video/mp4"), "video"),
        ("inputVideo", File(b"", "picture.PNG"), "image"),
        ("inputImage", File(b"", "x", "audio/mpeg"), "audio"),
        ("inputVideo", File(b"", "x", "image/png"), "image"),
        ("inputAudio", Path("paper.pdf"), "document"),
    ],
)
def test_the_wrong_kind_of_file(name: str, file: object, kind: str) -> None:
    """The problem shows the parameter and the accepted types, but no URL, which may contain secrets."""
    [problem] = validate(model(item("fileinput", name)), {name: file})
    assert problem.given.endswith(f"of the kind {kind}")
    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    "name,file",
    [
        ("inputAudio", Path("talk.mp4")),
        ("inputImage", Path("unknown.xyz")),
        ("inputImage", File(b"", "song.mp3", "image/png")),
        ("inputImage", File(b"", "x", "application/octet-stream")),
        ("inputImageVideo", Path("a.mp4")),
        ("inputDocument", Path("scan.png")),
        ("inputImage", io.BytesIO(b"")),
    ],
)
def test_file_types_that_cannot_be_checked(name: str, file: object) -> None:
    """Unknown and ambiguous types pass."""
    assert validate(model(item("fileinput", name)), {name: file}) == []


def test_unknown_names() -> None:
    """The problem suggests a similar name. Parameters of every run, and the URLs of files, are known."""
    known = model(item("textarea", "prompt"), item("fileinput", "inputImage"), item("combinefileinput", "clothes"))
    fine = {"inputImageUrl": "https://a.test/a.png", "callbackUrl": "https://me.test", "projectid": "7"}
    assert validate(known, fine) == []
    found = validate(known, {"Promt": "x", "clothesUrl": "https://a.test/a.png", "zzz": 1})
    assert [(one.name, one.suggestion) for one in found] == [
        ("Promt", "prompt"),
        ("clothesUrl", "clothes"),
        ("zzz", None),
    ]
    assert found[0].allowed == "only prompt, inputImage, clothes"
    assert str(found[0]).endswith("did you mean 'prompt'?")
    assert [one.name for one in validate(known, {7: "x"})] == ["7"]  # type: ignore[dict-item]


def test_options_that_were_probably_meant() -> None:
    """The problem suggests a similar value, or the one with that label."""
    options = [{"text": "Wide screen", "value": "16:9"}, {"text": "High", "value": "portrait"}]
    assert [one.suggestion for one in problems("select", "Portrait", options=options)] == ["portrait"]
    assert [one.suggestion for one in problems("select", "Wide screen", options=options)] == ["16:9"]
    assert [one.suggestion for one in problems("select", "zzz", options=options)] == [None]


def test_required() -> None:
    """An empty value counts as missing. A default or the URLs of files count as given."""
    needed = item("text", required="true")
    empties: list[Item | None] = [{}, {"x": None}, {"x": ""}, {"x": []}, {"x": deque()}, None]
    for empty in empties:
        assert [one.given for one in validate(model(needed), empty)] == ["nothing"]
    assert validate(model({**needed, "default": "d"}), {}) == []
    assert validate(model(item("fileinput", required=True)), {"xUrl": "https://a.test/a.png"}) == []
    for nothing in ([None], [""], ["", None], "  ", [" "]):
        assert [one.given for one in validate(model(item("fileinput", required=True)), {"x": nothing})] == ["nothing"]
    for kind, words in {"fileinput": "a file or a URL", "hologram": "a value"}.items():
        [problem] = validate(model(item(kind, required=True)), {})
        assert problem.allowed == f"{words}, and it is required"


def test_unsendable_values_are_reported_with_all_problems() -> None:
    """Even under names that the model does not describe, where files may be."""
    found = validate(
        model(item("number"), item("text", "y")), {"x": "five", "y": float("inf"), "odd": {1}, "file": JPEG}
    )
    expected = [("odd", True), ("file", True), ("x", False), ("y", False), ("odd", False)]
    assert [(one.name, one.is_doubtful) for one in found] == expected


def test_files_and_urls_count_together() -> None:
    """Under their own name and under the name of their URLs."""
    several = model(item("multifileinput", maxinputlenght=2))
    given = {"x": [JPEG], "xUrl": "https://a.test/1.png,https://a.test/2.png"}
    assert [one.given for one in validate(several, given)] == ["3 files"]


def test_a_model_without_parameters() -> None:
    """A summary has no parameters, so nothing is checked, but an input must be a mapping."""
    assert validate(model(), {"anything": object()}) == []
    with pytest.raises(InvalidInputError, match="input is a list"):
        validate(model(item("text")), ["x"])  # type: ignore[arg-type]


def test_the_error_lists_every_problem() -> None:
    """One line for each problem, and all of them as data."""
    found = validate(model(item("number"), item("text", "y", required=True)), {"x": "five"})
    error = invalid_input_error(model(), found)
    assert str(error).startswith("2 problems in the input for a/b, so nothing was sent:\n  x: given 'five'")
    assert error.errors == tuple(map(str, found))
    assert str(invalid_input_error(model(), found[:1])).startswith("1 problem in")


@pytest.mark.parametrize(
    "given",
    [
        {"prompt": [f"https://api.wiro.ai/v1/File/{SECRET}"]},
        {"prompt": {"u": f"https://api.wiro.ai/v1/File/{SECRET}"}},
        {"prompt": ["x" * 40 + f" https://api.wiro.ai/v1/File/{SECRET}"]},
        {"prompt": urlsplit(f"https://api.wiro.ai/v1/File/{SECRET}")},
        {"n": f"https://api.wiro.ai/v1/File/{SECRET}"},
        {"n": f" see https://api.wiro.ai/v1/File/{SECRET}/0.png"},
        {"n": f"postgres://me:{SECRET}@host/x"},
        {"unknown": f"https://api.wiro.ai/v1/File/{SECRET}"},
        {"image": {"url": f"https://api.wiro.ai/v1/File/{SECRET}"}},
        {"image": f"//api.wiro.ai/v1/File/{SECRET}/0.png"},
        {"image": f"api.wiro.ai/v1/File/{SECRET}/0.png"},
        {"inputVideo": f"https://cdn1.wiro.ai/{SECRET}/a.png?x={SECRET}"},
    ],
)
def test_no_problem_shows_a_secret(given: Item) -> None:
    """URLs of files contain access keys. No part of the error shows one, even shortened."""
    kinds = {"prompt": "textarea", "n": "number", "image": "fileinput", "inputVideo": "fileinput"}
    known = model(*(item(kind, name) for name, kind in kinds.items()))
    error = invalid_input_error(known, validate(known, given))
    texts = [str(error), repr(error), error.message, *error.errors, repr(error.args)]
    assert error.errors
    assert not [text for text in texts if SECRET[-8:] in text]


LLM = model(item("textarea", "prompt", required=True), categories=("llm-tool-call",))
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    "turn,names",
    [
        ({"prompt": "hi"}, []),
        ({"messages": MESSAGES, "tools": [], "tool_choice": "auto"}, []),
        ({"prompt": "hi", "previousTaskToken": "t", "session_id": "s"}, []),
        ({"toolOutputs": [{}], "previousTaskToken": "t", "session_id": "s"}, []),
        ({}, ["prompt"]),
        ({"prompt": "hi", "messages": MESSAGES}, ["messages"]),
        ({"toolOutputs": [{}], "prompt": "hi"}, ["previousTaskToken", "prompt"]),
        ({"toolOutputs": [{}], "previousTaskToken": "t", "tools": [{}], "session_id": "s"}, ["tools"]),
        ({"prompt": "hi", "previousTaskToken": "t"}, ["session_id"]),
        ({"prompt": " \n"}, ["prompt"]),
        ({"prompt": "hi", "session_id": "ü" * 128}, []),
        ({"prompt": "hi", "session_id": "ü" * 129}, ["session_id"]),
        ({"prompt": "hi", "user_idd": "u"}, ["user_idd"]),
        (
            {"toolOutputs": [{}], "previousTaskToken": "t", "session_id": "s", "parallel_tool_calls": False},
            ["parallel_tool_calls"],
        ),
        ({"toolOutputs": [{}], "previousTaskToken": "t", "session_id": "s", "prompt": "", "tools": []}, []),
        ({"messages": [{"content": date(2026, 1, 1)}]}, ["messages"]),
        ({"prompt": Array()}, ["prompt"]),
    ],
)
def test_turns(turn: Item, names: list[str]) -> None:
    """A turn of an LLM with tools is a prompt, messages, or outputs of tools."""
    assert [one.name for one in validate(LLM, turn)] == names


def test_problems_of_turns() -> None:
    """The problem names the contradiction and the remedy."""
    assert list(map(str, validate(LLM, {"session_id": "\ud800" * 100}))) == [
        "prompt: given nothing; allowed text, or messages instead",
        "session_id: given 300 bytes; allowed at most 256 bytes of UTF-8",
    ]
    assert list(map(str, validate(LLM, {"prompt": "hi", "messages": MESSAGES}))) == [
        "messages: given together with prompt; allowed either messages or prompt"
    ]
    assert list(map(str, validate(LLM, {"toolOutputs": [{}], "prompt": "hi"}))) == [
        "previousTaskToken: given nothing; allowed the token of the task that called the tools",
        "prompt: given together with toolOutputs; allowed nothing: a turn of tool outputs has nothing new",
    ]


# Random models, against a slow and simple second opinion

BOUNDS = st.none() | st.integers(-20, 20)
NUMBER_ITEMS = st.fixed_dictionaries(
    {"type": st.sampled_from(["number", "float", "integer", "range"]), "required": st.booleans()},
    optional={"min": BOUNDS, "maxvalue": BOUNDS.map(str), "step": st.sampled_from([0.5, "1", 3])},
)
SELECT_ITEMS = st.fixed_dictionaries(
    {
        "type": st.just("select"),
        "options": st.lists(st.sampled_from(["a", "b", "5", "true"])),
        "required": st.booleans(),
    }
)
TEXT_ITEMS = st.fixed_dictionaries({"type": st.sampled_from(["text", "checkbox"]), "required": st.just("true")})
VALUES = st.none() | st.sampled_from(["a", "5", "", "true", True, False, "x"]) | st.integers(-30, 30) | st.just(2.5)
NAMES = ["alpha", "beta", "gamma"]


def wrong(parameter: Item, value: Any) -> bool:
    """A second implementation of the checks, by enumeration where possible."""
    if value is None or value == "":
        return parameter["required"] in (True, "true")
    if parameter["type"] == "text":
        return isinstance(value, bool)
    if parameter["type"] == "checkbox":
        return str(value).lower() not in ("true", "false") or value == "True"
    if parameter["type"] == "select":
        return bool(parameter["options"]) and str(value).lower() not in parameter["options"]
    if isinstance(value, bool) or not str(value).lstrip("-").replace(".", "", 1).isdigit():
        return True
    number = float(value)
    least, most, step = parameter.get("min"), parameter.get("maxvalue", "None"), parameter.get("step")
    grid = {(least or 0) + n * float(step) for n in range(-300, 300)} if step else {number}
    too_fine = parameter["type"] == "integer" and number != int(number)
    outside = (least is not None and number < least) or (most != "None" and number > int(most))
    return bool(too_fine or outside or number not in grid)


@given(
    st.lists(NUMBER_ITEMS | SELECT_ITEMS | TEXT_ITEMS, min_size=3, max_size=3), st.lists(VALUES, min_size=3, max_size=3)
)
@settings(max_examples=300, deadline=None)
def test_random_models(items: list[Item], values: list[Any]) -> None:
    """All wrong values are found at once, and no valid one."""
    grouped = [
        {"title": "G", "items": [{**parameter, "id": name} for parameter, name in zip(items, NAMES, strict=True)]}
    ]
    given = dict(zip(NAMES, values, strict=True))
    expected = [name for parameter, name in zip(items, NAMES, strict=True) if wrong(parameter, given[name])]
    assert [problem.name for problem in validate(model(*grouped), given)] == expected
