"""The text of an LLM at one moment: every message holds all of it. https://wiro.ai/docs/llm-chat-streaming"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import attrs

from wiro_async._protocol.tasks.events import TextKind
from wiro_async._protocol.values.json import JSON
from wiro_async._protocol.values.parsing import as_list, as_text

SegmentEnd: TypeAlias = tuple[TextKind, int, int]  # a place in the timeline, and the length of the text up to there
Piece: TypeAlias = tuple[TextKind, int, str]  # new text, and its place in the timeline
TEXT_KEYS = frozenset({"raw", "thinking", "answer", "segments"})  # an object with one of them is text, even if empty
KINDS: tuple[TextKind, ...] = ("thinking", "answer")
CALL_TYPES = ("function_call", "custom_tool_call")
OPENING, CLOSING = "<answer>", "</answer>"


@attrs.define
class TextSnapshot:
    """The whole text of an LLM at one moment.

    Attributes:
        thinking, answer: the two kinds of text.
        segments: the ordered timeline, if the model sends one.
        finish_reason: such as "stop" or "tool_calls", near the end.
        usage: counted tokens, near the end.
        segment_ends: of each segment with text, in order: its kind, its place in the timeline, and the length of the
            kind's text up to its end. Older models send no segments.
        calls: the segments that are calls of tools.
        has_text: whether the message has text, even if it is empty, or a call. Without, only the task's log is left.
        is_plain: whether the answer is the text of the message as it is, without tags or what may become one.
    """

    thinking: str
    answer: str
    segments: tuple[Mapping[str, JSON], ...] = ()
    finish_reason: str | None = None
    usage: Mapping[str, JSON] = attrs.field(factory=dict)
    segment_ends: list[SegmentEnd] = attrs.field(factory=list, eq=False, repr=False)
    calls: Sequence[Mapping[str, JSON]] = attrs.field(default=(), eq=False, repr=False)
    has_text: bool = attrs.field(default=False, eq=False, repr=False)
    is_plain: bool = attrs.field(default=False, eq=False, repr=False)

    @classmethod
    def from_wire(cls, content: Mapping[str, JSON], is_last: bool = False) -> TextSnapshot | None:
        """Parse the content of a message or an output, of any generation; None without text in it.

        Args:
            is_last: no more will come, so what looks like the beginning of a tag is none.
        """
        if TEXT_KEYS.isdisjoint(content) and "finishreason" not in content:  # progress, which comes most often
            return None
        segments = tuple([item for item in as_list(content.get("segments")) if isinstance(item, dict)])
        thinking, written, ends, calls = _join_segments(segments)
        if not ends and not calls:  # no segment of a known type: an older model
            thinking, written = _join_lists(content)
        finish_reason = as_text(content.get("finishreason")) or None
        has_text = bool(thinking or written or ends or calls)
        if not segments and not has_text and not finish_reason:
            return None
        cut, answer = _unwrap(written, is_last)
        if cut:
            ends[:] = [(kind, at, max(0, end - cut) if kind == "answer" else end) for kind, at, end in ends]
        usage = content.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        return cls(thinking, answer, segments, finish_reason, counts, ends, calls, has_text, answer is written)


class GrowingText:
    """A text that is added to often and read in full rarely: only reading costs its length."""

    __slots__ = ("_length", "_parts")

    def __init__(self, text: str = "") -> None:
        self._parts = [text]
        self._length = len(text)

    def __len__(self) -> int:
        return self._length

    @property
    def text(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0]

    def add(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)


def falls_short(text: str, known: str) -> bool:
    """Whether a text is only the beginning of what is known: an older state of it. Blanks at its end do not count."""
    return known.startswith(text) and len(text.rstrip()) < len(known.rstrip())


def segment_kind(segment: Mapping[str, JSON]) -> TextKind | None:
    kind = segment.get("type")
    return "answer" if kind == "answer" else "thinking" if kind == "thinking" else None


def join_surrogates(text: str) -> str:
    """Join the two halves of a character; a half alone becomes U+FFFD, so that the text can be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _join_segments(
    segments: Sequence[Mapping[str, JSON]],
) -> tuple[str, str, list[SegmentEnd], Sequence[Mapping[str, JSON]]]:
    """Read a timeline: its thoughts, its answer, where its segments end, its calls."""
    texts: dict[TextKind, list[str]] = {kind: [] for kind in KINDS}
    lengths = dict.fromkeys(KINDS, 0)
    ends, calls = list[SegmentEnd](), list[Mapping[str, JSON]]()
    for index, segment in enumerate(segments):
        kind = segment_kind(segment)
        if kind is not None:
            text = as_text(segment.get("text"))
            texts[kind].append(text)
            lengths[kind] += len(text)
            ends.append((kind, index, lengths[kind]))
        elif segment.get("type") in CALL_TYPES:
            calls.append(segment)
    return "".join(texts["thinking"]), "".join(texts["answer"]), ends, calls


def _join_lists(content: Mapping[str, JSON]) -> tuple[str, str]:
    """Read the thoughts and the answer of older models: lists of text, bare text or null."""
    thinking, answer = (
        "".join(map(as_text, value)) if isinstance(value, list) else as_text(value)
        for value in (content.get("thinking"), content.get("answer"))
    )
    # `raw` holds thoughts while the model thinks, if it has another place for its answer.
    raw_is_thinking = "answer" in content and content.get("isThinking") in (True, "true")
    if not thinking and not answer and not raw_is_thinking:
        answer = as_text(content.get("raw"))
    return thinking, answer


def _unwrap(answer: str, is_last: bool) -> tuple[int, str]:
    """Strip the tags that some models put around an answer. Returns how many characters preceded it, and the answer."""
    body = answer.lstrip()
    if not body.startswith(OPENING):
        may_become_tag = not is_last and OPENING.startswith(body)
        return 0, "" if may_become_tag else answer
    cut = len(answer) - len(body) + len(OPENING)
    body = answer[cut:]
    if (closed := body.rstrip()).endswith(CLOSING):
        return cut, closed.removesuffix(CLOSING)
    tag = body.rfind("<")
    if tag >= 0 and CLOSING.startswith(body[tag:]):  # a closing tag that has not arrived in full
        body = body[:tag]
    text, closing, rest = body.rpartition(CLOSING)
    return cut, text + rest.rstrip() if closing else rest
