"""The phases of a realtime session, and what moves it from one to the next. Pure: events in, phases and actions out.

    Connecting -> Queued -> Open -> Ending -> Draining -> Closed
    Connecting, Queued, Open or Ending -> Disconnected -> Closed

A session has two sources of truth that arrive in any order. The socket carries audio and words, and can be lost.
Task/Detail alone says that the task is over. So "the task is over" does not close a session at once: frames that are
on their way are read first (Draining). And "the socket is gone" is no loss yet: perhaps the task has just ended, which
only Task/Detail can say (Disconnected).

Each phase is a class. `next(event)` returns the phase that follows and the actions to take, in order. An event that
changes nothing returns the phase itself.
"""

from __future__ import annotations

import enum
from typing import TypeAlias, assert_never

import attrs


class EndReason(enum.Enum):
    """Why a session ends."""

    ENDED = "ended"  # the caller requested it, or the model ended it
    LOST = "lost"  # the socket is gone, and the task was not at its end
    TIMED_OUT = "timed out"
    LEFT = "left"  # the caller left it, and reads no more
    SESSION_CLOSED = "session closed"  # the AsyncWiro session was closed under it
    FAILED = "failed"


class Action(enum.Enum):
    """What the connection has to do after an event."""

    CLOSE_INPUT = "take no more audio, and wake those who wait to send"
    SEND_END = "send the audio that waits, then ask the service to end the session"
    CLOSE_OUTPUT = "give the reader the end or the error, after what came before"
    DISCARD_OUTPUT = "drop what was not read"
    STOP_READING = "stop reading the socket, and close it"


@attrs.frozen
class Registered:
    """The task was registered on the socket."""


@attrs.frozen
class Ready:
    """The model takes audio."""


@attrs.frozen
class EndRequested:
    """The caller requested the end, and still reads."""


@attrs.frozen
class TaskEnded:
    """Task/Detail says that the task is over."""

    all_read: bool  # the socket has said so too, and everything before that was read


@attrs.frozen
class FrameRead:
    """A frame was read."""

    is_last: bool  # the socket has said that the task is over, or frames have come for too long after its end


@attrs.frozen
class SocketLost:
    """The socket was closed, or does not work."""

    error: Exception
    is_expected: bool  # there are signs that the task is over


@attrs.frozen
class TimeUp:
    """The phase has lasted as long as it may."""


@attrs.frozen
class Failed:
    """Something failed, and not the socket. Those who read or send get the error."""

    reason: EndReason
    error: Exception


@attrs.frozen
class Left:
    """The caller left the session."""


@attrs.frozen
class Aborted:
    """The background task of the connection has ended: cancelled, or by an unexpected error."""

    error: Exception


Event: TypeAlias = (
    Registered | Ready | EndRequested | TaskEnded | FrameRead | SocketLost | TimeUp | Failed | Left | Aborted
)


@attrs.frozen
class Connecting:
    """The run was submitted, and its task is not registered on the socket yet."""

    def next(self, event: Event) -> Step:
        return (Queued(), ()) if isinstance(event, Registered) else _before_open(self, event)


@attrs.frozen
class Queued:
    """The task is registered, and the model does not take audio yet."""

    def next(self, event: Event) -> Step:
        return _before_open(self, event)


@attrs.frozen
class Open:
    """Audio can be sent."""

    def next(self, event: Event) -> Step:
        match event:
            case EndRequested():
                return Ending(), (Action.CLOSE_INPUT, Action.SEND_END)
            case Failed(reason=reason, error=error):
                # The session cannot be used any more, so it must not cost money until it is left.
                return Ending(reason, error), (Action.CLOSE_INPUT, Action.CLOSE_OUTPUT, Action.SEND_END)
            case Left():
                return Ending(EndReason.LEFT), (Action.CLOSE_INPUT, Action.DISCARD_OUTPUT, Action.SEND_END)
            case TaskEnded(all_read=all_read):
                return _after_task(all_read, was_open=True)
            case SocketLost(error=cause, is_expected=is_expected):
                reason = EndReason.ENDED if is_expected else EndReason.LOST
                return Disconnected(cause, reason), (Action.STOP_READING,)
            case Aborted(error=error):
                return Closed(EndReason.FAILED, error), (Action.CLOSE_INPUT, Action.CLOSE_OUTPUT)
            case Registered() | Ready() | FrameRead() | TimeUp():
                return self, ()
            case _:
                assert_never(event)


@attrs.frozen
class Ending:
    """The service is asked to end the session, and its task goes on until it has."""

    reason: EndReason = EndReason.ENDED
    error: Exception | None = None  # what those who read or send get

    def next(self, event: Event) -> Step:
        match event:
            case TaskEnded(all_read=all_read) if self.reason is EndReason.ENDED:
                return _after_task(all_read, was_open=True)
            case TaskEnded() | TimeUp():
                return Closed(self.reason, self.error), (Action.CLOSE_OUTPUT,)
            case SocketLost(error=cause):
                return Disconnected(cause, self.reason, self.error), (Action.STOP_READING,)
            case Failed(reason=reason, error=error) if self.reason is EndReason.ENDED:
                return Ending(reason, error), (Action.CLOSE_OUTPUT,)
            case Left() if self.reason is EndReason.ENDED:
                return Ending(EndReason.LEFT), (Action.DISCARD_OUTPUT,)
            case Left():
                return self, (Action.DISCARD_OUTPUT,)
            case Aborted(error=error):
                return Closed(EndReason.FAILED, self.error or error), (Action.CLOSE_OUTPUT,)
            case Registered() | Ready() | EndRequested() | FrameRead() | Failed():
                return self, ()
            case _:
                assert_never(event)


