"""Errors of one run: it may exist, it ended without a result, or its answer is not the one that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, Unpack

from wiro_async._errors.base import TaskFacts, WiroError
from wiro_async._redaction import remove_secrets

if TYPE_CHECKING:
    from decimal import Decimal

    from wiro_async._records.task_event import Transcript
    from wiro_async._records.task_info import TaskInfo

LOG_LINES_SHOWN = 5
TEXT_SHOWN = 200


class SubmissionUnknownError(WiroError):
    """A run was sent and its response was lost, so the task may exist and be billed.

    The run was not sent again. Look at `candidates`, or at your dashboard, before you submit it again.

    Attributes:
        candidates: tasks that may be the one.
    """

    def __init__(self, message: str = "", *, candidates: Sequence[TaskInfo] = (), **facts: Unpack[TaskFacts]) -> None:
        super().__init__(message, **facts)
        self.candidates = tuple(candidates)


class TaskError(WiroError):
    """A task ended without a result, or the wait for it ended.

    Attributes:
        info: the task as last seen, if it was seen.
    """

    info: TaskInfo | None

    def __init__(self, message: str = "", *, info: TaskInfo | None = None, **facts: Unpack[TaskFacts]) -> None:
        super().__init__(message, **facts)
        self.info = info
        if info is not None:
            self.with_task(info.id, info.token, model=info.model)


class TaskFailedError(TaskError):
    """The model failed. Failed runs are not billed.

    Attributes:
        info: the task's last state, with its whole log.
    """

    info: TaskInfo  # pyright: ignore[reportIncompatibleVariableOverride] - always known, and nobody assigns it
    _shown_log: str

    def __init__(self, info: TaskInfo, **facts: Unpack[TaskFacts]) -> None:
        super().__init__(info=info, **facts)
        self._shown_log = "\n  ".join((info.error_log or info.log).strip().splitlines()[-LOG_LINES_SHOWN:])

    def hiding(self, secrets: Sequence[str]) -> Self:
        """Leave these secrets out of the message, should the model have logged them, and return the error."""
        self._shown_log = remove_secrets(self._shown_log, secrets)
        return self

    def _sentence(self) -> str:
        code = "no exit code" if self.info.exit_code is None else f"exit code {self.info.exit_code}"
        why = f":\n  {self._shown_log}" if self._shown_log else " without a message in its log"
        return f"task {self.task_id} of {self.model or 'an unknown model'} failed ({code}){why}"


class TaskCancelledError(TaskError):
    """The task was cancelled or killed, here or elsewhere.

    Attributes:
        info: the task's last state.
    """

    info: TaskInfo  # pyright: ignore[reportIncompatibleVariableOverride] - always known, and nobody assigns it

    def __init__(self, info: TaskInfo, **facts: Unpack[TaskFacts]) -> None:
        super().__init__(info=info, **facts)

    def _sentence(self) -> str:
        return f"task {self.task_id} of {self.model or 'an unknown model'} was cancelled"


class TaskTimeoutError(TaskError, TimeoutError):
    """A timeout ended the wait for a task.

    Attributes:
        phase: the timeout that passed: "queue", "run" or "idle". "end" if a realtime session was asked to end and did
            not. The timeout of one request raises `RequestTimeoutError`.
        seconds: its length.
        info: the last state that the service reported, if any.
        last_status: the last status seen, from any source.
        last_error: why the last read of the task's state failed; None if it did not. Also the cause.
    """

    def __init__(
        self,
        phase: str,
        seconds: float,
        *,
        info: TaskInfo | None = None,
        last_status: str | None = None,
        last_error: WiroError | None = None,
        **facts: Unpack[TaskFacts],
    ) -> None:
        super().__init__(info=info, **facts)
        self.phase = phase
        self.seconds = seconds
        self.last_status = last_status
        self.last_error = last_error

    def _sentence(self) -> str:
        passed = f"the {self.phase} timeout of {self.seconds:g} s passed"
        if self.task_id is None and self.token is None:
            return f"{passed} before there was a task"
        return (
            f"task {self.task_id}: {passed}, last status {self.last_status or 'unknown'}; "
            f"{f'its state could not be read ({self.last_error}); ' if self.last_error else ''}"
            "wiro.task(error.token) picks it up again"
        )


class RealtimeClosedError(TaskError):
    """A realtime session lost its socket, and with it its end; or it is over and takes no more audio.

    Audio that arrived before can still be read from the session. The session raises this error after it.

    Attributes:
        lost: whether the socket was lost. False for a session that ended normally.
        transcripts: the transcripts so far.
        sent, received: bytes of audio.
        cost: US dollars so far, as far as the service reported it.
        info: the task's last state, if it was reported.
    """

    def __init__(
        self,
        message: str = "",
        *,
        lost: bool = False,
        transcripts: Sequence[Transcript] = (),
        sent: int = 0,
        received: int = 0,
        cost: Decimal | None = None,
        info: TaskInfo | None = None,
        **facts: Unpack[TaskFacts],
    ) -> None:
        super().__init__(message, info=info, **facts)
        self.lost = lost
        self.transcripts = tuple(transcripts)
        self.sent = sent
        self.received = received
        self.cost = cost


class AnswerError(WiroError):
    """An LLM's run ended well and is billed, but its answer is not what was asked for.

    Attributes:
        tasks: the runs of the turn so far. The error is about the last one.
    """

    def __init__(self, message: str = "", tasks: Sequence[TaskInfo] = (), **facts: Unpack[TaskFacts]) -> None:
        super().__init__(message, **facts)
        self.tasks = tuple(tasks)
        if self.task is not None:
            self.with_task(self.task.id, self.task.token, model=self.task.model)

    @property
    def task(self) -> TaskInfo | None:
        """The run whose answer it is."""
        return self.tasks[-1] if self.tasks else None

    def _about_task(self, text: str) -> str:
        return f"task {self.task_id}: {text}" if self.task_id else text


class ResponseFormatError(AnswerError):
    """The answer does not have the form that `response_model` asks for.

    Attributes:
        text: the whole answer.
        problem: what is wrong with it.
    """

    def __init__(self, text: str, problem: str, tasks: Sequence[TaskInfo] = (), **facts: Unpack[TaskFacts]) -> None:
        super().__init__("", tasks, **facts)
        self.text = text
        self.problem = problem

    def _sentence(self) -> str:
        return self._about_task(
            f"the answer does not fit response_model: {self.problem}; it is {_shortened(self.text)}"
        )


class FinishReasonError(AnswerError):
    """The model stopped for a reason that `raise_on_finish` names.

    Attributes:
        finish_reason: such as "length" or "content_filter".
        text: the text until then.
    """

    def __init__(
        self, finish_reason: str, text: str, tasks: Sequence[TaskInfo] = (), **facts: Unpack[TaskFacts]
    ) -> None:
        super().__init__("", tasks, **facts)
        self.finish_reason = finish_reason
        self.text = text

    def _sentence(self) -> str:
        return self._about_task(f"the model stopped by {self.finish_reason!r} after {_shortened(self.text)}")


class ToolError(AnswerError):
    """A tool failed, and `on_tool_error="raise"` was set. The tool's own error is the cause.

    Attributes:
        name: the tool.
        call_id: the id of the call.
        problem: the text of the tool's error.
    """

    def __init__(
        self, name: str, call_id: str, problem: str, tasks: Sequence[TaskInfo] = (), **facts: Unpack[TaskFacts]
    ) -> None:
        super().__init__("", tasks, **facts)
        self.name = name
        self.call_id = call_id
        self.problem = problem

    def _sentence(self) -> str:
        return self._about_task(f"tool {self.name!r} failed: {self.problem}")


class TurnLimitError(AnswerError):
    """The model still asks for tools after `max_turns` runs. Those calls were not made.

    Attributes:
        limit: how many runs a turn may take.
    """

    def __init__(self, limit: int, tasks: Sequence[TaskInfo] = (), **facts: Unpack[TaskFacts]) -> None:
        super().__init__("", tasks, **facts)
        self.limit = limit

    def _sentence(self) -> str:
        return self._about_task(f"the model still asks for tools after {self.limit} runs; max_turns allows more")


def _shortened(text: str) -> str:
    return repr(text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…")
