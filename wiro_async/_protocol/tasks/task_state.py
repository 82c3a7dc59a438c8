"""Folds messages and snapshots, from any source and in any order, into events that only go forward."""

from __future__ import annotations

import attrs

from wiro_async._protocol.conversations.tool_calls import ToolCall, calls_in
from wiro_async._protocol.messages.frames import Message, drop_text, parse_cost, parse_output
from wiro_async._protocol.messages.incremental_decoder import IncrementalDecoder
from wiro_async._protocol.messages.text_accumulator import TextAccumulator, TextChange
from wiro_async._protocol.messages.text_snapshot import TextSnapshot
from wiro_async._protocol.tasks import status as states
from wiro_async._protocol.tasks.events import (
    Progress,
    Raw,
    StatusChanged,
    TaskEvent,
    TextDelta,
    TextReset,
    UnknownEvent,
)
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._protocol.values.parsing import as_dict

OUTPUT_TYPES = frozenset({states.OUTPUT, states.ERROR})


@attrs.define
class TaskState:
    """What is known of one task.

    Only a snapshot (Task/Detail) can end it; a message that says so is a claim to be checked.

    Attributes:
        status: the furthest status seen.
        task: the newest snapshot that was not behind what is known.
        claimed: a message said that the task is over.
        over: a snapshot said so.
    """

    status: str = ""
    task: TaskInfo | None = None
    claimed: bool = False
    over: bool = False
    text: TextAccumulator = attrs.field(factory=TextAccumulator)
    _rank: int = -1
    _fractions: dict[str, float] = attrs.field(factory=dict)
    _decoder: IncrementalDecoder = attrs.field(factory=IncrementalDecoder, repr=False)
    _calls: dict[str, ToolCall] = attrs.field(factory=dict)

    @property
    def started(self) -> bool:
        """Whether it has left the queue and runs, or is past that."""
        return self._rank >= states.STARTED_RANK

    def note(self, message: Message) -> list[TaskEvent]:
        """Take a message's status and nothing else, as long as nobody asks for the rest."""
        if self.over or not self._heed(message.type):
            return []
        return [StatusChanged(status=self.status, raw={} if message.is_lazy else message.raw)]

    def receive(self, message: Message) -> list[TaskEvent]:
        """The events of a message."""
        if self.over:
            return []
        events = self.note(message)
        if message.type in OUTPUT_TYPES:
            return events + self._outputs(message)
        if message.type == "task_cost":
            events.append(parse_cost(message.raw, self.status))
        elif message.type not in states.RANK:
            events.append(UnknownEvent(message.type, status=self.status, raw=message.raw))
        return events

    def look(self, task: TaskInfo, patient: bool = True) -> list[TaskEvent]:
        """The events of a snapshot.

        A finished task whose exit code is not told yet is not taken as over, unless `patient` is False.
        """
        if self.over:
            return []
        if task.is_over:
            self.claimed = True
            self.over = task.was_cancelled or task.exit_code is not None or not patient
        events: list[TaskEvent] = []
        if self.over or states.RANK.get(task.status, self._rank) >= self._rank:
            self.task = task
        if (self.over or not task.is_over) and self._advance(task.status):
            events.append(StatusChanged(status=self.status))
        for output in task.outputs:
            snapshot = TextSnapshot.from_wire(output.content, is_last=self.over)
            if snapshot is not None:
                return events + self._text(snapshot, output.raw)
        return events

    def so_far(self) -> list[TaskEvent]:
        """What somebody who comes late must be told first: the status, and all text there is."""
        events: list[TaskEvent] = [StatusChanged(status=self.status)] if self.status else []
        return [*events, *self._told(self.text.snapshot(), {}), *self._calls.values()]

    def _new_calls(self, snapshot: TextSnapshot) -> list[ToolCall]:
        """Those that are complete now and were not told."""
        calls = [call for call in calls_in(snapshot.calls) if call.is_complete and call.key not in self._calls]
        self._calls |= {call.key: call for call in calls}
        return calls

    def _heed(self, status: str) -> bool:
        if states.is_over(status):
            self.claimed = True
            return False
        return self._advance(status)

    def _advance(self, status: str) -> bool:
        rank = states.RANK.get(status, -1)
        if rank <= self._rank:
            return False
        self._rank, self.status = rank, status
        return True

    def _outputs(self, message: Message) -> list[TaskEvent]:
        frame = message.frame
        if frame is not None and (grown := self._grown(frame)) is not None:
            return grown
        told = parse_output(message, self.status)
        match told:
            case None:
                return []
            case TextSnapshot():
                events = self._text(told, drop_text(message))
                if frame is not None and self.text.is_current(told):
                    self._decoder.remember(frame, as_dict(message.payload), len(told.segments))
                return events
            case Progress():
                return [told] if self._moves(told) else []
        return [told]

    def _grown(self, frame: bytes) -> list[TaskEvent] | None:
        """The events of a message that only goes on where the last one ended; None for any other."""
        pieces = self._decoder.decode_new(frame)
        changes = None if pieces is None else self.text.append(pieces)
        if changes is None:
            self._decoder.forget()
            return None
        return self._told(changes, self._decoder.drop_text(frame) if changes else {})

    def _moves(self, progress: Progress) -> bool:
        if progress.fraction <= self._fractions.get(progress.label, -1.0):
            return False
        self._fractions[progress.label] = progress.fraction
        return True

    def _text(self, snapshot: TextSnapshot, raw: Raw) -> list[TaskEvent]:
        self._decoder.forget()
        events = self._told(self.text.update(snapshot, is_last=self.over), raw)
        return [*events, *self._new_calls(snapshot)] if snapshot.calls else events

    def _told(self, changes: list[TextChange], raw: Raw) -> list[TaskEvent]:
        return [
            TextReset(change.kind, status=self.status, raw=raw)
            if change.reset
            else TextDelta(change.text, change.kind, change.index, status=self.status, raw=raw)
            for change in changes
        ]
