"""What the ledger records, and the error that refuses a request."""

import time
from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from wiro_async.testing._json import Json

Generation: TypeAlias = Literal["older", "newer"]
"""The format of a task's socket messages: the service sends two."""

KEPT_BYTES = 16 * 2**20
INVALID = "Request parameters are invalid."


class RefusedError(Exception):
    """The service refuses a request: an error envelope with this code, text and HTTP status."""

    def __init__(self, code: int, message: str, status: int = 200) -> None:
        super().__init__(code, message, status)
        self.code = code
        self.message = message
        self.status = status


@attrs.frozen
class Upload:
    """A file of a multipart body. `data` is None above 16 MiB; size and digest are always set."""

    field: str
    name: str
    content_type: str
    size: int
    sha256: str
    data: bytes | None = attrs.field(repr=False)


@attrs.define(eq=False)
class Call:
    """One HTTP request as it arrived. `status` is None until a response is sent."""

    method: str
    path: str
    endpoint: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    at: float
    parameters: Mapping[str, Json] = attrs.field(factory=dict[str, Json])
    files: tuple[Upload, ...] = ()
    status: int | None = None

    def received(self, parameters: Mapping[str, Json], files: tuple[Upload, ...]) -> None:
        self.parameters, self.files = parameters, files

    def answered(self, status: int) -> None:
        self.status = status


@attrs.frozen
class Submission:
    """One billed run, even if the client never received its response. Parameters are as sent."""

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

    Attributes:
        messages: number of messages sent to the client, audio included.
        asked: types of the messages received from the client.
        heard: size in bytes of each audio frame received from the client.
    """

    opened_at: float
    headers: Mapping[str, str] = attrs.field(repr=False)
    tokens: list[str] = attrs.field(factory=list[str])
    messages: int = 0
    asked: list[str] = attrs.field(factory=list[str])
    heard: list[int] = attrs.field(factory=list[int])
    closed_at: float | None = None

    def register(self, token: str) -> int:
        """Record a token and return its position among the tokens of this connection."""
        if token not in self.tokens:
            self.tokens.append(token)
        return self.tokens.index(token)

    def count_message(self) -> None:
        self.messages += 1

    def close(self) -> None:
        self.closed_at = time.time()


@attrs.frozen
class CallbackRecord:
    """One request to a run's `callbackUrl`. `status` is None if no response came."""

    task_id: str
    url: str
    status: int | None


@attrs.frozen
class TaskSnapshot:
    """The current state of a task, regardless of what faults show to clients."""

    id: str
    token: str
    model: str
    status: str
    pexit: str
    finished: bool
