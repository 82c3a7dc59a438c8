"""Requests, byte for byte."""

import io
import json
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._errors import InvalidInputError
from wiro_async._protocol.http import requests
from wiro_async._protocol.http.requests import RunInput
from wiro_async._types import File

SLUGS = st.text(st.characters(exclude_characters="/"), min_size=1).filter(
    lambda text: text.isprintable() and text.strip() not in ("", ".", "..")
)


def body(request: requests.Request) -> Any:
    """Return the JSON of a request."""
    return json.loads(request.body)


def run(given: dict[str, object], callback_url: str | None = None, project_id: str | None = None) -> requests.Request:
    """A run of a model."""
    return requests.run("a/b", RunInput.parse(given), callback_url, project_id)


def test_ids_of_projects() -> None:
    """Text and numbers are accepted. Other types are refused."""
    for project in ("716", 716):
        assert body(requests.run("a/b", RunInput.parse({}), None, project)) == {"projectid": "716"}
    for odd in (True, b"7", 7.0):
        with pytest.raises(InvalidInputError, match="project_id is a"):
            requests.run("a/b", RunInput.parse({}), None, odd)  # type: ignore[arg-type]


def test_empty_lists_in_a_form() -> None:
    """A form would send their text as a value. JSON can hold them."""
    assert dict(run({"a": [], "b": [1], "f": File(b"", "f")}).parts or ())["a"] == ""
    assert body(run({"a": [], "b": [1]})) == {"a": [], "b": [1]}


def test_files_in_any_sequence() -> None:
    """A deque is as good as a list."""
    parts = run({"a": deque([Path("a.png"), Path("b.png")])}).parts or ()
    assert [value.name for _, value in parts if isinstance(value, File)] == ["a.png", "b.png"]


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


async def pieces() -> AsyncIterator[bytes]:
    """A source that can be read once."""
    yield b"x"


@given(SLUGS, SLUGS)
def test_slugs_are_encoded(owner: str, model: str) -> None:
    """Each part is percent-encoded, so decoding the path returns it unchanged."""
    path = requests.model_path(f"{owner}/{model}")
    assert path.isascii()
    assert [unquote(segment) for segment in path.split("/")] == [owner, model]


@pytest.mark.parametrize(
    "model, path",
    [
        ("google/nano-banana-pro", "google/nano-banana-pro"),
        ("Owner/My Model", "Owner/My%20Model"),
        ("owner/ leading", "owner/%20leading"),
        ("owner/100%", "owner/100%25"),
        ("owner/a?b#c", "owner/a%3Fb%23c"),
        ("öwner/mödel", "%C3%B6wner/m%C3%B6del"),
    ],
)
def test_slugs(model: str, path: str) -> None:
    """Known slugs, unchanged."""
    assert requests.model_path(model) == path


@pytest.mark.parametrize(
    "model",
    [
        "",
        "a",
        "/",
        "a/",
        "/b",
        "a/b/c",
        "../x",
        "a/..",
        "./x",
        "a/ .. ",
        "a/b\n",
        "a\x00/b",
        "a/\x7f",
        "a/\ud800",
        None,
        7,
    ],
)
def test_invalid_slugs(model: Any) -> None:
    """They are refused before anything is sent, with an example."""
    with pytest.raises(InvalidInputError, match="owner/model"):
        requests.model_path(model)


def test_a_run_is_json_without_files() -> None:
    """It has the two parameters of every run, in the service's spelling."""
    request = run({"prompt": "x", "urls": ["https://a", "https://b"], "n": 2}, "https://back", "716")
    assert request.path == "Run/a/b"
    assert request.parts is None
    assert body(request) == {
        "prompt": "x",
        "urls": ["https://a", "https://b"],
        "n": 2,
        "callbackUrl": "https://back",
        "projectid": "716",
    }
    assert not request.repeatable


def test_a_run_by_events() -> None:
    """The run's request, with a streamed response."""
    assert requests.run("a/b", RunInput.parse({}), None, None, True).path == "Run/a/b/sync?stream=true"


def test_an_empty_run() -> None:
    """No input is an empty object."""
    assert body(requests.run("a/b", RunInput.parse(None), None, None)) == {}


HALF = "an emoji cut in two: \ud83d"


@pytest.mark.parametrize(
    "given, named",
    [
        ({"prompt": HALF}, r"^prompt has half of a surrogate pair at character 21.*errors='replace'"),
        ({"o": {"a": [HALF]}}, r"^o\['a'\]\[0\] has half"),
        ({"o": {HALF: 1}}, r"^the key '.*' of o has half"),
        ({HALF: 1}, r"^the parameter name '.*' has half"),
        ({"image": [File(b"1", "1.png"), f"https://host/{HALF}"]}, "^image has half"),
    ],
)
def test_halves_of_characters(given: dict[str, object], named: str) -> None:
    """The error names the parameter. JSON with them may be invalid, and a form would send question marks."""
    with pytest.raises(InvalidInputError, match=named) as caught:
        run(given)
    str(caught.value).encode()
    for name, ours in (("callback_url", (HALF, None)), ("project_id", (None, HALF))):
        with pytest.raises(InvalidInputError, match=f"^{name} has half"):
            requests.run("a/b", RunInput.parse({}), *ours)


