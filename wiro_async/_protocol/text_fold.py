"""Text that grows: from snapshots of all of it, in any order, to what is new."""

from __future__ import annotations

import attrs

from wiro_async._protocol.text import KINDS, TextKind, TextSnapshot, whole

# The end of a text that is cut within a character: what a decoder makes of some of its bytes, or half of its two units.
UNFINISHED = "\ufffd" + "".join(map(chr, range(0xD800, 0xDC00)))
ENDINGS = frozenset(UNFINISHED)


@attrs.define
class TextChange:
    """What became of one kind of text: `text` was added, after `reset` threw away what stood there."""

    kind: TextKind
    text: str
    index: int
    reset: bool = False


@attrs.define
class TextFold:
    """Turns snapshots, in any order and with repeats, into what is new.

    A snapshot of less text than is known is an older one that comes late, so is one of text that was taken back.
    Only the last one decides, whatever it holds.
    """

    thinking: str = ""
    answer: str = ""
    _taken_back: dict[TextKind, str] = attrs.field(factory=lambda: dict.fromkeys(KINDS, ""))
    _told: TextSnapshot | None = None

    def update(self, snapshot: TextSnapshot, is_last: bool = False) -> list[TextChange]:
        """What the snapshot adds; nothing for one that is older than what is known.

        Args:
            is_last: no more will come: this is the text, also where it is shorter, and what seems an unfinished
                character is one.
        """
        begins: dict[TextKind, int] = {}
        resets: list[TextKind] = []
        for kind in KINDS:
            known: str = getattr(self, kind)
            told: str = getattr(snapshot, kind)
            if not is_last:
                told = told.rstrip(UNFINISHED) if told[-1:] in ENDINGS else told
                if known.startswith(told) or self._taken_back[kind].startswith(told):
                    continue
            elif told == known:
                continue
            setattr(self, kind, told)
            begins[kind] = len(known)
            if not told.startswith(known):
                begins[kind], self._taken_back[kind] = 0, known
                resets.append(kind)
        if not begins:
            return []
        self._told = snapshot
        return [TextChange(kind, "", 0, reset=True) for kind in resets] + self._pieces(begins)

    def so_far(self) -> list[TextChange]:
        """All that is known, as it is told to somebody who comes late."""
        return self._pieces(dict.fromkeys(KINDS, 0))

    def _pieces(self, begins: dict[TextKind, int]) -> list[TextChange]:
        """The text from there on, segment by segment."""
        told = self._told
        pieces: list[TextChange] = []
        for kind, index, end in told.stretches if told else ():
            begin = begins.get(kind, end)
            if begin < end:
                self._add(pieces, kind, index, begin, end)
                begins[kind] = end
        for kind, begin in begins.items():  # what no segment holds: older models tell of none
            self._add(pieces, kind, KINDS.index(kind), begin, None)
        return pieces

    def _add(self, pieces: list[TextChange], kind: TextKind, index: int, begin: int, end: int | None) -> None:
        text: str = getattr(self, kind)
        if new := text[begin:end]:
            pieces.append(TextChange(kind, whole(new), index))
