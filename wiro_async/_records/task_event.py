"""What every event about a task has, and the one event that an error carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from wiro_async._public import public
from wiro_async._records.json_value import JSON

Raw: TypeAlias = Mapping[str, JSON]
Role: TypeAlias = Literal["user", "assistant"]


@public
@attrs.frozen(kw_only=True)
class TaskEvent:
    """Base of all events.

    Attributes:
        status: the task's status when it happened.
        raw: the service's own message. Empty for an event that the SDK made out of several messages. Without the
            text so far if the event is a piece of that text.
    """

    status: str = ""
    raw: Raw = attrs.field(factory=dict, repr=False)


@public
@attrs.frozen
class Transcript(TaskEvent):
    """What the user or the model said, in words.

    Attributes:
        role: "user" for the audio that was sent, "assistant" for the model.
        text: exactly as it was received.
    """

    role: Role
    text: str
