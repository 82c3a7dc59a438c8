"""Faults of WebSocket connections. Each one wraps the function that sends a message."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import attrs

RUBBISH = (
    b"this is not JSON {",
    b'["a","list","of",1]',
    b"42",
    b"null",
    b'{"type":"task_levitation","id":"1","message":{"height":"3 m"}}',
    b'{"type":null,"id":{"deep":[]},"message":1e308}',
    b'{"type":"task_output","id":99999999999999999999999999999999,"message":123456789012345678901234567890}',
    b"{}",
)


@attrs.frozen
class Outgoing:
    """A message to send.

    Attributes:
        type: the message type; "audio" for audio.
        over: whether it is the last message of its task.
        ordinal: position of its task among the connection's tokens; -1 if it has no task.
        binary: whether it is audio.
    """

    type: str
    payload: bytes
    over: bool = False
    ordinal: int = -1
    binary: bool = False


Forward: TypeAlias = Callable[[Outgoing], None]


class Connection(Protocol):
    """One WebSocket connection, as a fault uses it."""

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call a function after some real seconds."""

    def drop(self) -> None:
        """Close without a closing handshake."""

    def close(self) -> None:
        """Close with a closing handshake."""

    def freeze(self) -> None:
        """Never read or write again, but stay open."""


class SocketFault(Protocol):
    """Anything with this method can be passed to `faults.socket`."""

    def wrap(self, connection: Connection, forward: Forward, /) -> Forward:
        """Return the function that sends messages on this connection instead of `forward`."""
        ...


@attrs.frozen
class RefuseUpgrade:
    """Refuse the handshake with an HTTP status."""

    status: int = 403

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Change nothing: there will be no messages."""
        return forward


@attrs.frozen
class NoWelcome:
    """Leave out the `connected` message."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        return lambda message: forward(message) if message.type != "connected" else None


@attrs.frozen
class Mute:
    """Send no messages of tasks."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        return MuteAfter(0).wrap(connection, forward)


@attrs.frozen
class MuteAfter:
    """Send messages only for the first n tokens of the connection."""

    registrations: int

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        return lambda message: forward(message) if message.ordinal < self.registrations else None


@attrs.frozen
class DropAfter:
    """Drop the connection after n task messages."""

    messages: int

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        return _counting(self.messages, forward, connection.drop)


@attrs.frozen
class DropAfterAudio:
    """Drop the connection after n audio frames were sent to the client."""

    frames: int

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        return _counting(self.frames, forward, connection.drop, lambda message: message.binary)


@attrs.frozen
class HalfOpen:
    """After n task messages never write or reply to a ping, but keep the connection open."""

    after: int = 0

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        return _counting(self.after, forward, connection.freeze)


def _counting(
    left: int,
    forward: Forward,
    then: Callable[[], None],
    counts: Callable[[Outgoing], bool] = lambda message: message.ordinal >= 0,
) -> Forward:
    """Call `then` after this many messages that count, by default those of tasks; with 0, right after the welcome."""

    def send(message: Outgoing) -> None:
        nonlocal left
        forward(message)
        left -= counts(message)
        if left <= 0:
            then()

    return send


@attrs.frozen
class CloseAfterTask:
    """Close the connection when a task has ended."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        def send(message: Outgoing) -> None:
            forward(message)
            if message.over:
                connection.close()

        return send


@attrs.frozen
class Duplicate:
    """Send every message twice."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        def send(message: Outgoing) -> None:
            forward(message)
            forward(message)

        return send


@attrs.frozen
class Reorder:
    """Swap neighbouring messages. A message without a neighbour is sent after `patience` seconds."""

    patience: float = 0.05

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        held: list[Outgoing] = []

        def flush() -> None:
            while held:
                forward(held.pop())

        def send(message: Outgoing) -> None:
            if held:
                forward(message)
                flush()
            else:
                held.append(message)
                connection.later(self.patience, flush)

        return send


@attrs.frozen
class DelayMessages:
    """Delay every message."""

    seconds: float

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        return lambda message: connection.later(self.seconds, lambda: forward(message))


@attrs.frozen
class Rubbish:
    """Send something unreadable or unknown before every message."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        sent = 0

        def send(message: Outgoing) -> None:
            nonlocal sent
            forward(Outgoing("rubbish", RUBBISH[sent % len(RUBBISH)]))
            sent += 1
            forward(message)

        return send
