"""What an LLM has written so far: every message holds all of it. https://wiro.ai/docs/llm-chat-streaming"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

from wiro_async._protocol.json import JSON
from wiro_async._protocol.values import as_list, as_text

TextKind: TypeAlias = Literal["thinking", "answer"]
KINDS: tuple[TextKind, ...] = ("thinking", "answer")
OPENING, CLOSING = "<answer>", "</answer>"


@attrs.define
class TextSnapshot:
    """The whole text of an LLM at one moment.

    Attributes:
        thinking, answer: the two kinds of text.
        segments: the ordered timeline, where the model tells one.
        finish_reason: such as "stop" or "tool_calls", near the end.
        usage: counted tokens, near the end.
        stretches: where text stands, in the timeline's order: a kind, a segment's place, the length of the kind's text
            up to there. Older models tell nothing of this.
    """

    thinking: str
    answer: str
    segments: tuple[Mapping[str, JSON], ...] = ()
    finish_reason: str | None = None
    usage: Mapping[str, JSON] = attrs.field(factory=dict)
    stretches: Sequence[tuple[TextKind, int, int]] = attrs.field(default=(), eq=False, repr=False)

    @classmethod
    def from_wire(cls, content: Mapping[str, JSON], is_last: bool = False) -> TextSnapshot | None:
        """The snapshot in a message or an output's content, of any generation; None if there is no text in it.

        Args:
            is_last: no more will come, so what looks like the beginning of a tag is none.
        """
        segments = tuple([item for item in as_list(content.get("segments")) if isinstance(item, dict)])
        stretches: list[tuple[TextKind, int, int]] = []
        if segments:
            thinking, told = _joined(segments, stretches)
        else:
            thinking, told = _text(content.get("thinking")), _text(content.get("answer"))
            if not thinking and not told and not _thinks(content):
                told = as_text(content.get("raw"))
        usage = content.get("usage")
        finish_reason = as_text(content.get("finishreason")) or None
        if not segments and not thinking and not told and not finish_reason:
            return None
        cut, answer = _unwrapped(told, is_last)
        if cut:
            stretches = [(kind, at, max(0, end - cut) if kind == "answer" else end) for kind, at, end in stretches]
        return cls(thinking, answer, segments, finish_reason, usage if isinstance(usage, dict) else {}, stretches)


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


def _joined(segments: tuple[Mapping[str, JSON], ...], stretches: list[tuple[TextKind, int, int]]) -> tuple[str, str]:
    """The thoughts and the answer; notes where they stand."""
    texts: dict[TextKind, list[str]] = {kind: [] for kind in KINDS}
    ends = dict.fromkeys(KINDS, 0)
    for index, segment in enumerate(segments):
        for kind, parts in texts.items():
            if segment.get("type") == kind:
                parts.append(as_text(segment.get("text")))
                ends[kind] += len(parts[-1])
                stretches.append((kind, index, ends[kind]))
    return "".join(texts["thinking"]), "".join(texts["answer"])


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
