"""The events of a task. https://wiro.ai/docs/websocket"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias

import attrs

from wiro_async._protocol.values.json import JSON
from wiro_async._protocol.values.parsing import as_decimal
from wiro_async._public import public
from wiro_async._records.task_event import TaskEvent
from wiro_async._records.task_info import TaskInfo

TextKind: TypeAlias = Literal["thinking", "answer"]


@public
@attrs.frozen
class StatusChanged(TaskEvent):
    """The task reached a new `status`. Statuses only go forward."""


@public
@attrs.frozen
class Progress(TaskEvent):
    """A model's own progress.

    Attributes:
        fraction: 0 to 1.
        step, total: steps done and to do, if reported.
        speed: such as "1.2 it/s", if reported.
        eta: seconds left, if reported.
        label: what is being done, such as "Generate"; the fraction may start again with another label.
    """

    fraction: float
    step: int | None = None
    total: int | None = None
    speed: str | None = None
    eta: float | None = None
    label: str = ""


@public
@attrs.frozen
class TextDelta(TaskEvent):
    """New text of an LLM. No text comes twice.

    Attributes:
        text: the new text.
        kind: "answer" or "thinking".
        index: the place of its segment in the model's timeline.
    """

    text: str
    kind: TextKind = "answer"
    index: int = 0


@public
@attrs.frozen
class TextReset(TaskEvent):
    """The model took back all text of one kind; the next `TextDelta` of that kind starts over."""

    kind: TextKind = "answer"

    @property
    def text(self) -> str:
        """Always "": a loop that prints `delta.text` needs no case for resets."""
        return ""


@public
@attrs.frozen
class LogLine(TaskEvent):
    """A line that the model wrote.

    Attributes:
        text: the line.
        stream: "stdout" or "stderr". A line on stderr does not mean that the run failed.
    """

    text: str
    stream: Literal["stdout", "stderr"] = "stdout"


def _dollars(value: JSON | Decimal) -> Decimal | None:
    return value if isinstance(value, Decimal) else as_decimal(value)


@public
@attrs.frozen
class CostUpdate(TaskEvent):
    """What a realtime task has cost so far, in US dollars.

    Attributes:
        turn: the last turn's cost, if reported.
        total: the cost so far, if reported.
    """

    turn: Decimal | None = attrs.field(default=None, converter=_dollars)
    total: Decimal | None = attrs.field(default=None, converter=_dollars)


@public
@attrs.frozen
class Reconnected(TaskEvent):
    """The socket was lost and is back. The next events, or the result, hold what was missed."""


@public
@attrs.frozen
class TaskCancelled(TaskEvent):
    """The task was cancelled or killed: the last event.

    Attributes:
        task: its last state.
    """

    task: TaskInfo


@public
@attrs.frozen
class UnknownEvent(TaskEvent):
    """A message of a type that this version does not know. `raw` holds it as received.

    Attributes:
        type: the message's type.
    """

    type: str
