"""Messages and snapshots, in any order, become events that only advance."""

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.messages.frames import Message, parse_frame
from wiro_async._protocol.messages.task_state import TaskState
from wiro_async._protocol.tasks.events import (
    CostUpdate,
    LogLine,
    Progress,
    StatusChanged,
    TextDelta,
    TextReset,
    UnknownEvent,
)
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._records import status as states
from wiro_async._records.task_event import TaskEvent
from wiro_async._records.task_info import TaskInfo

TEXT = "I think, therefore I am."
STATUSES = [*states.ORDER, "task_cancel", "task_error", "task_stream_ready", "task_error_full", "task_levitation", ""]
PAYLOADS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.text(),
    st.integers(0, len(TEXT)).map(lambda end: {"thinking": [], "answer": [TEXT[:end]]}),
    st.tuples(st.integers(0, 100), st.sampled_from(["Load", "Generate"])).map(
        lambda progress: {"type": "progressGenerate", "percentage": str(progress[0]), "task": progress[1]}
    ),
    st.dictionaries(st.text(), st.text()),
)


def message(kind: str, payload: Any = None, **more: Any) -> Message:
    """A message about the task."""
    return Message(kind, "1", "", {"type": kind, "message": payload, **more})


def task(status: str, pexit: Any = "", **more: Any) -> TaskInfo:
    """A snapshot, as Task/Detail returns it."""
    return parse_task({"id": "1", "status": status, "pexit": pexit, **more})


MESSAGES = st.builds(message, st.sampled_from(STATUSES) | st.text(), PAYLOADS)
SNAPSHOTS = st.builds(task, st.sampled_from(STATUSES) | st.text(), st.sampled_from(["", None, "0", "1"]))


@given(st.lists(st.tuples(MESSAGES | SNAPSHOTS, st.booleans()), max_size=30))
def test_any_news_in_any_order(news: list[tuple[Message | TaskInfo, bool]]) -> None:
    """Statuses and progress only advance, only a snapshot ends the task, and nothing follows the end."""
    state, events = TaskState(), list[TaskEvent]()
    for item, patient in news:
        was_over = state.is_over
        new = state.apply_message(item) if isinstance(item, Message) else state.apply_info(item, patient)
        assert not (was_over and new)
        assert state.is_over == was_over or (isinstance(item, TaskInfo) and item.is_over)
        if state.is_over and not was_over:
            assert state.info is not None
            assert attrs.evolve(state.info, raw=item.raw, streamed={}) == item
            assert state.status == state.info.status
        events += new
    ranks = [states.RANK[event.status] for event in events if isinstance(event, StatusChanged)]
    assert all(before < after for before, after in pairwise(ranks))
    for label in ("Load", "Generate"):
        fractions = [event.fraction for event in events if isinstance(event, Progress) and event.label == label]
        assert all(before < after for before, after in pairwise(fractions))
    text = ""
    for event in events:
        text = "" if isinstance(event, TextReset) else text + event.text if isinstance(event, TextDelta) else text
    assert text == state.text.answer
    assert TEXT.startswith(text)


@given(st.lists(MESSAGES))
def test_messages_never_end_it(news: list[Message]) -> None:
    """A message that reports the end is not final. Task/Detail decides."""
    state = TaskState()
    for item in news:
        assert not any(states.is_over(event.status) for event in state.apply_message(item))
    assert not state.is_over
    assert state.reported_over == any(states.is_over(item.type) for item in news)


@given(st.lists(MESSAGES))
def test_recording_keeps_up_with_messages(news: list[Message]) -> None:
    """A state that only records messages has an equal status and end report."""
    applied, recorded = TaskState(), TaskState()
    for item in news:
        applied.apply_message(item)
        recorded.apply_status(item)
    assert (applied.status, applied.reported_over, applied.has_started) == (
        recorded.status,
        recorded.reported_over,
        recorded.has_started,
    )


