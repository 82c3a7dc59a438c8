"""What an LLM has written so far: every message holds all of it. https://wiro.ai/docs/llm-chat-streaming"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

from wiro_async._protocol.values.json import JSON
from wiro_async._protocol.values.parsing import as_list, as_text

TextKind: TypeAlias = Literal["thinking", "answer"]
Stretch: TypeAlias = tuple[TextKind, int, int]  # a place in the timeline, and how long the text is up to there
Piece: TypeAlias = tuple[TextKind, int, str]  # new text, and its place in the timeline
KINDS: tuple[TextKind, ...] = ("thinking", "answer")
CALL_TYPES = ("function_call", "custom_tool_call")
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
        calls: those segments that are calls of tools.
        has_text: whether text is told, be it empty, or a call in its place; otherwise the task's log is all there is.
        is_plain: whether the answer is just what stands there, without tags around it or what may become one.
    """

    thinking: str
    answer: str
    segments: tuple[Mapping[str, JSON], ...] = ()
    finish_reason: str | None = None
    usage: Mapping[str, JSON] = attrs.field(factory=dict)
    stretches: list[Stretch] = attrs.field(factory=list, eq=False, repr=False)
    calls: Sequence[Mapping[str, JSON]] = attrs.field(default=(), eq=False, repr=False)
    has_text: bool = attrs.field(default=False, eq=False, repr=False)
    is_plain: bool = attrs.field(default=False, eq=False, repr=False)

    @classmethod
    def from_wire(cls, content: Mapping[str, JSON], is_last: bool = False) -> TextSnapshot | None:
        """The snapshot in a message or an output's content, of any generation; None if there is no text in it.

        Args:
            is_last: no more will come, so what looks like the beginning of a tag is none.
        """
        segments = tuple([item for item in as_list(content.get("segments")) if isinstance(item, dict)])
        thinking, told, stretches, calls = _in_segments(segments)
        if not stretches and not calls:  # no segment of a type that is known
            thinking, told = _in_lists(content)
        finish_reason = as_text(content.get("finishreason")) or None
        has_text = bool(thinking or told or stretches or calls)
        if not segments and not has_text and not finish_reason:
            return None
        cut, answer = _unwrapped(told, is_last)
        if cut:
            stretches[:] = [(kind, at, max(0, end - cut) if kind == "answer" else end) for kind, at, end in stretches]
        usage = content.get("usage")
        counted = usage if isinstance(usage, dict) else {}
        return cls(thinking, answer, segments, finish_reason, counted, stretches, calls, has_text, answer is told)


class GrowingText:
    """A text that is added to often, and read whole more rarely: that alone costs what it is long."""

    __slots__ = ("_length", "_parts")

    def __init__(self, text: str = "") -> None:
        self._parts = [text]
        self._length = len(text)

    def __len__(self) -> int:
        return self._length

    @property
    def text(self) -> str:
        """All of it."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0]

    def add(self, text: str) -> None:
        """Add to its end."""
        self._parts.append(text)
        self._length += len(text)


def segment_kind(segment: Mapping[str, JSON]) -> TextKind | None:
    """Which text a segment holds, if any."""
    told = segment.get("type")
    return "answer" if told == "answer" else "thinking" if told == "thinking" else None


def whole(text: str) -> str:
    """The text with the two halves of a character joined; what is but one half becomes U+FFFD, so that it encodes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _in_segments(
    segments: Sequence[Mapping[str, JSON]],
) -> tuple[str, str, list[Stretch], Sequence[Mapping[str, JSON]]]:
    """The thoughts and the answer of a timeline, where they stand, and its calls."""
    texts: dict[TextKind, list[str]] = {kind: [] for kind in KINDS}
    ends = dict.fromkeys(KINDS, 0)
    stretches, calls = list[Stretch](), list[Mapping[str, JSON]]()
    for index, segment in enumerate(segments):
        kind = segment_kind(segment)
        if kind is not None:
            text = as_text(segment.get("text"))
            texts[kind].append(text)
            ends[kind] += len(text)
            stretches.append((kind, index, ends[kind]))
        elif segment.get("type") in CALL_TYPES:
            calls.append(segment)
    return "".join(texts["thinking"]), "".join(texts["answer"]), stretches, calls


def _in_lists(content: Mapping[str, JSON]) -> tuple[str, str]:
    """The thoughts and the answer of older models."""
    thinking, answer = _text(content.get("thinking")), _text(content.get("answer"))
    if not thinking and not answer and not _thinks(content):
        answer = as_text(content.get("raw"))
    return thinking, answer


def _thinks(content: Mapping[str, JSON]) -> bool:
    """Whether `raw` may be thoughts: the model says that it thinks, and has another place for its answer."""
    return "answer" in content and content.get("isThinking") in (True, "true")


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
    if tag >= 0 and CLOSING.startswith(body[tag:]):
        body = body[:tag]
    text, closing, more = body.rpartition(CLOSING)
    return cut, text + more.rstrip() if closing else more