@attrs.frozen
class Draining:
    """The task is over. Frames that are still on their way are read."""

    was_open: bool = True  # the model has ever taken audio

    def next(self, event: Event) -> Step:
        match event:
            case FrameRead(is_last=False):
                return Draining(self.was_open), ()  # another phase, so that its time starts again
            case FrameRead() | SocketLost() | TimeUp():
                return Closed(EndReason.ENDED, was_open=self.was_open), (Action.CLOSE_OUTPUT,)
            case Ready():
                # The message that says so was missed, or is only read now.
                return Draining(was_open=True), ()
            case Left():
                return Closed(EndReason.ENDED, was_open=self.was_open), (Action.DISCARD_OUTPUT,)
            case Failed(reason=EndReason.TIMED_OUT):
                return self, ()  # the task has ended in time: slow reading is not a timeout
            case Failed(reason=reason, error=error):
                return Closed(reason, error, self.was_open), (Action.CLOSE_OUTPUT,)
            case Aborted(error=error):
                return Closed(EndReason.FAILED, error, self.was_open), (Action.CLOSE_OUTPUT,)
            case Registered() | EndRequested() | TaskEnded():
                return self, ()
            case _:
                assert_never(event)


@attrs.frozen
class Disconnected:
    """The socket is gone. Task/Detail says whether that was the end of the task or a loss."""

    cause: Exception  # why the socket is gone
    reason: EndReason  # why the session ends if the task turns out to be over in time
    error: Exception | None = None  # what those who read or send get
    was_open: bool = True

    def next(self, event: Event) -> Step:
        close = (Action.CLOSE_INPUT, Action.CLOSE_OUTPUT)
        match event:
            case TaskEnded() if self.reason is not EndReason.LOST:
                return Closed(self.reason, self.error, self.was_open), close
            case TimeUp() if self.reason not in (EndReason.LOST, EndReason.ENDED):
                return Closed(self.reason, self.error, self.was_open), close
            case TaskEnded() | TimeUp():
                return Closed(EndReason.LOST, self.cause, self.was_open), close
            case Failed(reason=reason, error=error) if self.error is None:
                return attrs.evolve(self, reason=reason, error=error), close
            case Left() if self.error is None:
                return attrs.evolve(self, reason=EndReason.LEFT), (Action.CLOSE_INPUT, Action.DISCARD_OUTPUT)
            case Left():
                return self, (Action.DISCARD_OUTPUT,)
            case Aborted(error=error):
                return Closed(EndReason.FAILED, self.error or error, self.was_open), close
            case Registered() | Ready() | EndRequested() | FrameRead() | SocketLost() | Failed():
                return self, ()
            case _:
                assert_never(event)


@attrs.frozen
class Closed:
    """Nothing more is sent or received. What came can still be read."""

    reason: EndReason
    error: Exception | None = None  # what those who read or send get; for a lost session, why its socket is gone
    was_open: bool = True

    def next(self, event: Event) -> Step:
        return self, ((Action.DISCARD_OUTPUT,) if isinstance(event, Left) else ())


Phase: TypeAlias = Connecting | Queued | Open | Ending | Draining | Disconnected | Closed
Step: TypeAlias = tuple[Phase, tuple[Action, ...]]


def was_open(phase: Phase) -> bool:
    """Whether the model takes audio, or ever did."""
    match phase:
        case Connecting() | Queued():
            return False
        case Open() | Ending():
            return True
        case Draining() | Disconnected() | Closed():
            return phase.was_open
        case _:
            assert_never(phase)


def takes_frames(phase: Phase) -> bool:
    """Whether a frame that is being sent may still arrive in time. If not, nobody waits for the socket to take it."""
    match phase:
        case Ending() | Disconnected():
            return phase.reason in (EndReason.ENDED, EndReason.LOST) and phase.error is None
        case Connecting() | Queued() | Open():
            return True
        case Draining() | Closed():
            return False
        case _:
            assert_never(phase)


def _before_open(phase: Connecting | Queued, event: Event) -> Step:
    """What both phases before `Open` do: the service cannot end a queued session gracefully, so those close at once."""
    match event:
        case Ready():
            return Open(), ()
        case TaskEnded(all_read=all_read):
            return _after_task(all_read, was_open=False)
        case SocketLost(error=cause, is_expected=is_expected):
            reason = EndReason.ENDED if is_expected else EndReason.LOST
            return Disconnected(cause, reason, was_open=False), (Action.STOP_READING,)
        case Failed(reason=reason, error=error):
            return Closed(reason, error, was_open=False), (Action.CLOSE_INPUT, Action.CLOSE_OUTPUT)
        case Left():
            return Closed(EndReason.LEFT, was_open=False), (Action.CLOSE_INPUT, Action.DISCARD_OUTPUT)
        case Aborted(error=error):
            return Closed(EndReason.FAILED, error, was_open=False), (Action.CLOSE_INPUT, Action.CLOSE_OUTPUT)
        case Registered() | EndRequested() | FrameRead() | TimeUp():
            return phase, ()
        case _:
            assert_never(event)


def _after_task(all_read: bool, was_open: bool) -> Step:
    if all_read:
        return Closed(EndReason.ENDED, was_open=was_open), (Action.CLOSE_INPUT, Action.CLOSE_OUTPUT)
    return Draining(was_open), (Action.CLOSE_INPUT,)