@given(st.text().filter(lambda kind: kind not in states.RANK), st.text())
def test_unknown_messages_are_kept(kind: str, payload: str) -> None:
    """Unchanged."""
    if kind in ("task_output", "task_error", "task_cost"):
        return
    received = message(kind, payload)
    (event,) = TaskState().apply_message(received)
    assert isinstance(event, UnknownEvent)
    assert (event.type, event.raw) == (kind, received.raw)


def test_a_run() -> None:
    """From the queue to the end."""
    state = TaskState()
    seen = [state.apply_message(message(status)) for status in states.ORDER[:6]]
    assert [type(event) for events in seen for event in events] == [StatusChanged] * 6
    assert state.has_started
    changed, line = state.apply_message(message("task_output", "loading"))
    assert (changed.status, line.status) == ("task_output", "task_output")
    assert isinstance(line, LogLine)
    assert state.apply_message(message("task_postprocess_end", [], success=True, terminal=True, exitCode=0)) == []
    assert (state.reported_over, state.is_over) == (True, False)
    end = task("task_postprocess_end", "0")
    assert state.apply_info(end) == [StatusChanged(status="task_postprocess_end")]
    assert (state.is_over, state.info) == (True, end)
    assert state.apply_info(task("task_cancel")) == []
    state.apply_status(message("task_start"))
    assert state.status == "task_postprocess_end"


def test_an_end_without_an_exit_code_is_waited_for() -> None:
    """A snapshot without one is final only if the poller waits no longer, or if the task was cancelled."""
    state = TaskState()
    assert state.apply_info(task("task_postprocess_end", "")) == []
    assert (state.reported_over, state.is_over, state.status) == (True, False, "")
    assert state.apply_info(task("task_postprocess_end", ""), patient=False) == [
        StatusChanged(status="task_postprocess_end")
    ]
    assert state.is_over
    cancelled = TaskState()
    cancelled.apply_info(task("task_cancel", ""))
    assert cancelled.is_over


def test_an_outdated_snapshot() -> None:
    """It is not applied."""
    state = TaskState()
    state.apply_message(message("task_end"))
    assert state.apply_info(task("task_start")) == []
    assert (state.status, state.info) == ("task_end", None)
    ahead = task("task_postprocess_start")
    state.apply_info(ahead)
    assert state.info is ahead
    unknown = task("task_levitation")
    assert state.apply_info(unknown) == []
    assert state.info is unknown


def test_a_stored_error_is_not_an_end() -> None:
    """The task waits to be queued again."""
    state = TaskState()
    assert state.apply_info(task("task_error", "1")) == []
    assert not state.reported_over


def test_costs() -> None:
    """A message type of their own."""
    (event,) = TaskState().apply_message(message("task_cost", turnCost="1", cumulativeCost="2"))
    assert isinstance(event, CostUpdate)
    assert (event.turn, event.total) == (Decimal(1), Decimal(2))


def test_progress_restarts_with_another_label() -> None:
    """It continues from its value when the first label returns."""
    state = TaskState()
    state.apply_message(message("task_start"))
    reports = [("60", "Load"), ("60", "Load"), ("10", "Generate"), ("50", "Load"), ("70", "Load")]
    seen = [
        state.apply_message(message("task_output", {"percentage": value, "task": label})) for value, label in reports
    ]
    assert [[event.fraction for event in events if isinstance(event, Progress)] for events in seen] == [
        [0.6],
        [],
        [0.1],
        [],
        [0.7],
    ]


def test_text_from_messages_and_snapshots() -> None:
    """Both make one text. A reset is reported before the text that replaces it."""
    state = TaskState()
    state.apply_message(message("task_output", {"answer": ["Hel"], "thinking": ["hm"]}))
    content: dict[str, Any] = {"thinking": ["hm"], "answer": ["Hello"]}
    events = state.apply_info(
        task("task_postprocess_end", "0", outputs=[{"content": {}}, {"content": content}, {"content": content}])
    )
    assert events[1:] == [TextDelta("lo", "answer", 1, status="task_postprocess_end", raw={"content": content})]
    other = TaskState()
    other.apply_message(message("task_output", {"answer": ["No"]}))
    reset, delta = other.apply_message(message("task_output", {"answer": ["Yes"]}))
    assert (type(reset), type(delta)) == (TextReset, TextDelta)


