"""Faults of WebSocket connections: each wraps the way a message takes to the wire."""

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
    """A message on its way. `ordinal` is the place of its task among the connection's tokens, -1 if none.

    Audio is `binary`, and its type is "audio".
    """

    type: str
    payload: bytes
    over: bool = False
    ordinal: int = -1
    binary: bool = False


Forward: TypeAlias = Callable[[Outgoing], None]


class Connection(Protocol):
    """One connection, as a fault sees it."""

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after real seconds."""
        ...

    def drop(self) -> None:
        """Close abruptly, without a closing handshake."""
        ...

    def close(self) -> None:
        """Close politely."""
        ...

    def freeze(self) -> None:
        """Never read or write again, yet stay open."""
        ...


class SocketFault(Protocol):
    """Anything with this method can be given to `faults.socket`."""

    def wrap(self, connection: Connection, forward: Forward, /) -> Forward:
        """The sender to use instead of `forward` on this connection."""
        ...


@attrs.frozen
class RefuseUpgrade:
    """Answer the handshake with an HTTP status instead."""

    status: int = 403

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Nothing to do: there will be no messages."""
        return forward


@attrs.frozen
class NoWelcome:
    """Leave out the `connected` message."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Swallow the welcome."""
        return lambda message: forward(message) if message.type != "connected" else None


@attrs.frozen
class Mute:
    """Send no task's messages."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Swallow all messages of tasks."""
        return MuteAfter(0).wrap(connection, forward)


@attrs.frozen
class MuteAfter:
    """Only the first n tokens registered on the connection get messages."""

    registrations: int

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Swallow messages of later tokens."""
        return lambda message: forward(message) if message.ordinal < self.registrations else None


@attrs.frozen
class DropAfter:
    """Drop the connection abruptly after n task messages."""

    messages: int

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Count, then drop."""
        return _counting(self.messages, forward, connection.drop)


@attrs.frozen
class DropAfterAudio:
    """Drop the connection abruptly after n frames of audio were sent to it."""

    frames: int

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Count, then drop."""
        left = self.frames

        def send(message: Outgoing) -> None:
            nonlocal left
            forward(message)
            left -= message.binary
            if left <= 0:
                connection.drop()

        return send


@attrs.frozen
class HalfOpen:
    """After n task messages never write again nor answer a ping, but keep the connection open."""

    after: int = 0

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Count, then freeze."""
        return _counting(self.after, forward, connection.freeze)


def _counting(messages: int, forward: Forward, then: Callable[[], None]) -> Forward:
    """Forward so many task messages, then let `then` happen; with none, right after the welcome."""
    left = messages

    def send(message: Outgoing) -> None:
        nonlocal left
        forward(message)
        left -= message.ordinal >= 0
        if left <= 0:
            then()

    return send


@attrs.frozen
class CloseAfterTask:
    """Close politely when a task has ended."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Close after a last message."""

        def send(message: Outgoing) -> None:
            forward(message)
            if message.over:
                connection.close()

        return send


@attrs.frozen
class Duplicate:
    """Send every message twice."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Forward twice."""

        def send(message: Outgoing) -> None:
            forward(message)
            forward(message)

        return send


@attrs.frozen
class Reorder:
    """Swap neighbours. A message without a neighbour leaves after `patience` seconds."""

    patience: float = 0.05

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Hold every other message back."""
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
    """Every message arrives late."""

    seconds: float

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Forward later."""
        return lambda message: connection.later(self.seconds, lambda: forward(message))


@attrs.frozen
class Rubbish:
    """Put something unreadable or unknown before every message."""

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Go through the rubbish in turn."""
        sent = 0

        def send(message: Outgoing) -> None:
            nonlocal sent
            forward(Outgoing("rubbish", RUBBISH[sent % len(RUBBISH)]))
            sent += 1
            forward(message)

        return send
