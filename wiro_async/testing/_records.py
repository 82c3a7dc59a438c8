"""What the emulator writes down, and the JSON it speaks."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""Any JSON value."""

Generation: TypeAlias = Literal["older", "newer"]
"""Which of the two generations of socket messages a task speaks."""

KEPT_BYTES = 16 * 2**20


class RefusedError(Exception):
    """The service says no: becomes an error envelope with this code, text and HTTP status."""

    def __init__(self, code: int, message: str, status: int = 200) -> None:
        super().__init__(code, message, status)
        self.code = code
        self.message = message
        self.status = status


@attrs.frozen
class Upload:
    """A file that came in a multipart body. `data` is None above 16 MiB; size and digest are always right."""

    field: str
    name: str
    content_type: str
    size: int
    sha256: str
    data: bytes | None = attrs.field(repr=False)


@attrs.define(eq=False)
class Call:
    """One HTTP request as it arrived. `status` is None until answered, and stays None if it never was."""

    method: str
    path: str
    endpoint: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    at: float
    parameters: Mapping[str, Json] = attrs.field(factory=dict[str, Json])
    files: tuple[Upload, ...] = ()
    status: int | None = None


@attrs.frozen
class Submission:
    """One billed run, whether or not its answer reached the client. Parameters are as they were sent."""

    task_id: str
    token: str
    model: str
    parameters: Mapping[str, Json]
    files: tuple[Upload, ...]
    callback_url: str
    project_id: str
    at: float


@attrs.define(eq=False)
class SocketRecord:
    """One WebSocket connection: when it was open, and which tokens it registered, in order.

    `messages` counts what was sent to it, audio included; `asked` has the types of all messages from it, `heard` the
    bytes of audio in each frame from it.
    """

    opened_at: float
    headers: Mapping[str, str] = attrs.field(repr=False)
    tokens: list[str] = attrs.field(factory=list[str])
    messages: int = 0
    asked: list[str] = attrs.field(factory=list[str])
    heard: list[int] = attrs.field(factory=list[int])
    closed_at: float | None = None


@attrs.frozen
class CallbackRecord:
    """One delivery to a run's `callbackUrl`. `status` is None when nobody answered."""

    task_id: str
    url: str
    status: int | None


@attrs.frozen
class TaskSnapshot:
    """Where a task stands right now, whatever the faults let a client see."""

    id: str
    token: str
    model: str
    status: str
    pexit: str
    finished: bool
