"""The state of one task, and the events that follow from what is reported of it.

Messages and states come from several sources, late, twice and in any order. The events must still make one story: a
status never goes back, progress never shrinks, and the deltas of text add up to the text. So the state keeps the
furthest that was reported and turns each report into what is new. https://wiro.ai/docs/websocket
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from wiro_async._protocol.messages.frames import Message, drop_text, parse_cost, parse_output
from wiro_async._protocol.messages.incremental_decoder import IncrementalDecoder
from wiro_async._protocol.messages.text_accumulator import UNFINISHED_CHARACTERS, TextAccumulator, TextChange
from wiro_async._protocol.messages.text_snapshot import KINDS, TextSnapshot, falls_short, segment_kind
from wiro_async._protocol.messages.tool_calls import ToolCall, calls_in
from wiro_async._protocol.tasks.events import Progress, StatusChanged, TextDelta, TextKind, TextReset, UnknownEvent
from wiro_async._protocol.tasks.records import with_streamed
from wiro_async._protocol.values.json import JSON
from wiro_async._protocol.values.parsing import as_dict
from wiro_async._records import status as states
from wiro_async._records.task_event import Raw, TaskEvent
from wiro_async._records.task_info import TaskInfo

OUTPUT_TYPES = frozenset({states.OUTPUT, states.ERROR})


@attrs.define
class TaskState:
    """What is known of one task.

    Only a state that Task/Detail reported can end the task. A message that says so is a report to be checked.
    """

    status: str = ""  # the furthest status seen
    info: TaskInfo | None = None  # the newest state that was not behind what is known
    reported_over: bool = False  # a message has said that the task is over
    is_over: bool = False  # Task/Detail has said so
    text: TextAccumulator = attrs.field(factory=TextAccumulator)  # an LLM's text
    _rank: int = -1
    _fractions: dict[str, float] = attrs.field(factory=dict)
    _decoder: IncrementalDecoder = attrs.field(factory=IncrementalDecoder, repr=False)
    _calls: dict[str, ToolCall] = attrs.field(factory=dict)
    _said_last: TextSnapshot | None = None  # the newest message, if it was decoded in full
    _is_patient: bool = True  # whether a record that lags is read again
    _finish_reason: str | None = None
    _usage: Mapping[str, JSON] = attrs.field(factory=dict)

    @property
    def has_started(self) -> bool:
        """Whether it has left the queue and runs, or is past that."""
        return self._rank >= states.STARTED_RANK

    def report_over(self, reported: bool) -> None:
        """Set whether the task is reported to be over: a callback said so, or Task/Detail keeps disagreeing."""
        self.reported_over = reported

    def stop_waiting(self) -> None:
        """Take the next record of a finished task as it is: there is no time to read it again."""
        self._is_patient = False

    def apply_status(self, message: Message) -> list[TaskEvent]:
        """Take a message's status and nothing else: nobody needs the rest, or not yet."""
        if self.is_over:
            return []
        if states.is_over(message.type):
            self.reported_over = True
            return []
        if not self._advance(message.type):
            return []
        return [StatusChanged(status=self.status, raw={} if message.is_lazy else message.raw)]

    def apply_message(self, message: Message) -> list[TaskEvent]:
        """Take a message. Returns what is new."""
        if self.is_over:
            return []
        events = self.apply_status(message)
        if message.type in OUTPUT_TYPES:
            return events + self._apply_output(message)
        if message.type == "task_cost":
            events.append(parse_cost(message.raw, self.status))
        elif message.type not in states.RANK:
            events.append(UnknownEvent(message.type, status=self.status, raw=message.raw))
        return events

    def apply_info(self, info: TaskInfo, patient: bool = True) -> list[TaskEvent]:
        """Take a state that Task/Detail has reported. Returns what is new.

        Args:
            patient: the exit code of a finished task, and the text that messages brought, may follow a little later.
                Without them the task is not over.
        """
        if self.is_over:
            return []
        if info.is_over:
            self.reported_over = True
            is_complete = info.exit_code is not None and not (info.succeeded and self._is_ahead_of(info))
            self.is_over = info.was_cancelled or is_complete or not (patient and self._is_patient)
        events: list[TaskEvent] = []
        if self.is_over or states.RANK.get(info.status, self._rank) >= self._rank:
            self.info = self._with_known_text(info) if self.is_over else info
        if (self.is_over or not info.is_over) and self._advance(info.status):
            events.append(StatusChanged(status=self.status))
        snapshot, raw = _text_in(info, self.is_over)
        if snapshot is None:
            return events
        if self.is_over:
            snapshot = attrs.evolve(snapshot, **{kind: getattr(self.text, kind) for kind in self._kept(snapshot)})
        return events + self._apply_text(snapshot, raw)

    def snapshot_events(self) -> list[TaskEvent]:
        """The events for a listener who comes late: the status, all text so far, and the calls of tools."""
        events: list[TaskEvent] = [StatusChanged(status=self.status)] if self.status else []
        return [*events, *self._text_events(self.text.snapshot(), {}), *self._calls.values()]

    def _kept(self, snapshot: TextSnapshot) -> list[TextKind]:
        """The kinds of text of which a final snapshot is only an older state. What is known of them counts.

        If the newest message has said the same, the model has shortened its text. An empty text says nothing.
        """
        kept: list[TextKind] = []
        for kind in KINDS:
            text: str = getattr(snapshot, kind)
            said: str = getattr(self._said_last, kind, "")
            was_shortened = text.strip() and text == said.rstrip(UNFINISHED_CHARACTERS)
            if falls_short(text, getattr(self.text, kind)) and not was_shortened:
                kept.append(kind)
        return kept

    def _is_ahead_of(self, info: TaskInfo) -> bool:
        """Whether the messages of a task that succeeded have brought more than its record, which may lag."""
        snapshot, _ = _text_in(info, is_last=True)
        if snapshot is None or not snapshot.has_text:
            known = self.text.answer.strip() or self.text.thinking.strip()
            return bool(self._calls) or known not in info.log
        if snapshot.finish_reason:  # the model was done when this was recorded
            return False
        return "answer" in self._kept(snapshot) or not self._calls.keys() <= {c.key for c in calls_in(snapshot.calls)}

    def _with_known_text(self, info: TaskInfo) -> TaskInfo:
        """Add what messages brought and the final record lacks: a record may lag for good, or its files are deleted."""
        snapshot = _text_in(info, is_last=True)[0] or TextSnapshot("", "")
        if not snapshot.has_text and info.log and self.text.answer.strip() in info.log:  # the merged text
            segment: dict[str, JSON] = {"type": "answer", "text": info.log}
            snapshot = attrs.evolve(snapshot, answer=info.log, segments=(segment,))
        kept = self._kept(snapshot)
        own = {call.key for call in calls_in(snapshot.calls)}
        calls = [] if snapshot.finish_reason else [call.raw for key, call in self._calls.items() if key not in own]
        finish_reason, usage = snapshot.finish_reason or self._finish_reason, snapshot.usage or self._usage
        if not (kept or calls) and (finish_reason, usage) == (snapshot.finish_reason, snapshot.usage):
            return info
        known = {kind: getattr(self.text, kind) for kind in KINDS}
        final = {kind: known[kind] if kind in kept else getattr(snapshot, kind) for kind in KINDS}
        segments: list[JSON] = [dict(segment) for segment in snapshot.segments]
        if kept:
            texts = [(change.kind, change.text) for change in self.text.snapshot()] if final == known else final.items()
            others = [segment for segment in snapshot.segments if segment_kind(segment) is None]
            segments = [*({"type": kind, "text": text} for kind, text in texts), *map(dict, others)]
        segments += [dict(call) for call in calls]
        if not (self.text.has_segments or snapshot.segment_ends or calls):
            segments = []  # a model that reports no timeline
        content: dict[str, JSON] = {**{kind: [text] for kind, text in final.items()}, "segments": segments}
        content |= {"finishreason": finish_reason, "usage": dict(usage)}
        return with_streamed(info, content)

    def _advance(self, status: str) -> bool:
        rank = states.RANK.get(status, -1)
        if rank <= self._rank:
            return False
        self._rank, self.status = rank, status
        return True

    def _apply_output(self, message: Message) -> list[TaskEvent]:
        frame = message.frame
        if frame is not None:
            # Most messages of a long text only add to the last one, so only what was added is decoded.
            pieces = self._decoder.decode_new(frame)
            changes = None if pieces is None else self.text.append(pieces)
            if changes is not None:
                self._said_last = None
                return self._text_events(changes, self._decoder.drop_text(frame) if changes else {})
            self._decoder.forget()
        output = parse_output(message, self.status)
        match output:
            case None:
                return []
            case TextSnapshot():
                events = self._apply_text(output, drop_text(message))
                self._said_last = output
                if frame is not None and self.text.is_current(output):
                    self._decoder.remember(frame, as_dict(message.payload), len(output.segments))
                return events
            case Progress(label=label, fraction=fraction):
                if fraction <= self._fractions.get(label, -1.0):
                    return []
                self._fractions[label] = fraction
        return [output]

    def _apply_text(self, snapshot: TextSnapshot, raw: Raw) -> list[TaskEvent]:
        self._decoder.forget()
        events = self._text_events(self.text.update(snapshot, is_last=self.is_over), raw)
        self._finish_reason = snapshot.finish_reason or self._finish_reason
        self._usage = snapshot.usage or self._usage
        if not snapshot.calls:
            return events
        calls = [call for call in calls_in(snapshot.calls) if call.is_complete and call.key not in self._calls]
        self._calls |= {call.key: call for call in calls}
        return [*events, *calls]

    def _text_events(self, changes: list[TextChange], raw: Raw) -> list[TaskEvent]:
        return [
            TextReset(change.kind, status=self.status, raw=raw)
            if change.reset
            else TextDelta(change.text, change.kind, change.index, status=self.status, raw=raw)
            for change in changes
        ]


def _text_in(info: TaskInfo, is_last: bool) -> tuple[TextSnapshot | None, Raw]:
    """The text among a task's outputs, and the output that holds it."""
    for output in info.outputs:
        snapshot = TextSnapshot.from_wire(output.content, is_last)
        if snapshot is not None:
            return snapshot, output.raw
    return None, {}
