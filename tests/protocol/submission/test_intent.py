"""Whether a listed task belongs to a run."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._errors import InvalidInputError
from wiro_async._protocol.http.requests import RunInput, form_text
from wiro_async._protocol.submission.intent import Intent, intent_of, with_intent
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.values.json import JSON
from wiro_async._records.task_info import TaskInfo
from wiro_async._types import File

SCALARS = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


def intent(given: dict[str, Any], callback_url: str | None = None, model: str = "a/b") -> Intent:
    """Return an intent."""
    return Intent.of(model, RunInput.parse(given), callback_url)


def echo(parameters: Any, callback_url: str | None = None, owner: str = "a") -> TaskInfo:
    """Return a task as the service lists it."""
    record = {"modelslugowner": owner, "modelslugproject": "b", "parameters": parameters, "callbackurl": callback_url}
    return parse_task({key: value for key, value in record.items() if value is not None})


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4))
def test_values_echoed_as_text(given: dict[str, Any]) -> None:
    """Numbers, booleans and JSON are echoed as text and still match."""
    assert intent(given).matches(echo({name: form_text(value) for name, value in given.items()}))
    assert intent(given).matches(echo(given))


@pytest.mark.parametrize(
    "given, echoed, same",
    [
        ({"n": 4}, {"n": "4"}, True),
        ({"n": 4.0}, {"n": "4"}, True),
        ({"n": "4.50"}, {"n": 4.5}, True),
        ({"n": 4}, {"n": "5"}, False),
        ({"on": True}, {"on": "true"}, True),
        ({"o": {"a": 1, "b": [2]}}, {"o": '{"b":["2"],"a":"1"}'}, True),
        ({"o": {"a": False, "b": [True, None]}}, {"o": {"a": "false", "b": ["true", None]}}, True),
        ({"o": [1, 2]}, {"o": "[2,1]"}, False),
        ({"p": "x", "q": None, "r": ""}, {"p": "x"}, True),
        ({"p": "x"}, {"p": "x", "projectid": "7", "callbackUrl": "u"}, True),
        ({"p": "x"}, {"p": "x", "q": "y"}, False),
        ({"p": "{broken"}, {"p": "{broken"}, True),
        ({"p": "NaN"}, {"p": "NaN"}, True),
        ({}, {}, True),
    ],
)
def test_runs(given: dict[str, Any], echoed: dict[str, Any], same: bool) -> None:
    """Which listed tasks belong to which runs."""
    assert intent(given).matches(echo(echoed)) is same


def test_models() -> None:
    """The service may write their names in another case."""
    assert intent({}, model="A/B").matches(echo({}))
    assert not intent({}).matches(echo({}, owner="c"))


def test_files_are_not_compared() -> None:
    """The service echoes files in another form. Their URLs are not compared either."""
    given = {"image": [File(b"x", "f"), "https://a"], "p": "x"}
    assert intent(given).matches(echo({"image": "https://cdn/9", "imageUrl": "https://a,", "p": "x"}))
    assert not intent(given).matches(echo({"p": "y"}))


def test_a_callback_decides() -> None:
    """Its URL contains the intent's id, so nothing else needs to be compared."""
    mine, other = with_intent("https://back/?a=1", "1"), with_intent("https://back/?a=1", "2")
    assert intent({"p": "x"}, mine).matches(echo({"p": "else"}, mine))
    assert not intent({"p": "x"}, mine).matches(echo({"p": "x"}, other))
    assert not intent({"p": "x"}).matches(echo({"p": "x"}, other))
    assert not intent({"p": "x"}).matches(echo({"p": "x"}, "https://plain"))
    assert intent({"p": "x"}, mine).matches(echo({"p": "else"}, mine.replace("&", "&amp;")))
    assert intent({"p": "x"}, mine).matches(echo({"p": "x"}, ""))


@pytest.mark.parametrize(
    "ours, listed, same", [("716", "716", True), (716, "716", True), ("1", "2", False), (None, "2", True)]
)
def test_a_project_decides(ours: Any, listed: str, same: bool) -> None:
    """Runs of different projects differ. A run without a project may belong to any."""
    wanted = Intent.of("a/b", RunInput.parse({}), None, ours)
    record: dict[str, JSON] = {
        "modelslugowner": "a",
        "modelslugproject": "b",
        "parameters": {},
        "projectid": listed,
    }
    assert wanted.matches(parse_task(record)) == same


@pytest.mark.parametrize("url", ["", "my.app/SECRET", "ftp://my.app/SECRET", "https://", "https://[/SECRET", 7])
def test_urls_that_cannot_be_called(url: Any) -> None:
    """They are refused before a run is billed, because the callback could not be delivered."""
    with pytest.raises(InvalidInputError, match=r"callback_url is not a URL .* https://") as caught:
        with_intent(url, "1")
    assert "SECRET" not in str(caught.value)


@given(st.text("abc=&?#/%+", max_size=10), st.uuids().map(lambda one: one.hex))
def test_urls_keep_their_query(query: str, intent_id: str) -> None:
    """The id is added, and the rest of the query keeps its meaning."""
    before = f"https://back.test/path?{query.replace('#', '')}"
    after = with_intent(before, intent_id)
    assert intent_of(after) == intent_id
    assert intent_of(before) is None
    fields = parse_qs(urlsplit(after).query, keep_blank_values=True)
    assert fields.pop("wiro_intent") == [intent_id]
    assert fields == parse_qs(urlsplit(before).query, keep_blank_values=True)


def test_an_intent_shows_no_prompt() -> None:
    """Nor the secret in a callback URL."""
    shown = repr(intent({"p": "private"}, "https://back/?s3cret"))
    assert "private" not in shown
    assert "s3cret" not in shown


@pytest.mark.parametrize(
    "echo, own, is_same",
    [
        ("caf\ufffd au lait", "café au lait", True),
        ("\ufffd\ufffd", "é", True),
        ("a\ufffdb", "ab", True),
        ("\ufffd", "😀", True),
        ("caf\ufffd", "café au lait", False),
        ("caf\ufffd", "tea", False),
        ("x\ufffdy", "x and something else altogether y", False),
        ("caf\ufffd", "caf\ufffd", True),
    ],
)
def test_an_echo_with_a_broken_byte(echo: str, own: str, is_same: bool) -> None:
    """It may be that of the run if nothing but the broken place differs."""
    ours = Intent.of("o/m", RunInput.parse({"prompt": own}), None)
    row = {"modelslugowner": "o", "modelslugproject": "m", "parameters": {"prompt": echo}}
    assert ours.matches(parse_task(row)) is is_same  # type: ignore[arg-type]
