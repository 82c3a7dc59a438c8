"""What an LLM has written so far: every message holds all of it. https://wiro.ai/docs/llm-chat-streaming"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

import attrs

from wiro_async._protocol.json import JSON
from wiro_async._protocol.values import as_list, as_text

TextKind: TypeAlias = Literal["thinking", "answer"]
KINDS: tuple[TextKind, ...] = ("thinking", "answer")
OPENING, CLOSING = "<answer>", "</answer>"


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
    _cut: int = 0  # characters before the answer that are not part of it

    @classmethod
    def from_wire(cls, content: Mapping[str, JSON], is_last: bool = False) -> TextSnapshot | None:
        """The snapshot in a message or an output's content, of any generation; None if there is no text in it.

        Args:
            is_last: no more will come, so what looks like the beginning of a tag is none.
        """
        segments = tuple([item for item in as_list(content.get("segments")) if isinstance(item, dict)])
        if segments:
            thinking, told = _joined(segments, "thinking"), _joined(segments, "answer")
        else:
            thinking, told = _text(content.get("thinking")), _text(content.get("answer"))
            if not thinking and not told and not _thinks(content):
                told = as_text(content.get("raw"))
        usage = content.get("usage")
        finish_reason = as_text(content.get("finishreason")) or None
        if not segments and not thinking and not told and not finish_reason:
            return None
        cut, answer = _unwrapped(told, is_last)
        return cls(thinking, answer, segments, finish_reason, usage if isinstance(usage, dict) else {}, cut)

    def stretches(self) -> Iterator[tuple[TextKind, int, int]]:
        """Where the text stands, in the order of the timeline: a kind, a segment's place, the kind's text up to there.

        The last is a number of characters. Older models tell nothing of this.
        """
        ends: dict[TextKind, int] = {"thinking": 0, "answer": -self._cut}
        for index, segment in enumerate(self.segments):
            for kind in KINDS:
                if segment.get("type") == kind:
                    ends[kind] += len(as_text(segment.get("text")))
                    yield kind, index, max(0, ends[kind])


def whole(text: str) -> str:
    """The text with the two halves of a character joined; what is but one half becomes U+FFFD, so that it encodes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _thinks(content: Mapping[str, JSON]) -> bool:
    """Whether `raw` may be thoughts: the model says that it thinks, and has another place for its answer."""
    return "answer" in content and content.get("isThinking") in (True, "true")


def _joined(segments: tuple[Mapping[str, JSON], ...], kind: TextKind) -> str:
    return "".join([as_text(segment.get("text")) for segment in segments if segment.get("type") == kind])


def _text(value: JSON) -> str:
    return "".join([as_text(item) for item in value]) if isinstance(value, list) else as_text(value)


def _unwrapped(answer: str, is_last: bool) -> tuple[int, str]:
    """An answer without the tags around it, and how many characters stood before it."""
    body = answer.lstrip()
    if not body.startswith(OPENING):
        begins = not is_last and OPENING.startswith(body)
        return 0, "" if begins else answer
    cut = len(answer) - len(body) + len(OPENING)
    body = answer[cut:]
    if (closed := body.rstrip()).endswith(CLOSING):
        return cut, closed.removesuffix(CLOSING)
    tag = body.rfind("<")
    return cut, body[:tag] if tag >= 0 and CLOSING.startswith(body[tag:]) else body
