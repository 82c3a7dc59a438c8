"""Types that every layer uses: inputs, files, timeouts."""

from __future__ import annotations

import os
import weakref
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from inspect import iscoroutinefunction
from typing import IO, Literal, TypeAlias

import attrs

from wiro_async._errors import ConfigurationError, InvalidInputError
from wiro_async._public import public

UpdateMode: TypeAlias = Literal["auto", "websocket", "polling", "sse"]
OnCancel: TypeAlias = Literal["stop", "leave"]
OnUnknown: TypeAlias = Literal["raise", "resubmit"]
CallbackURL: TypeAlias = str | Callable[[], str]
OnProgress: TypeAlias = Callable[[int, int | None], Awaitable[None] | None]
TimeoutPhase: TypeAlias = Literal["queue", "run", "idle"]


UNNAMED = "file"


def _name(name: str | os.PathLike[str] | None) -> str:
    given: object = name
    if given is None:
        return ""
    if isinstance(given, os.PathLike):
        return os.path.basename(os.fsdecode(given))
    if isinstance(given, str):
        return given
    raise InvalidInputError(message=f"the name of a file is a {type(given).__name__}; give text, such as 'photo.png'")


def _own_name(data: object) -> str:
    """The name of a path, or of an open file that was opened by its path."""
    named = data if isinstance(data, os.PathLike) else getattr(data, "name", None)
    return os.path.basename(os.fsdecode(named)) if isinstance(named, (str, bytes, os.PathLike)) else ""


class _ConsumedSources:
    """The sources that were read and cannot be read again, whichever `File` holds them."""

    def __init__(self) -> None:
        self._known: dict[int, Callable[[], object]] = {}

    def __contains__(self, data: object) -> bool:
        known = self._known.get(id(data))
        return known is not None and known() is data

    def add(self, data: object) -> None:
        key = id(data)
        try:
            self._known[key] = weakref.ref(data, lambda _: self._known.pop(key, None))
        except TypeError:  # a few kinds of objects have no weak references, so they are kept
            self._known[key] = lambda: data


_consumed = _ConsumedSources()


@public
@attrs.frozen
class File:
    """A file to send along with a run.

    Args:
        data: bytes, a path, an open binary file (sent from its present position), or an async iterable of bytes.
            A source that cannot be read again, such as an async iterable or a pipe, can be sent only once.
        name: the file name that the service sees: its last part, if a path is given. Without one, the data's own name
            if it is a path or a file opened by its path, else "file". Many models look at the end of the name.
        content_type: the media type. Guessed from the name if not given.
        on_progress: called with the number of bytes sent, and with the total (None if unknown), after each piece of
            about a megabyte. May be a coroutine function. It starts again from 0 when the file is sent again because
            the service refused the call or never got it.
    """

    data: bytes | os.PathLike[str] | IO[bytes] | AsyncIterable[bytes] = attrs.field(
        repr=lambda data: type(data).__name__
    )
    name: str = attrs.field(default="", converter=_name)
    content_type: str | None = None
    on_progress: OnProgress | None = attrs.field(default=None, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        data: object = self.data
        if not self.name:
            object.__setattr__(self, "name", _own_name(data) or UNNAMED)
        if isinstance(data, (bytearray, memoryview)):
            object.__setattr__(self, "data", bytes(data))
        elif not isinstance(data, (bytes, os.PathLike, AsyncIterable)):
            self._check_readable(data)
        kind = self.content_type
        if kind is not None and not (kind.isascii() and kind.isprintable()):
            raise InvalidInputError(message=f"{kind!r} cannot be the content type of file {self.name!r}")

    @property
    def is_consumed(self) -> bool:
        """Whether its source was read, even in part, and cannot be read again: an async iterable, a pipe."""
        return self.data in _consumed

    def _check_readable(self, data: object) -> None:
        read = getattr(data, "read", None)
        if read is None:
            raise InvalidInputError(
                message=f"the data of file {self.name!r} is a {type(data).__name__}; "
                "give bytes, a pathlib.Path, a file opened with 'rb', or an async iterable of bytes"
            )
        if iscoroutinefunction(read):
            has_url = isinstance(getattr(data, "url", None), str)
            remedy = "its url" if has_url else "the open file within it, such as upload.file"
            raise InvalidInputError(
                message=f"the data of file {self.name!r} is a {type(data).__name__}, whose read() must be awaited; "
                f"give {remedy}, or an async iterable of bytes"
            )


def consume(file: File) -> None:
    """Record that a file's source is about to be read, and cannot be read again."""
    _consumed.add(file.data)


FileInput: TypeAlias = os.PathLike[str] | IO[bytes] | File
# A `str` among the values is always text. Only the types of `FileInput` are uploaded.
Input: TypeAlias = Mapping[str, object]


@public
@attrs.frozen
class Timeouts:
    """How long to wait, in seconds. None waits indefinitely.

    `Timeouts` given to one call replace all four of the session's. `attrs.evolve(timeouts, idle=30)` changes one.

    Args:
        request: for the response to one HTTP call.
        queue: until a submitted task starts.
        run: for the whole run, from the submit on.
        idle: without any news of the task (a message, or a poll that shows a change).
    """

    request: float | None = 60.0
    queue: float | None = None
    run: float | None = None
    idle: float | None = None

    def __attrs_post_init__(self) -> None:
        for name, value in attrs.asdict(self).items():
            checked_seconds(value, f"the {name} timeout")


def merge_timeouts(given: float | Timeouts | None, default: Timeouts, queue: float | None = None) -> Timeouts:
    """Take a number as the `run` timeout, None as the default, and a queue timeout of its own, if one is given.

    Raises:
        ConfigurationError: one of them is no number of seconds.
    """
    if not isinstance(given, Timeouts):
        given = default if given is None else attrs.evolve(default, run=given)
    return given if queue is None else attrs.evolve(given, queue=queue)


def start_timeout(timeouts: Timeouts) -> tuple[TimeoutPhase, float | None]:
    """The name and the length of the timeout that is the first to end the wait for a start."""
    if timeouts.queue is None or (timeouts.run is not None and timeouts.run <= timeouts.queue):
        return "run", timeouts.run
    return "queue", timeouts.queue


def checked_seconds(value: object, name: str) -> None:
    """Raise `ConfigurationError` for a value that is neither a number of seconds nor None."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0):
        return
    raise ConfigurationError(f"{name} is {value!r}; give seconds, 0 or more, or None to wait indefinitely")
