"""What everything else may name: inputs, files, time-outs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Mapping, Sequence
from typing import IO, Literal, TypeAlias, Union

import attrs

ProgressMode: TypeAlias = Literal["auto", "websocket", "polling", "sse"]
OnCancel: TypeAlias = Literal["stop", "leave"]
OnUnknown: TypeAlias = Literal["raise", "resubmit"]
TimeoutPhase: TypeAlias = Literal["request", "queue", "run", "idle"]


@attrs.frozen
class File:
    """A file to send along with a run.

    Args:
        data: bytes, a path, an open binary file (sent from its present position), or an async iterable of bytes.
            An async iterable can be sent only once.
        name: the file name the service sees.
        content_type: its media type; guessed from the name if not given.
    """

    data: bytes | os.PathLike[str] | IO[bytes] | AsyncIterable[bytes] = attrs.field(repr=lambda data: type(data).__name__)
    name: str
    content_type: str | None = None


# A value of a run's input. A `str` is always text; only paths, open binary files and `File` are uploaded.
InputValue: TypeAlias = Union[
    None,
    bool,
    int,
    float,
    str,
    os.PathLike[str],
    IO[bytes],
    File,
    Mapping[str, "InputValue"],
    Sequence["InputValue"],
]
Input: TypeAlias = Mapping[str, object]


@attrs.frozen
class Timeouts:
    """How long to wait, in seconds; None is for ever.

    Args:
        request: for the answer to one HTTP call.
        queue: until a submitted task starts.
        run: for the whole run, by the wall clock, from the submit on.
        idle: without any sign of life (a message, or a poll that shows a change).
    """

    request: float | None = 60.0
    queue: float | None = None
    run: float | None = None
    idle: float | None = None

    @classmethod
    def of(cls, value: float | Timeouts | None, default: Timeouts) -> Timeouts:
        """A number is the `run` time-out; None takes the default."""
        if value is None:
            return default
        return value if isinstance(value, Timeouts) else attrs.evolve(default, run=value)

    def with_queue(self, seconds: float | None) -> Timeouts:
        """The same with another queue time-out, if one is given."""
        return self if seconds is None else attrs.evolve(self, queue=seconds)