def test_what_a_late_listener_receives() -> None:
    """The status, and all text so far."""
    state = TaskState()
    assert state.snapshot_events() == []
    state.apply_message(message("task_output", {"answer": ["Hi"], "thinking": ["hm"]}))
    assert state.snapshot_events() == [
        StatusChanged(status="task_output"),
        TextDelta("hm", "thinking", 0, status="task_output"),
        TextDelta("Hi", "answer", 1, status="task_output"),
    ]


@pytest.mark.parametrize("status", ["", "task_queue", "task_assign"])
def test_not_started(status: str) -> None:
    """Before task_start the queue timeout applies."""
    state = TaskState()
    state.apply_message(message(status))
    assert not state.has_started


STREAMED = {"segments": [{"type": "thinking", "text": "hm"}, {"type": "answer", "text": "Hello you"}]}
CALL = {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}", "status": "completed"}


@pytest.mark.parametrize(
    "content, log, is_over",
    [
        (None, "", False),
        (None, "Hello", False),
        (None, "hm Hello you", True),
        ({}, "", False),
        ({"answer": ["Hello"]}, "", False),
        ({"answer": ["Hello"], "finishreason": "length"}, "", True),
        ({"answer": ["Hello you"]}, "", True),
        ({"answer": ["Hello you two"]}, "", True),
        ({"answer": ["Other"]}, "", True),
        ({"thinking": ["hm"]}, "", False),
    ],
)
def test_a_record_that_lags_does_not_end_the_task(content: dict[str, Any] | None, log: str, is_over: bool) -> None:
    """Unless it is read for the last time. Then what is known counts."""
    state = TaskState()
    state.apply_message(message("task_output", STREAMED))
    outputs = [] if content is None else [{"content": content}]
    end = task("task_postprocess_end", "0", outputs=outputs, debugoutput=log)
    state.apply_info(end)
    assert state.is_over == is_over
    state.apply_info(end, patient=False)
    assert state.is_over
    assert state.text.thinking == "hm"


@pytest.mark.parametrize("exit_code, status", [("1", "task_postprocess_end"), ("", "task_cancel")])
def test_a_task_that_failed_is_over_without_its_text(exit_code: str, status: str) -> None:
    """Its text may never have been stored."""
    state = TaskState()
    state.apply_message(message("task_output", STREAMED))
    state.apply_info(task(status, exit_code))
    assert state.is_over


def test_the_end_of_a_text_is_noticed_before_the_text() -> None:
    """The reason and the counts may precede a text that does not grow any more."""
    state = TaskState()
    for more in ({}, {}, {"finishreason": "stop", "usage": {"total_tokens": 3}}):
        body = {"type": "answer", **more, **STREAMED}
        frame = parse_frame(json.dumps({"type": "task_output", "id": "7", "message": body}).encode())
        assert frame is not None
        state.apply_message(frame)
    state.apply_info(task("task_postprocess_end", "0", outputs=[]), patient=False)
    assert state.info is not None
    assert state.info.streamed["finishreason"] == "stop"
    assert state.info.streamed["usage"] == {"total_tokens": 3}
    assert parse_task(state.info.raw).streamed == state.info.streamed


def test_calls_that_only_messages_brought() -> None:
    """They are part of the final timeline."""
    state = TaskState()
    state.apply_message(message("task_output", {"segments": [*STREAMED["segments"], CALL]}))
    state.apply_info(task("task_postprocess_end", "0", outputs=[{"content": STREAMED}]))
    assert not state.is_over
    state.apply_info(task("task_postprocess_end", "0", outputs=[{"content": STREAMED}]), patient=False)
    assert state.info is not None
    assert state.info.streamed["segments"] == [*STREAMED["segments"], CALL]
