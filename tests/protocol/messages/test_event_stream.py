"""Server-sent events."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.messages.event_stream import EventParser, ServerEvent, find_ids, parse_event
from wiro_async._protocol.messages.frames import Message
from wiro_async._protocol.tasks.records import Submitted
from wiro_async._records.task_info import TaskInfo

LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))
NAMES = LINES.filter(bool)


def parsed(data: bytes, cuts: list[int] | None = None) -> list[ServerEvent]:
    """Return the events of bytes that arrive in pieces."""
    parser = EventParser()
    edges = sorted({0, len(data), *(cut for cut in cuts or [] if cut < len(data))})
    return [event for start, end in pairwise(edges) for event in parser.feed(data[start:end])]


@given(
    st.lists(st.tuples(NAMES, st.lists(LINES, min_size=1))),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 300)),
)
def test_events_are_complete(events: list[tuple[str, list[str]]], end: str, cuts: list[int]) -> None:
    """With any line ends, and wherever the bytes are cut."""
    text = "".join(
        f"event: {name}{end}{''.join(f'data: {line}{end}' for line in lines)}{end}" for name, lines in events
    )
    text += f": keep-alive{end}"  # a half event at the end is none, and shows that the last was not held back
    assert parsed(text.encode(), cuts) == [ServerEvent(name, "\n".join(lines)) for name, lines in events]


@given(st.binary(), st.lists(st.integers(0, 100)))
def test_cuts_make_no_difference(data: bytes, cuts: list[int]) -> None:
    """Any bytes give equal events, wherever they are cut."""
    assert parsed(data, cuts) == parsed(data)


@pytest.mark.parametrize(
    "text, events",
    [
        (": keep-alive\n\n", []),
        ("data: a\n\n", [ServerEvent("message", "a")]),
        ("data:a\ndata:  b\n\n", [ServerEvent("message", "a\n b")]),
        ("data\n\n", [ServerEvent("message", "")]),
        ("event: done\n\n", []),
        ("event: done\n\ndata: a\n\n", [ServerEvent("message", "a")]),
        ("id: 7\nretry: 10\nodd: x\ndata: a\n\n", [ServerEvent("message", "a")]),
        ("\ufeffevent: e\ndata: a\n\n", [ServerEvent("e", "a")]),
        ("data: a", []),
        ("data: a\u2028b\x85c\n\n", [ServerEvent("message", "a\u2028b\x85c")]),
    ],
)
def test_details_of_the_format(text: str, events: list[ServerEvent]) -> None:
    """Comments, defaults, unknown fields, and characters that end no line."""
    assert parsed(text.encode()) == events


def test_a_cut_between_cr_and_lf() -> None:
    """It is one end of a line, not two."""
    parser = EventParser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"\ndata: b\r") == []
    assert parser.feed(b"\n\r\n") == [ServerEvent("message", "a\nb")]


@pytest.mark.parametrize(
    "data",
    [
        {"taskid": "1", "socketaccesstoken": "t"},
        {"id": "1", "tasktoken": "t"},
        {"id": 1},
        {"data": {"taskid": 1, "socketaccesstoken": "t"}},
        {"tasklist": [{"id": "1", "socketaccesstoken": "t", "status": "task_queue"}]},
        {"result": True, "data": {"tasklist": [{"id": "1", "socketaccesstoken": "t"}]}},
    ],
)
@pytest.mark.parametrize("name", ["start", "task_accept", "message", "task_output"])
def test_the_ids(name: str, data: dict[str, Any]) -> None:
    """By either name, at any place, in the first event that has them."""
    parsed = find_ids(parse_event(ServerEvent(name, json.dumps(data))))
    assert parsed is not None
    assert parsed.task_id == "1"
    assert parsed.token == (None if data == {"id": 1} else "t")


@pytest.mark.parametrize("name", ["start", "done", "message"])
def test_no_ids(name: str) -> None:
    """There are no ids, or other values are in their place."""
    for data in ("{}", '{"data":[]}', '{"tasklist":[null]}', '{"id":{},"data":{"id":[]}}', '{"tasklist":"x"}'):
        assert find_ids(parse_event(ServerEvent(name, data))) is None


def test_the_end() -> None:
    """The event contains the task."""
    parsed = parse_event(ServerEvent("done", '{"tasklist":[{"id":"1","status":"task_cancel"}]}'))
    assert isinstance(parsed, TaskInfo)
    assert parsed.was_cancelled
    assert find_ids(parsed) == Submitted("1", None)
    assert parse_event(ServerEvent("done", "{}")) is None


@pytest.mark.parametrize(
    "name, data, kind",
    [
        ("task_output", {"id": "1", "status": "task_output", "segments": []}, "task_output"),
        ("task_output", {"id": "1", "status": "odd"}, "task_output"),
        ("update", {"id": 1, "status": "task_end"}, "task_end"),
        ("update", {"id": 1}, "update"),
    ],
)
def test_messages(name: str, data: dict[str, Any], kind: str) -> None:
    """A known event name is the type. Otherwise the status is."""
    parsed = parse_event(ServerEvent(name, json.dumps(data)))
    assert isinstance(parsed, Message)
    assert (parsed.type, parsed.task_id, parsed.raw["message"]) == (kind, "1", data)


@given(st.sampled_from(["start", "done", "task_output", "x"]), st.text())
def test_any_data_is_parsed(name: str, data: str) -> None:
    """Any data gives a message, or None."""
    assert parse_event(ServerEvent(name, data)) is None or json.loads(data)
