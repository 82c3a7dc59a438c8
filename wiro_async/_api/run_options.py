"""The options of one run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypedDict

from wiro_async._public import public
from wiro_async._records.task_event import TaskEvent
from wiro_async._types import OnCancel, Timeouts

EventListener: TypeAlias = Callable[[TaskEvent], Awaitable[None] | None]


class CommonOptions(TypedDict, total=False):
    """Options of everything that runs a model.

    Args:
        project_id: the project to bill.
        validate: True checks the input by the model's own parameters before it is sent. The session asks for them once
            for each model. False does not check. If not given, the session's `validate` decides.
    """

    project_id: str | int | None
    validate: bool | None


@public
class SubmitOptions(CommonOptions, total=False):
    """Options of `AsyncWiro.submit`.

    Args:
        callback_url: where the service reports the end of the task.
        key: your own name for the run, such as the number of an order. Needs `AsyncWiro(journal=…)`. One key makes one
            bill: a run that the journal knows under this key is not submitted again. Its result is returned, or it is
            followed. A run that failed or was cancelled, and so was not billed, is run again.
    """

    callback_url: str | None
    key: str | None


@public
class RealtimeOptions(CommonOptions, total=False):
    """Options of `AsyncWiro.realtime`.

    Args:
        timeout: seconds for the whole session, or `Timeouts`. If not given, the session's `timeout` applies.
        queue_timeout: seconds until the model must be ready for audio.
    """

    timeout: float | Timeouts | None
    queue_timeout: float | None


@public
class StreamOptions(SubmitOptions, total=False):
    """Options of `AsyncWiro.stream`.

    Args:
        timeout: seconds for the whole run, or `Timeouts`. If not given, the session's `timeout` applies.
        queue_timeout: seconds until the task must have started.
        on_cancel: "stop" stops the task when the call is cancelled or runs out of time; "leave" lets it go on.
    """

    timeout: float | Timeouts | None
    queue_timeout: float | None
    on_cancel: OnCancel


@public
class RunOptions(StreamOptions, total=False):
    """Options of `AsyncWiro.run`.

    Args:
        on_event: called with every event of the task. May be a coroutine function.
    """

    on_event: EventListener | None
