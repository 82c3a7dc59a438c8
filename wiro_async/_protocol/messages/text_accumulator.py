"""Text that grows: from snapshots of all of it, in any order, to what is new."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from wiro_async._protocol.messages.text_snapshot import (
    KINDS,
    GrowingText,
    Piece,
    Stretch,
    TextKind,
    TextSnapshot,
    whole,
)

# The end of a text that is cut within a character: what a decoder makes of some of its bytes, or half of its two units.
UNFINISHED = "\ufffd" + "".join(map(chr, range(0xD800, 0xDC00)))
ENDINGS = frozenset(UNFINISHED)
FIRST_HALVES, SECOND_HALVES = frozenset(map(chr, range(0xD800, 0xDC00))), frozenset(map(chr, range(0xDC00, 0xE000)))


@attrs.define
class TextChange:
    """What became of one kind of text: `text` was added, after `reset` threw away what stood there."""

    kind: TextKind
    text: str
    index: int
    reset: bool = False


@attrs.define
class TextAccumulator:
    """Turns snapshots, in any order and with repeats, into what is new.

    A snapshot of less text than is known is an older one that comes late, so is one of text that was taken back.
    Only the last one decides, whatever it holds.
    """

    _texts: dict[TextKind, GrowingText] = attrs.field(factory=lambda: {kind: GrowingText() for kind in KINDS})
    _taken_back: dict[TextKind, str] = attrs.field(factory=lambda: dict.fromkeys(KINDS, ""))
    _told: TextSnapshot | None = None
    _stretches: list[Stretch] = attrs.field(factory=list)

    @property
    def thinking(self) -> str:
        """The thoughts, as far as they are known."""
        return self._texts["thinking"].text

    @property
    def answer(self) -> str:
        """The answer, as far as it is known."""
        return self._texts["answer"].text

    def update(self, snapshot: TextSnapshot, is_last: bool = False) -> list[TextChange]:
        """What the snapshot adds; nothing for one that is older than what is known.

        Args:
            is_last: no more will come: this is the text, also where it is shorter, and what seems an unfinished
                character is one.
        """
        begins: dict[TextKind, int] = {}
        resets: list[TextKind] = []
        for kind in KINDS:
            known = self._texts[kind].text
            told: str = getattr(snapshot, kind)
            if not is_last:
                told = told.rstrip(UNFINISHED) if told[-1:] in ENDINGS else told
                if known.startswith(told) or self._taken_back[kind].startswith(told):
                    continue
            elif told == known:
                continue
            self._texts[kind] = GrowingText(told)
            begins[kind] = len(known)
            if not told.startswith(known):
                begins[kind], self._taken_back[kind] = 0, known
                resets.append(kind)
        if not begins:
            return []
        self._told, self._stretches = snapshot, snapshot.stretches
        return [TextChange(kind, "", 0, reset=True) for kind in resets] + self._pieces(begins)

    def stands(self, snapshot: TextSnapshot) -> bool:
        """Whether a snapshot was the last that told something, and all of it, as it is, is the text."""
        is_last = snapshot is self._told and snapshot.is_plain
        return is_last and (snapshot.thinking, snapshot.answer) == (self.thinking, self.answer)

    def grow(self, pieces: Sequence[Piece]) -> list[TextChange] | None:
        """What pieces add to a snapshot that `stands`: the first to its last segment, the others after it.

        None, and nothing was added, for those that could be more, or less, than text.
        """
        if any(not self._is_plain(kind, text) for kind, _, text in pieces):
            return None
        for number, (kind, index, text) in enumerate(pieces):
            self._texts[kind].add(text)
            if self._stretches:
                place = len(self._stretches) - (number == 0)
                self._stretches[place:] = [(kind, index, len(self._texts[kind]))]
        return [TextChange(kind, text, index) for kind, index, text in pieces if text]

    def _is_plain(self, kind: TextKind, text: str) -> bool:
        begins = kind == "answer" and not self._texts["answer"]  # perhaps with a tag
        return not text or (not begins and text[-1] not in ENDINGS and whole(text) is text)

    def so_far(self) -> list[TextChange]:
        """All that is known, as it is told to somebody who comes late."""
        return self._pieces(dict.fromkeys(KINDS, 0))

    def _pieces(self, begins: dict[TextKind, int]) -> list[TextChange]:
        """The text from there on, segment by segment."""
        pieces: list[TextChange] = []
        for kind, index, end in self._stretches:
            begin = begins.get(kind, end)
            if begin < end:
                begins[kind] = self._add(pieces, kind, index, begin, end)
        for kind, begin in begins.items():  # what no segment holds: older models tell of none
            self._add(pieces, kind, KINDS.index(kind), begin, None)
        return pieces

    def _add(self, pieces: list[TextChange], kind: TextKind, index: int, begin: int, end: int | None) -> int:
        """Add a piece, and tell where it ends: after the whole of a character that two segments share."""
        text = self._texts[kind].text
        end = len(text) if end is None else end
        if text[end - 1 : end] in FIRST_HALVES and text[end : end + 1] in SECOND_HALVES:
            end += 1
        if new := text[begin:end]:
            pieces.append(TextChange(kind, whole(new), index))
        return end
