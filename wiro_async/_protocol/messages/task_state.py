"""The state of one task, and the events that follow from what is reported of it.

Messages and states come from several sources, late, twice and in any order. The events must still make one story: a
status never goes back, progress never shrinks, and the deltas of text add up to the text. So the state keeps the
furthest that was reported and turns each report into what is new. https://wiro.ai/docs/websocket
"""

from __future__ import annotations

import attrs

from wiro_async._protocol.messages.frames import Message, drop_text, parse_cost, parse_output
from wiro_async._protocol.messages.incremental_decoder import IncrementalDecoder
from wiro_async._protocol.messages.text_accumulator import TextAccumulator, TextChange
from wiro_async._protocol.messages.text_snapshot import TextSnapshot
from wiro_async._protocol.messages.tool_calls import ToolCall, calls_in
from wiro_async._protocol.tasks.events import Progress, StatusChanged, TextDelta, TextReset, UnknownEvent
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

    @property
    def has_started(self) -> bool:
        """Whether it has left the queue and runs, or is past that."""
        return self._rank >= states.STARTED_RANK

    def report_over(self, reported: bool) -> None:
        """Set whether the task is reported to be over: a callback said so, or Task/Detail keeps disagreeing."""
        self.reported_over = reported

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
            patient: the exit code of a finished task may follow a little later, so without one the task is not over.
        """
        if self.is_over:
            return []
        if info.is_over:
            self.reported_over = True
            self.is_over = info.was_cancelled or info.exit_code is not None or not patient
        events: list[TaskEvent] = []
        if self.is_over or states.RANK.get(info.status, self._rank) >= self._rank:
            self.info = info
        if (self.is_over or not info.is_over) and self._advance(info.status):
            events.append(StatusChanged(status=self.status))
        for output in info.outputs:
            snapshot = TextSnapshot.from_wire(output.content, is_last=self.is_over)
            if snapshot is not None:
                return events + self._apply_text(snapshot, output.raw)
        return events

    def snapshot_events(self) -> list[TaskEvent]:
        """The events for a listener who comes late: the status, all text so far, and the calls of tools."""
        events: list[TaskEvent] = [StatusChanged(status=self.status)] if self.status else []
        return [*events, *self._text_events(self.text.snapshot(), {}), *self._calls.values()]

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
                return self._text_events(changes, self._decoder.drop_text(frame) if changes else {})
            self._decoder.forget()
        output = parse_output(message, self.status)
        match output:
            case None:
                return []
            case TextSnapshot():
                events = self._apply_text(output, drop_text(message))
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
