"""What a journal knows of one key. The same in every store."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from os import PathLike
from typing import Literal, TypeAlias

import attrs

from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo

# undecided: about to be sent, or sent, and no response is known. refused: no task was made. unknown: it could not be
# found out whether there is a task; the record waits for proof, or for `decide`.
State: TypeAlias = Literal["undecided", "submitted", "succeeded", "failed", "cancelled", "refused", "unknown"]
STATES: tuple[State, ...] = ("undecided", "submitted", "succeeded", "failed", "cancelled", "refused", "unknown")
EndState: TypeAlias = Literal["succeeded", "failed", "cancelled", "refused"]


@attrs.frozen
class Intention:
    """What is about to be sent for a key.

    Attributes:
        key: the user's name for it, else one made from the request; storable text.
        digest: equal for equal requests.
        input: its parameters as JSON, files only by their names.
        fingerprint: equal for runs that cannot be distinguished on the service.
        shape: equal for runs with the same model and names of parameters: their tasks are echoed in the same way.
        callback_url: its callback URL, with an id of its own.
        intended_at: unix time. Only shown, never compared.
        last_id_seen: the largest id of a task that was known before; None if none was.
    """

    key: str
    model: str
    digest: str
    input: bytes = attrs.field(repr=False)
    fingerprint: bytes = attrs.field(repr=False)
    shape: bytes = attrs.field(repr=False)
    callback_url: str | None = attrs.field(default=None, repr=False)
    intended_at: float = 0.0
    last_id_seen: int | None = None


@attrs.frozen
class Record:
    """What the journal knows of a key.

    Attributes:
        intention: what was sent last, or is about to be.
        attempts: how many tasks were made for it, the undecided one included.
        position: grows with each intent in the journal. What was submitted later has a greater one.
        fence: grows with each intent and each take-over of this key. A writer with an older one has lost its right.
        is_ours: whether this opening of the store may send it, or search for it.
        lease: seconds for which somebody else may still be sending it; 0.0 if nobody may. Only for undecided ones.
        ref: its task, if it is known.
        task: the service's last record of its task, once that has ended.
        candidates: ids of tasks that may be an unknown one's.
    """

    intention: Intention
    state: State
    attempts: int = 1
    position: int = 0
    fence: int = 1
    is_ours: bool = False
    lease: float = 0.0
    ref: TaskRef | None = None
    ended_at: float | None = None
    cost: Decimal | None = None
    task: TaskInfo | None = attrs.field(default=None, repr=False)
    error: str | None = None
    saved: tuple[PathLike[str], ...] = ()
    candidates: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key."""
        return self.intention.key


@attrs.frozen
class KeyEnd:
    """How the task of a key ended, or why none was made.

    Attributes:
        error: the text of the error.
    """

    state: EndState
    task: TaskInfo | None = None
    error: str | None = None
    ended_at: float = 0.0


@attrs.frozen
class Witness:
    """A task of the journal that may prove how tasks are listed.

    Attributes:
        position: of its intent.
    """

    ref: TaskRef
    fingerprint: bytes
    position: int


@attrs.frozen
class LookAlikes:
    """What else on the service looks like an undecided run.

    Attributes:
        task_ids: tasks that belong to other keys, or to earlier attempts.
        rivals: keys, this one included, whose runs look alike, and of which no task is known.
        is_one_request: whether all rivals are the same request. Otherwise none of them may claim a task.
    """

    task_ids: Sequence[str]
    rivals: Sequence[str]
    is_one_request: bool = True


@attrs.frozen
class Spending:
    """What the succeeded runs of a model have cost.

    Attributes:
        total: US dollars.
        runs: how many runs of known cost.
    """

    total: Decimal = Decimal(0)
    runs: int = 0

    def __add__(self, other: Spending) -> Spending:
        return Spending(self.total + other.total, self.runs + other.runs)
