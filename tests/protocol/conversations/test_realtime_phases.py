"""The phases of a realtime session, as a table: phase, event, next phase, actions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.conversations.realtime_phases import (
    Aborted,
    Action,
    Closed,
    Connecting,
    Disconnected,
    Draining,
    Ending,
    EndReason,
    EndRequested,
    Event,
    Failed,
    FrameRead,
    Left,
    Open,
    Phase,
    Queued,
    Ready,
    Registered,
    SocketLost,
    TaskEnded,
    TimeUp,
    takes_frames,
    was_open,
)

ENDED, LOST, LEFT, TIMED_OUT = EndReason.ENDED, EndReason.LOST, EndReason.LEFT, EndReason.TIMED_OUT
CLOSED, FAILED = EndReason.SESSION_CLOSED, EndReason.FAILED
INPUT, SEND, OUTPUT, DISCARD, STOP = (
    Action.CLOSE_INPUT,
    Action.SEND_END,
    Action.CLOSE_OUTPUT,
    Action.DISCARD_OUTPUT,
    Action.STOP_READING,
)
GONE, LATE, BUG = ConnectionError("gone"), TimeoutError("late"), ZeroDivisionError("bug")
TIMEOUT, BROKEN = Failed(TIMED_OUT, LATE), Failed(FAILED, BUG)
LOSS, EXPECTED = SocketLost(GONE, is_expected=False), SocketLost(GONE, is_expected=True)
BEFORE: list[Phase] = [Connecting(), Queued()]

EVENTS: list[Event] = [
    Registered(),
    Ready(),
    EndRequested(),
    TaskEnded(all_read=True),
    TaskEnded(all_read=False),
    FrameRead(is_last=True),
    FrameRead(is_last=False),
    LOSS,
    EXPECTED,
    TimeUp(),
    TIMEOUT,
    BROKEN,
    Left(),
    Aborted(BUG),
]

TABLE: list[tuple[Phase, Event, Phase, tuple[Action, ...]]] = [
    (Connecting(), Registered(), Queued(), ()),
    *((phase, Ready(), Open(), ()) for phase in BEFORE),
    *((phase, TaskEnded(all_read=False), Draining(was_open=False), (INPUT,)) for phase in BEFORE),
    *((phase, TaskEnded(all_read=True), Closed(ENDED, None, was_open=False), (INPUT, OUTPUT)) for phase in BEFORE),
    *((phase, LOSS, Disconnected(GONE, LOST, None, was_open=False), (STOP,)) for phase in BEFORE),
    *((phase, EXPECTED, Disconnected(GONE, ENDED, None, was_open=False), (STOP,)) for phase in BEFORE),
    *((phase, TIMEOUT, Closed(TIMED_OUT, LATE, was_open=False), (INPUT, OUTPUT)) for phase in BEFORE),
    *((phase, BROKEN, Closed(FAILED, BUG, was_open=False), (INPUT, OUTPUT)) for phase in BEFORE),
    *((phase, Left(), Closed(LEFT, None, was_open=False), (INPUT, DISCARD)) for phase in BEFORE),
    *((phase, Aborted(BUG), Closed(FAILED, BUG, was_open=False), (INPUT, OUTPUT)) for phase in BEFORE),
    (Open(), EndRequested(), Ending(ENDED), (INPUT, SEND)),
    (Open(), TIMEOUT, Ending(TIMED_OUT, LATE), (INPUT, OUTPUT, SEND)),
    (Open(), BROKEN, Ending(FAILED, BUG), (INPUT, OUTPUT, SEND)),
    (Open(), Left(), Ending(LEFT), (INPUT, DISCARD, SEND)),
    (Open(), TaskEnded(all_read=False), Draining(), (INPUT,)),
    (Open(), TaskEnded(all_read=True), Closed(ENDED), (INPUT, OUTPUT)),
    (Open(), LOSS, Disconnected(GONE, LOST), (STOP,)),
    (Open(), EXPECTED, Disconnected(GONE, ENDED), (STOP,)),
    (Open(), Aborted(BUG), Closed(FAILED, BUG), (INPUT, OUTPUT)),
    (Ending(), TaskEnded(all_read=False), Draining(), (INPUT,)),
    (Ending(), TaskEnded(all_read=True), Closed(ENDED), (INPUT, OUTPUT)),
    (Ending(), TimeUp(), Closed(ENDED), (OUTPUT,)),
    (Ending(), LOSS, Disconnected(GONE, ENDED), (STOP,)),
    (Ending(), EXPECTED, Disconnected(GONE, ENDED), (STOP,)),
    (Ending(), TIMEOUT, Ending(TIMED_OUT, LATE), (OUTPUT,)),
    (Ending(), BROKEN, Ending(FAILED, BUG), (OUTPUT,)),
    (Ending(), Left(), Ending(LEFT), (DISCARD,)),
    (Ending(), Aborted(BUG), Closed(FAILED, BUG), (OUTPUT,)),
    # the rest of a session that was left or has failed is not read
    *((Ending(LEFT), TaskEnded(all_read), Closed(LEFT), (OUTPUT,)) for all_read in (True, False)),
    (Ending(LEFT), TimeUp(), Closed(LEFT), (OUTPUT,)),
    *((Ending(LEFT), lost, Disconnected(GONE, LEFT), (STOP,)) for lost in (LOSS, EXPECTED)),
    (Ending(LEFT), Left(), Ending(LEFT), (DISCARD,)),
    (Ending(LEFT), Aborted(BUG), Closed(FAILED, BUG), (OUTPUT,)),
    *((Ending(TIMED_OUT, LATE), TaskEnded(a), Closed(TIMED_OUT, LATE), (OUTPUT,)) for a in (True, False)),
    (Ending(TIMED_OUT, LATE), TimeUp(), Closed(TIMED_OUT, LATE), (OUTPUT,)),
    *((Ending(TIMED_OUT, LATE), lost, Disconnected(GONE, TIMED_OUT, LATE), (STOP,)) for lost in (LOSS, EXPECTED)),
    (Ending(TIMED_OUT, LATE), Left(), Ending(TIMED_OUT, LATE), (DISCARD,)),
    (Ending(TIMED_OUT, LATE), Aborted(BUG), Closed(FAILED, LATE), (OUTPUT,)),
    # each frame gives the next one time again
    (Draining(), FrameRead(is_last=False), Draining(), ()),
    (Draining(), FrameRead(is_last=True), Closed(ENDED), (OUTPUT,)),
    *((Draining(), lost, Closed(ENDED), (OUTPUT,)) for lost in (LOSS, EXPECTED)),
    (Draining(), TimeUp(), Closed(ENDED), (OUTPUT,)),
    (Draining(), Ready(), Draining(), ()),
    (Draining(), Left(), Closed(ENDED), (DISCARD,)),
    (Draining(), BROKEN, Closed(FAILED, BUG), (OUTPUT,)),
    (Draining(), Aborted(BUG), Closed(FAILED, BUG), (OUTPUT,)),
    (Draining(was_open=False), Ready(), Draining(was_open=True), ()),
    (Draining(was_open=False), TimeUp(), Closed(ENDED, None, was_open=False), (OUTPUT,)),
    *((Disconnected(GONE, LOST), TaskEnded(a), Closed(LOST, GONE), (INPUT, OUTPUT)) for a in (True, False)),
    (Disconnected(GONE, LOST), TimeUp(), Closed(LOST, GONE), (INPUT, OUTPUT)),
    *((Disconnected(GONE, ENDED), TaskEnded(a), Closed(ENDED), (INPUT, OUTPUT)) for a in (True, False)),
    (Disconnected(GONE, ENDED), TimeUp(), Closed(LOST, GONE), (INPUT, OUTPUT)),
    *((Disconnected(GONE, LEFT), TaskEnded(a), Closed(LEFT), (INPUT, OUTPUT)) for a in (True, False)),
    (Disconnected(GONE, LEFT), TimeUp(), Closed(LEFT), (INPUT, OUTPUT)),
    (Disconnected(GONE, LOST), Left(), Disconnected(GONE, LEFT), (INPUT, DISCARD)),
    (Disconnected(GONE, LOST), TIMEOUT, Disconnected(GONE, TIMED_OUT, LATE), (INPUT, OUTPUT)),
    (Disconnected(GONE, LOST), BROKEN, Disconnected(GONE, FAILED, BUG), (INPUT, OUTPUT)),
    (Disconnected(GONE, LOST), Aborted(BUG), Closed(FAILED, BUG), (INPUT, OUTPUT)),
    (Disconnected(GONE, FAILED, BUG), Left(), Disconnected(GONE, FAILED, BUG), (DISCARD,)),
    (Disconnected(GONE, FAILED, BUG), TimeUp(), Closed(FAILED, BUG), (INPUT, OUTPUT)),
    (Closed(ENDED), Left(), Closed(ENDED), (DISCARD,)),
]


@pytest.mark.parametrize("phase, event, following, actions", TABLE, ids=str)
def test_a_transition(phase: Phase, event: Event, following: Phase, actions: tuple[Action, ...]) -> None:
    """An event leads to the phase of the table, with its actions in order."""
    assert phase.next(event) == (following, actions)


COMPLETE: list[Phase] = [Connecting(), Queued(), Open(), Ending(), Ending(LEFT), Ending(TIMED_OUT, LATE), Draining()]
COMPLETE += [Disconnected(GONE, LOST), Closed(ENDED)]


@pytest.mark.parametrize("phase", COMPLETE, ids=str)
def test_all_other_events_change_nothing(phase: Phase) -> None:
    """An event outside the table returns the phase object itself, so that its time goes on."""
    named = [event for before, event, _, _ in TABLE if before == phase]
    for event in EVENTS:
        if event not in named:
            following, actions = phase.next(event)
            assert following is phase, event
            assert actions == (), event


def test_a_frame_restarts_the_time() -> None:
    """While the last frames are read, each one makes another phase."""
    phase = Draining()
    assert phase.next(FrameRead(is_last=False))[0] is not phase


@pytest.mark.parametrize("phase", COMPLETE, ids=str)
@pytest.mark.parametrize("event", EVENTS, ids=str)
def test_phases_never_go_back(phase: Phase, event: Event) -> None:
    """Phases have one order, and an opened session stays opened."""
    order = [Connecting, Queued, Open, Ending, Draining, Disconnected, Closed]
    following, _ = phase.next(event)
    assert order.index(type(following)) >= order.index(type(phase))
    assert was_open(following) >= was_open(phase)


@given(st.lists(st.sampled_from(EVENTS), max_size=12))
def test_any_events_in_any_order(events: list[Event]) -> None:
    """The end is sent once, no caller hangs in a closed session, and leaving ends every session in time."""
    phase: Phase = Connecting()
    taken = list[Action]()
    for event in [*events, Left(), TimeUp(), TimeUp()]:
        phase, actions = phase.next(event)
        taken += actions
        if isinstance(phase, Closed):
            assert INPUT in taken
            assert OUTPUT in taken or DISCARD in taken
    assert isinstance(phase, Closed)
    assert taken.count(SEND) <= 1


@pytest.mark.parametrize(
    "phase, expected",
    [
        (Connecting(), True),
        (Queued(), True),
        (Open(), True),
        (Ending(), True),
        (Ending(TIMED_OUT, LATE), False),
        (Ending(LEFT), False),
        (Ending(FAILED, BUG), False),
        (Draining(), False),
        (Disconnected(GONE, LOST), True),
        (Disconnected(GONE, ENDED), True),
        (Disconnected(GONE, LEFT), False),
        (Disconnected(GONE, LOST, LATE), False),
        (Closed(ENDED), False),
    ],
)
def test_frames_are_given_up_when_the_session_fails_or_is_left(phase: Phase, expected: bool) -> None:
    """A frame may take as long as it needs while the session is open, is ended gracefully, or may be lost."""
    assert takes_frames(phase) == expected
