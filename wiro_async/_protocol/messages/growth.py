"""Text messages that only go on where the last one ended: of those, no more than the new bytes is decoded.

Every message of an LLM holds all of its text. One goes on from another if it begins with the same bytes, from its
first key of text on, and ends with the same bytes after its last string, which is the newest text. What stands in
between means the same there as in any such string. Whatever is not surely and simply so has to be decoded whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

from wiro_async._protocol.messages.frames import TEXT_KEYS
from wiro_async._protocol.messages.lazy_text import first_text_key
from wiro_async._protocol.messages.text_snapshot import KINDS, Piece, TextKind, segment_kind
from wiro_async._protocol.values.json import JSON, decode_or_none, decode_text_or_none
from wiro_async._protocol.values.parsing import as_dict, as_list

_SIMPLE: Final = rb'(?:true|false|null|"[\w.:-]*"|-?[\d.]+)'
_OUTER: Final = rb'\}((?:\s*,\s*"\w+"\s*:\s*' + _SIMPLE + rb")*\s*\}\s*)\Z"  # what follows the message in its frame
_TAILS: Final = {
    "segments": re.compile(rb'"\s*\}\s*\]\s*' + _OUTER),
    "raw": re.compile(rb'"\s*' + _OUTER),
}
_TAIL_BYTES: Final = 256


@attrs.define
class Growth:
    """Knows the last message of a task's text: what of it stands before and after the place where text is added."""

    _kept: bytearray = attrs.field(factory=bytearray, repr=False)
    _at: int = 0
    _tail: bytes = b""
    _outer: bytes = b""
    _rest: Mapping[str, JSON] = attrs.field(factory=dict)
    _last: tuple[TextKind, int] | None = None  # the segment that grows; None where there are none

    def forget(self) -> None:
        """The next message is to be decoded whole."""
        self._tail = b""

    def remember(self, frame: bytes, content: Mapping[str, JSON], count: int) -> None:
        """A message was decoded whole, and its text is all that is known.

        Args:
            content: what it says.
            count: how many segments it has.
        """
        self.forget()
        names = list(content)
        if not _is_simple(content, names[-1]) or (at := first_text_key(frame)) is None:
            return
        tail = _TAILS[names[-1]].search(frame, max(0, len(frame) - _TAIL_BYTES))
        if tail is None:
            return
        self._kept = bytearray(frame[at : tail.start()])
        self._tail, self._outer = tail[0], tail[1]
        first = next(place for place, name in enumerate(names) if name in TEXT_KEYS)
        self._rest = {name: content[name] for name in names[first:] if name not in TEXT_KEYS}
        last = None if names[-1] == "raw" else _piece(_last_of(content), count - 1)
        self._last = last and last[:2]

    def more(self, frame: bytes) -> list[Piece] | None:
        """What a message adds: to the last piece of text, and further ones; None if it has to be decoded whole."""
        end = len(frame) - len(self._tail)
        if not self._tail or not frame.endswith(self._tail) or (at := first_text_key(frame)) is None:
            return None
        self._at, begin = at, at + len(self._kept)
        if begin > end or not frame.startswith(self._kept, at):
            return None
        new = frame[begin:end]
        self._kept += new
        return self._in_raw(new) if self._last is None else self._in_segments(new, *self._last)

    def raw(self, frame: bytes) -> dict[str, JSON]:
        """The message that `more` was asked about last, without its text."""
        before = frame[: self._at].rstrip().removesuffix(b",")
        head = as_dict(decode_or_none(before + b"}" + self._outer))
        return {**head, "message": {**as_dict(head.get("message")), **self._rest}}

    def _in_raw(self, new: bytes) -> list[Piece] | None:
        text = decode_text_or_none(b'"%b"' % new)
        return [("answer", KINDS.index("answer"), text)] if isinstance(text, str) else None

    def _in_segments(self, new: bytes, kind: TextKind, index: int) -> list[Piece] | None:
        first, *others = as_list(decode_text_or_none(b'[{"text":"%b"}]' % new)) or [None]
        if not isinstance(first, dict) or list(first) != ["text"]:
            return None
        pieces = [_piece(part, index + place) for place, part in enumerate([{"type": kind, **first}, *others])]
        told = [piece for piece in pieces if piece is not None]
        if len(told) < len(pieces) or (others and not _ends_in_text(others[-1])):
            return None
        self._last = told[-1][:2]
        return told


def _is_simple(content: Mapping[str, JSON], last: str) -> bool:
    """Whether its last text, and the only one that can grow, is the last string in it."""
    if last == "raw":
        return isinstance(content[last], str) and len(content.keys() & TEXT_KEYS) == 1
    part = _last_of(content)
    return last == "segments" and _piece(part, 0) is not None and _ends_in_text(part)


def _last_of(content: Mapping[str, JSON]) -> JSON:
    segments = content.get("segments")
    return segments[-1] if isinstance(segments, list) and segments else None


def _piece(part: JSON, index: int) -> Piece | None:
    if not isinstance(part, dict):
        return None
    kind, text = segment_kind(part), part.get("text")
    return (kind, index, text) if kind is not None and isinstance(text, str) else None


def _ends_in_text(part: JSON) -> bool:
    return isinstance(part, dict) and list(part)[-1:] == ["text"]
