"""A task and its outputs as the service keeps them. Every record holds its `raw` mapping, so nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import attrs

from wiro_async._public import public
from wiro_async._records import status as states
from wiro_async._records.json_value import JSON
from wiro_async._redaction import shorten_url


@public
@attrs.frozen
class OutputRecord:
    """One entry of a task's outputs: a file with a `url`, or raw `content` such as an LLM's answer."""

    url: str | None = attrs.field(repr=lambda url: repr(url and shorten_url(url)))
    name: str
    content_type: str
    size: int | None
    content: Mapping[str, JSON] = attrs.field(repr=False)
    raw: Mapping[str, JSON] = attrs.field(repr=False)


@public
@attrs.frozen
class TaskInfo:
    """The service's view of a task at one moment.

    Attributes:
        id: its number, as text.
        token: its secret token.
        model: "owner/model"; "" if it was not reported.
        status: such as "task_output"; the set is open.
        exit_code: 0 for success; None while the task runs, or if it was not reported.
        parameters: the inputs as the service echoes them, mostly as text.
        outputs: files and texts that it made.
        created_at, started_at, ended_at: times in UTC, None if not reached.
        elapsed: seconds that it ran.
        cost: US dollars billed.
        log, error_log: what it wrote to its standard output and standard error.
        raw: the service's own record; with a key "streamed" if the text came from messages.
        streamed: the text of an LLM as messages reported it, where the record has less of it; else empty.
    """

    id: str
    token: str | None = attrs.field(repr=False)
    model: str
    status: str
    exit_code: int | None
    parameters: Mapping[str, JSON] = attrs.field(repr=False)
    outputs: tuple[OutputRecord, ...] = attrs.field(repr=False)
    created_at: datetime | None = attrs.field(repr=False)
    started_at: datetime | None = attrs.field(repr=False)
    ended_at: datetime | None = attrs.field(repr=False)
    elapsed: float | None
    cost: Decimal | None
    log: str = attrs.field(repr=False)
    error_log: str = attrs.field(repr=False)
    raw: Mapping[str, JSON] = attrs.field(repr=False)
    streamed: Mapping[str, JSON] = attrs.field(factory=dict, repr=False)

    @property
    def is_over(self) -> bool:
        """Whether the service is done with it, well or not."""
        return states.is_over(self.status)

    @property
    def succeeded(self) -> bool:
        """Whether it finished with exit code 0."""
        return self.status == states.FINISHED and self.exit_code == 0

    @property
    def was_cancelled(self) -> bool:
        """Whether it was cancelled or killed."""
        return self.status == states.CANCELLED
