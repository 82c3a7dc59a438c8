"""Turn snapshots of a growing text into what is new.

Every message holds the whole text so far, and messages are repeated, reordered and lost. A snapshot that adds nothing
is an old one that arrives late; so is one of a text that the model has taken back since. Only the last snapshot
decides, even if it holds less. https://wiro.ai/docs/llm-chat-streaming
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from wiro_async._protocol.messages.text_snapshot import (
    KINDS,
    GrowingText,
    Piece,
    SegmentEnd,
    TextSnapshot,
    join_surrogates,
)
from wiro_async._protocol.tasks.events import TextKind

# What a text that is cut within a character ends in: U+FFFD for some of its bytes, or the first of two surrogates.
FIRST_HALVES, SECOND_HALVES = frozenset(map(chr, range(0xD800, 0xDC00))), frozenset(map(chr, range(0xDC00, 0xE000)))
UNFINISHED = frozenset({"\ufffd", *FIRST_HALVES})
UNFINISHED_CHARACTERS = "".join(UNFINISHED)


@attrs.define
class TextChange:
    """A change of one kind of text: `text` was added, or with `reset` all text of the kind was taken back."""

    kind: TextKind
    text: str
    index: int
    reset: bool = False


@attrs.define
class TextAccumulator:
    """The text of a task as far as it is known. Each `update` returns what is new."""

    _texts: dict[TextKind, GrowingText] = attrs.field(factory=lambda: {kind: GrowingText() for kind in KINDS})
    _taken_back: dict[TextKind, str] = attrs.field(factory=lambda: dict.fromkeys(KINDS, ""))
    _newest: TextSnapshot | None = None
    _segment_ends: list[SegmentEnd] = attrs.field(factory=list)

    @property
    def thinking(self) -> str:
        return self._texts["thinking"].text

    @property
    def answer(self) -> str:
        return self._texts["answer"].text

    def update(self, snapshot: TextSnapshot, is_last: bool = False) -> list[TextChange]:
        """Apply a snapshot. Returns what it adds; nothing if it is older than what is known.

        Args:
            is_last: no more will come. The snapshot is the text, even if it is shorter, and what looks like an
                unfinished character is one.
        """
        begins: dict[TextKind, int] = {}
        resets: list[TextKind] = []
        for kind in KINDS:
            known = self._texts[kind].text
            text: str = getattr(snapshot, kind)
            if not is_last:
                text = text.rstrip(UNFINISHED_CHARACTERS) if text[-1:] in UNFINISHED else text
                if known.startswith(text) or self._taken_back[kind].startswith(text):
                    continue
            elif text == known:
                continue
            self._texts[kind] = GrowingText(text)
            begins[kind] = len(known)
            if not text.startswith(known):
                begins[kind], self._taken_back[kind] = 0, known
                resets.append(kind)
        if not begins:
            return []
        self._newest, self._segment_ends = snapshot, snapshot.segment_ends
        return [TextChange(kind, "", 0, reset=True) for kind in resets] + self._split(begins)

    def is_current(self, snapshot: TextSnapshot) -> bool:
        """Whether a snapshot was the last one that added something, and is exactly the known text."""
        is_newest = snapshot is self._newest and snapshot.is_plain
        return is_newest and (snapshot.thinking, snapshot.answer) == (self.thinking, self.answer)

    def append(self, pieces: Sequence[Piece]) -> list[TextChange] | None:
        """Append pieces to a snapshot that is current: the first to its last segment, the others after it.

        Returns None and appends nothing if a piece may be more, or less, than text.
        """
        for kind, _, text in pieces:
            may_be_tag = kind == "answer" and not self._texts["answer"]
            if text and (may_be_tag or text[-1] in UNFINISHED or join_surrogates(text) is not text):
                return None
        for number, (kind, index, text) in enumerate(pieces):
            self._texts[kind].add(text)
            if self._segment_ends:
                place = len(self._segment_ends) - (number == 0)
                self._segment_ends[place:] = [(kind, index, len(self._texts[kind]))]
        return [TextChange(kind, text, index) for kind, index, text in pieces if text]

    @property
    def has_segments(self) -> bool:
        """Whether the model reports a timeline."""
        return bool(self._segment_ends)

    def snapshot(self) -> list[TextChange]:
        """All known text, for a listener that comes late."""
        return self._split(dict.fromkeys(KINDS, 0))

    def _split(self, begins: dict[TextKind, int]) -> list[TextChange]:
        """Split the text from there on into its segments."""
        changes: list[TextChange] = []

        def add(kind: TextKind, index: int, begin: int, end: int) -> int:
            text = self._texts[kind].text
            if text[end - 1 : end] in FIRST_HALVES and text[end : end + 1] in SECOND_HALVES:
                end += 1  # two segments share a character: the first one gets it whole
            if new := text[begin:end]:
                changes.append(TextChange(kind, join_surrogates(new), index))
            return end

        for kind, index, end in self._segment_ends:
            begin = begins.get(kind, end)
            if begin < end:
                begins[kind] = add(kind, index, begin, end)
        for kind, begin in begins.items():  # text of no segment: older models have none
            add(kind, KINDS.index(kind), begin, len(self._texts[kind].text))
        return changes