def test_files_make_it_multipart() -> None:
    """Values become text, and files are parts, in the given order."""
    path, data = Path("dir/photo.jpg"), File(b"1", "1.png")
    request = run(
        {"image": path, "n": 4, "on": True, "off": False, "none": None, "o": {"a": [1]}, "more": [data, data]}, "u"
    )
    assert request.body == b""
    assert request.parts == (
        ("n", "4"),
        ("on", "true"),
        ("off", "false"),
        ("none", ""),
        ("o", '{"a":[1]}'),
        ("callbackUrl", "u"),
        ("image", File(path, "photo.jpg")),
        ("more", data),
        ("more", data),
    )


def test_urls_beside_files() -> None:
    """Files under the name, URLs under the name with `Url`, several joined by commas."""
    data = File(b"1", "1.png")
    given = RunInput.parse({"image": ["https://a", data, "https://b"]})
    assert given.values == {"imageUrl": "https://a,https://b"}
    assert given.files == (("image", data),)


@pytest.mark.parametrize("given", [{"a": [Path("p"), "u"], "aUrl": "v"}, {"aUrl": "v", "a": [Path("p"), "u"]}])
def test_urls_given_twice(given: dict[str, object]) -> None:
    """They are refused, so that none is dropped silently."""
    with pytest.raises(InvalidInputError, match="aUrl is given twice"):
        RunInput.parse(given)


@pytest.mark.parametrize("other", [5, None, {"a": 1}])
def test_only_urls_mix_with_files(other: object) -> None:
    """Other values are refused."""
    with pytest.raises(InvalidInputError, match="beside files"):
        RunInput.parse({"a": [Path("p"), other]})


def test_open_files_are_named_after_their_path(tmp_path: Path) -> None:
    """A file without a path has a plain name."""
    path = tmp_path / "fox.png"
    path.write_bytes(b"x")
    with path.open("rb") as opened:
        names = [file.name for _, file in RunInput.parse({"a": opened, "b": io.BytesIO()}).files]
    assert names == ["fox.png", "file"]


def cyclic() -> list[object]:
    """Return a list that contains itself."""
    items: list[object] = []
    items.append(items)
    return items


@pytest.mark.parametrize("given", [{"a": cyclic()}, {"a": [Path("p"), {"b": cyclic()}]}, {"a": {"b": cyclic()}}])
def test_cyclic_values(given: dict[str, object]) -> None:
    """They are refused by name."""
    with pytest.raises(InvalidInputError, match=r"^a "):
        RunInput.parse(given)


@pytest.mark.parametrize("given", ["text", [("a", 1)], {1: "a"}])
def test_inputs_are_mappings_of_names(given: Any) -> None:
    """Other values are refused."""
    with pytest.raises(InvalidInputError, match="input"):
        RunInput.parse(given)


@pytest.mark.parametrize(
    "data, replayable",
    [(b"x", True), (Path("p"), True), (io.BytesIO(), True), (Pipe(), False), (pieces(), False)],
    ids=["bytes", "path", "file", "pipe", "iterator"],
)
def test_which_runs_can_be_repeated(data: Any, replayable: bool) -> None:
    """A pipe or an iterator is consumed by the first attempt."""
    assert run({"a": File(data, "n")}).is_replayable is replayable


def test_a_run_of_json_can_be_sent_again() -> None:
    """Nothing is consumed."""
    assert run({}).is_replayable


def test_the_calls_about_tasks() -> None:
    """Each has the field that the service expects."""
    assert body(requests.task_detail("1", "t")) == {"tasktoken": "t"}
    assert body(requests.task_detail("1", None)) == {"taskid": "1"}
    assert body(requests.task_cancel("1")) == {"taskid": "1"}
    assert body(requests.task_kill("1", "t")) == {"socketaccesstoken": "t"}
    assert body(requests.task_kill("1", None)) == {"taskid": "1"}
    assert body(requests.task_delete_files("t")) == {"tasktoken": "t"}
    page = {"type": "model", "sort": "id", "order": "DESC", "start": "20", "limit": "10"}
    assert body(requests.task_list(20, 10)) == page
    assert body(requests.task_list(20, 10, "m")) == {**page, "modelName": "m"}


def test_endpoints_hide_what_follows_run() -> None:
    """They are logged without the model."""
    assert run({}).endpoint == "Run"
    assert requests.task_detail("1", None).endpoint == "Task/Detail"


def test_a_request_does_not_show_its_body() -> None:
    """It contains tokens."""
    assert "t0ken" not in repr(requests.task_detail(None, "t0ken"))
