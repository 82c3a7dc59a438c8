"""What everything else may name: inputs, files, time-outs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import IO, Literal, TypeAlias

import attrs

from wiro_async._errors import InvalidInputError

ProgressMode: TypeAlias = Literal["auto", "websocket", "polling", "sse"]
OnCancel: TypeAlias = Literal["stop", "leave"]
OnUnknown: TypeAlias = Literal["raise", "resubmit"]
CheckInputs: TypeAlias = Literal["auto"] | bool
CallbackURL: TypeAlias = str | Callable[[], str]
OnProgress: TypeAlias = Callable[[int, int | None], Awaitable[None] | None]
TimeoutPhase: TypeAlias = Literal["queue", "run", "idle"]


@attrs.frozen
class File:
    """A file to send along with a run.

    Args:
        data: bytes, a path, an open binary file (sent from its present position), or an async iterable of bytes.
            An async iterable can be sent only once.
        name: the file name the service sees.
        content_type: its media type; guessed from the name if not given.
        on_progress: called with the bytes of it that were sent so far, and with how many there are (None if that is
            not known), after each piece of about a megabyte; may be a coroutine function. Where a file is sent anew,
            because the service refused the call or never got it, it counts from the beginning again.
    """

    data: bytes | os.PathLike[str] | IO[bytes] | AsyncIterable[bytes] = attrs.field(
        repr=lambda data: type(data).__name__
    )
    name: str
    content_type: str | None = None
    on_progress: OnProgress | None = attrs.field(default=None, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        data: object = self.data
        if isinstance(data, (bytearray, memoryview)):
            object.__setattr__(self, "data", bytes(data))
        elif not isinstance(data, (bytes, os.PathLike, AsyncIterable)) and not hasattr(data, "read"):
            raise InvalidInputError(
                message=f"the data of file {self.name!r} is a {type(data).__name__}; "
                "give bytes, a pathlib.Path, a file opened with 'rb', or an async iterable of bytes"
            )
        kind = self.content_type
        if kind is not None and not (kind.isascii() and kind.isprintable()):
            raise InvalidInputError(message=f"{kind!r} cannot be the content type of file {self.name!r}")


# What is uploaded where a parameter takes files.
FileInput: TypeAlias = os.PathLike[str] | IO[bytes] | File
# A `str` among the values is always text; only paths, open binary files and `File`s are uploaded.
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

    @property
    def before_start(self) -> tuple[TimeoutPhase, float | None]:
        """The name and the length of the time-out that is first to end the wait for a start."""
        if self.queue is None or (self.run is not None and self.run <= self.queue):
            return "run", self.run
        return "queue", self.queue

    def with_queue(self, seconds: float | None) -> Timeouts:
        """The same with another queue time-out, if one is given."""
        return self if seconds is None else attrs.evolve(self, queue=seconds)
