"""Whether a task is the one that was meant."""

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
    """What was meant."""
    return Intent.of(model, RunInput.parse(given), callback_url)


def echo(parameters: Any, callback_url: str | None = None, owner: str = "a") -> TaskInfo:
    """A task as the service lists it."""
    record = {"modelslugowner": owner, "modelslugproject": "b", "parameters": parameters, "callbackurl": callback_url}
    return parse_task({key: value for key, value in record.items() if value is not None})


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4))
def test_values_echoed_as_text(given: dict[str, Any]) -> None:
    """Numbers, booleans and JSON come back as text; it is the same run."""
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
    """Which echoes are of which runs."""
    assert intent(given).matches(echo(echoed)) is same


def test_models() -> None:
    """The service may write their names in other cases."""
    assert intent({}, model="A/B").matches(echo({}))
    assert not intent({}).matches(echo({}, owner="c"))


def test_files_are_echoed_in_ways_of_their_own() -> None:
    """So they are not compared, nor are the URLs beside them."""
    given = {"image": [File(b"x", "f"), "https://a"], "p": "x"}
    assert intent(given).matches(echo({"image": "https://cdn/9", "imageUrl": "https://a,", "p": "x"}))
    assert not intent(given).matches(echo({"p": "y"}))


def test_a_callback_settles_it() -> None:
    """Its address holds an id, so nothing else needs to be compared."""
    mine, other = with_intent("https://back/?a=1", "1"), with_intent("https://back/?a=1", "2")
    assert intent({"p": "x"}, mine).matches(echo({"p": "else"}, mine))
    assert not intent({"p": "x"}, mine).matches(echo({"p": "x"}, other))
    assert not intent({"p": "x"}).matches(echo({"p": "x"}, other))
    assert not intent({"p": "x"}).matches(echo({"p": "x"}, "https://plain"))
    assert intent({"p": "x"}, mine).matches(echo({"p": "else"}, mine.replace("&", "&amp;")))
    assert intent({"p": "x"}, mine).matches(echo({"p": "x"}, ""))


@pytest.mark.parametrize(
    "ours, told, same", [("716", "716", True), (716, "716", True), ("1", "2", False), (None, "2", True)]
)
def test_a_project_settles_it(ours: Any, told: str, same: bool) -> None:
    """A run for one project is none for another; which one an unnamed project is, nobody can say."""
    wanted = Intent.of("a/b", RunInput.parse({}), None, ours)
    record: dict[str, JSON] = {
        "modelslugowner": "a",
        "modelslugproject": "b",
        "parameters": {},
        "projectid": told,
    }
    assert wanted.matches(parse_task(record)) == same


@pytest.mark.parametrize("url", ["", "my.app/SECRET", "ftp://my.app/SECRET", "https://", "https://[/SECRET", 7])
def test_what_nobody_can_call(url: Any) -> None:
    """Refused before a run is billed whose end would be told to nobody."""
    with pytest.raises(InvalidInputError, match=r"callback_url is not a URL .* https://") as caught:
        with_intent(url, "1")
    assert "SECRET" not in str(caught.value)


@given(st.text("abc=&?#/%+", max_size=10), st.uuids().map(lambda one: one.hex))
def test_addresses_keep_what_they_had(query: str, intent_id: str) -> None:
    """The id is added, the rest of the query means what it meant."""
    before = f"https://back.test/path?{query.replace('#', '')}"
    after = with_intent(before, intent_id)
    assert intent_of(after) == intent_id
    assert intent_of(before) is None
    told = parse_qs(urlsplit(after).query, keep_blank_values=True)
    assert told.pop("wiro_intent") == [intent_id]
    assert told == parse_qs(urlsplit(before).query, keep_blank_values=True)


def test_an_intent_shows_no_prompt() -> None:
    """Nor the secret in a callback's address."""
    shown = repr(intent({"p": "private"}, "https://back/?s3cret"))
    assert "private" not in shown
    assert "s3cret" not in shown
