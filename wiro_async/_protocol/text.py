"""Text that grows: every message holds all of it so far, readers want what is new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from wiro_async._protocol.json import JSON
from wiro_async._protocol.values import as_list, as_text

TextKind: TypeAlias = Literal["thinking", "answer"]
KINDS: tuple[TextKind, ...] = ("thinking", "answer")
OPENING, CLOSING = "<answer>", "</answer>"
# The end of a text that is cut within a character: what a decoder makes of some of its bytes, or half of its two units.
UNFINISHED = "\ufffd" + "".join(map(chr, range(0xD800, 0xDC00)))


@attrs.frozen
class TextSnapshot:
    """The whole text of an LLM at one moment.

    Attributes:
        thinking, answer: the two kinds of text.
        segments: the ordered timeline, where the model tells one.
        finish_reason: such as "stop" or "tool_calls", near the end.
        usage: counted tokens, near the end.
    """

    thinking: str
    answer: str
    segments: tuple[Mapping[str, JSON], ...] = ()
    finish_reason: str | None = None
    usage: Mapping[str, JSON] = attrs.field(factory=dict)

    @classmethod
    def from_wire(cls, content: Mapping[str, JSON]) -> TextSnapshot | None:
        """The snapshot in a message or an output's content, of any generation; None if there is no text in it."""
        segments = tuple(item for item in as_list(content.get("segments")) if isinstance(item, dict))
        if segments:
            thinking, answer = (_joined(segments, kind) for kind in KINDS)
        else:
            thinking, answer = (_text(content.get(kind)) for kind in KINDS)
            if not thinking and not answer:
                answer = as_text(content.get("raw"))
        usage = content.get("usage")
        finish_reason = as_text(content.get("finishreason")) or None
        if not segments and not thinking and not answer and not finish_reason:
            return None
        return cls(thinking, _unwrapped(answer), segments, finish_reason, usage if isinstance(usage, dict) else {})

    def index(self, kind: TextKind) -> int:
        """Where the timeline's last segment of a kind stands; older models have one of each."""
        places = [place for place, segment in enumerate(self.segments) if segment.get("type") == kind]
        return places[-1] if places else KINDS.index(kind)


@attrs.frozen
class TextChange:
    """What became of one kind of text: `text` was added, after `reset` threw away what stood there."""

    kind: TextKind
    text: str
    index: int
    reset: bool = False


@attrs.define
class TextFold:
    """Turns snapshots, in any order and with repeats, into what is new."""

    thinking: str = ""
    answer: str = ""

    def update(self, snapshot: TextSnapshot, is_last: bool = False) -> list[TextChange]:
        """What the snapshot adds; nothing for one that is older than what is known.

        Args:
            is_last: no more will come, so also a character that seems unfinished is given.
        """
        changes = []
        for kind in KINDS:
            known: str = getattr(self, kind)
            told: str = getattr(snapshot, kind)
            if not is_last:
                told = told.rstrip(UNFINISHED)
            if known.startswith(told):
                continue
            setattr(self, kind, told)
            reset = not told.startswith(known)
            new = told if reset else told[len(known) :]
            changes.append(TextChange(kind, new, snapshot.index(kind), reset))
        return changes


def _joined(segments: tuple[Mapping[str, JSON], ...], kind: TextKind) -> str:
    return "".join(as_text(segment.get("text")) for segment in segments if segment.get("type") == kind)


def _text(value: JSON) -> str:
    return "".join(map(as_text, value)) if isinstance(value, list) else as_text(value)


def _unwrapped(answer: str) -> str:
    body = answer.lstrip()
    if OPENING.startswith(body.rstrip()):
        return ""  # perhaps the beginning of the tag
    if not body.startswith(OPENING):
        return answer
    body = body.removeprefix(OPENING)
    if (closed := body.rstrip()).endswith(CLOSING):
        return closed.removesuffix(CLOSING)
    tag = body.rfind("<")
    return body[:tag] if tag >= 0 and CLOSING.startswith(body[tag:]) else body
