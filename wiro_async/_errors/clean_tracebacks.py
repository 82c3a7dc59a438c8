"""Keeps secrets out of tracebacks with locals, such as those of rich, Sentry and `pytest -l`.

Deep in a call, frames hold signed headers, tokens, URLs with access keys and bodies; those of libraries hold them in
every form. Nobody can mend an error there. So what leaves the SDK as an error of the SDK, of the system, or as a
cancellation leaves without these frames: a traceback shows the reader's code and the call that it made. What an error
says, and what caused it, stays. Errors of the reader's own functions, and bugs of the SDK, keep their frames.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isfunction
from types import TracebackType
from typing import Any, Final, TypeVar

from wiro_async._errors.base import WiroError

C = TypeVar("C", bound=type)
E = TypeVar("E", bound=BaseException)
ENTRANCES: Final = frozenset({"__init__", "__aenter__", "__aexit__", "__anext__"})
LIBRARIES: Final = frozenset(
    "wiro_async aiohttp anyio h11 httpcore httpcore2 httpx httpx2 httpx_aiohttp msgspec sniffio websockets".split()
)


class _FrameCut:
    """A block whose errors leave it without the frames so far, its own one included."""

    def __init__(self, everything: bool = False) -> None:
        self._everything = everything

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            _cut(
                error, everything=self._everything
            )  # the interpreter raises it again with the traceback that it has then


cut_frames: Final = _FrameCut()
cut_all_frames: Final = _FrameCut(everything=True)  # a constructor's arguments are secrets


def without_frames(error: E) -> E:
    """Return an error that is kept, without its frames, as `cut_frames` leaves it."""
    _cut(error)
    return error


def cuts_frames(kind: C) -> C:
    """Let the errors of a class's public methods begin where they are called."""
    for name, method in list(vars(kind).items()):
        if isfunction(method) and (name in ENTRANCES or not name.startswith("_")) and not isasyncgenfunction(method):
            setattr(kind, name, _cutting(method))
    return kind


def _cutting(method: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(method):
        wait: Callable[..., Awaitable[Any]] = method

        @wraps(method)
        async def cutting(*args: Any, **kwargs: Any) -> Any:
            with cut_frames:
                return await wait(*args, **kwargs)

        return cutting

    cut = cut_all_frames if method.__name__ == "__init__" else cut_frames

    @wraps(method)
    def cutting_now(*args: Any, **kwargs: Any) -> Any:
        with cut:
            return method(*args, **kwargs)

    return cutting_now


def _cut(error: BaseException, *, everything: bool = False) -> None:
    """Cut the frames of an error, and of what caused it, down to those of the reader's code.

    Args:
        everything: whether even the frames of a bug are cut.
    """
    link: BaseException | None = error
    seen = set[int]()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        readers = _readers_part(link.__traceback__)
        is_bug = isinstance(link, Exception) and not isinstance(link, (WiroError, OSError))
        if readers is not None or not is_bug or everything or link is not error:
            link.__traceback__ = readers
        context = link.__context__
        if link.__suppress_context__ and context is not None and _readers_part(context.__traceback__) is None:
            link.__context__ = None
        link = link.__cause__  # not its context: that is what the caller was handling


def _readers_part(traceback: TracebackType | None) -> TracebackType | None:
    """The frames from the first one on that is neither ours nor of a library of ours."""
    while traceback is not None:
        package = str(traceback.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if package not in LIBRARIES and package not in sys.stdlib_module_names:
            return traceback
        traceback = traceback.tb_next
    return None


def clean_causes(error: BaseException, handled: BaseException | None) -> None:
    """Take the frames, and the requests, out of the errors of libraries that led to an error.

    Args:
        handled: what the caller was handling before. It is not ours, nor is what led to it.
    """
    seen = {id(error), id(handled)}
    links = [error.__cause__, error.__context__]
    while links:
        link = links.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        link.__traceback__ = _readers_part(link.__traceback__)
        if getattr(link, "_request", None) is not None:  # errors of httpx carry their request, with its headers
            link._request = None  # type: ignore[attr-defined]
        links += [link.__cause__, link.__context__, *(link.exceptions if isinstance(link, BaseExceptionGroup) else ())]
