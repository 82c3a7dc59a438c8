"""Every error this library raises, sorted by who must act.

WiroError
├── ConfigurationError              you: keys, URLs, options
├── UsageError                      you: a call out of order; also a RuntimeError
├── SessionClosedError              you: the session was closed under a waiting call
├── TransportError                  the network
│   ├── ConnectionFailedError
│   └── RequestTimeoutError         also a TimeoutError
├── DecodingError                   the service (or a proxy) answered something that is not its protocol
├── APIError                        the service said no
│   ├── AuthenticationError
│   ├── PermissionDeniedError
│   ├── InvalidInputError           also raised here, before anything is sent
│   ├── NotFoundError
│   ├── ConcurrencyLimitError
│   ├── InsufficientBalanceError
│   ├── RateLimitError
│   └── ServerError
├── SubmissionUnknownError          nobody knows whether a run was made: look before you submit again
├── TaskError                       a run ended without a result
│   ├── TaskFailedError
│   ├── TaskCancelledError
│   ├── TaskTimeoutError            also a TimeoutError
│   └── RealtimeClosedError         a realtime session was lost, or takes no more audio
├── AnswerError                     a run ended well, but its answer is not what was asked for
│   ├── ResponseFormatError
│   ├── FinishReasonError
│   ├── ToolError
│   └── TurnLimitError
├── ConversationBusyError           you: one turn at a time
├── DownloadError                   an output could not be fetched; the result itself stands
├── BudgetExceededError             a batch reached its budget
├── JournalError                    a batch journal cannot be used
└── WebhookVerificationError        a callback was not authentic

All of them pickle, none of them shows a secret, and every one raised after a submit carries `task_id` and `token`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from wiro_async._redaction import redacted, without

if TYPE_CHECKING:
    from decimal import Decimal

    from wiro_async._protocol.conversations.realtime_audio import Transcript
    from wiro_async._protocol.tasks.records import TaskInfo

LOG_LINES_SHOWN = 5
TEXT_SHOWN = 200


class WiroError(Exception):
    """Base of all errors of this library.

    Attributes:
        task_id: the number of the task concerned, if one was made.
        token: its secret token; `wiro.task(error.token)` picks the run up again. Never part of the message.
    """

    task_id: str | None = None
    token: str | None = None

    def __init__(self, *args: object) -> None:
        # Not OSError's, which comes in with TimeoutError and takes arguments for a file name.
        Exception.__init__(self, *(redacted(arg) if isinstance(arg, str) else arg for arg in args))

    def __str__(self) -> str:
        return redacted(self._text())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def _text(self) -> str:
        """What it says, before secrets are taken out."""
        return str(self.args[0]) if self.args else ""

    def with_task(self, task_id: str | None, token: str | None) -> Self:
        """Note which task the error is about, and return the error."""
        self.task_id = self.task_id or task_id
        self.token = self.token or token
        return self


class ConfigurationError(WiroError):
    """A key, URL or option of the session is missing or wrong."""


class UsageError(WiroError, RuntimeError):
    """An object was used out of order: entered twice, not entered, or already being iterated."""


class SessionClosedError(WiroError):
    """The session was closed, or belongs to another event loop."""


class TransportError(WiroError):
    """The request or its answer was lost on the way.

    Attributes:
        sent: whether any byte of the request may have left. False only where it provably did not.
        lasting: whether the next attempt would end alike, as with a certificate that is not trusted.
        incomplete: whether the request's streamed body was given up before its end, so that at most half a request has
            arrived, on which no server acts that heeds HTTP. False where that is not certain.
    """

    incomplete: bool = False

    def __init__(self, message: str = "", sent: bool = True, lasting: bool = False) -> None:
        super().__init__(message, sent, lasting)
        self.sent = sent
        self.lasting = lasting


class ConnectionFailedError(TransportError):
    """The connection could not be made, or broke."""


class RequestTimeoutError(TransportError, TimeoutError):
    """One HTTP call had no answer within the `request` time-out.

    Attributes:
        phase: "request", as a `TaskTimeoutError` tells which of the other time-outs it was.
    """

    phase = "request"


class DecodingError(WiroError):
    """The answer was not the service's protocol, such as an HTML page of a proxy.

    Attributes:
        http_status: the HTTP status of that answer.
    """

    def __init__(self, message: str = "", http_status: int | None = None) -> None:
        super().__init__(message, http_status)
        self.http_status = http_status


class APIError(WiroError):
    """The service refused or could not do what was asked.

    Attributes:
        code: the service's error code, None for errors found here before sending.
        http_status: the HTTP status of the answer, None for errors found here.
        message: the service's own words.
        errors: all errors of the answer (or all problems found), as text.
    """

    def __init__(
        self,
        code: int | None = None,
        http_status: int | None = None,
        message: str = "",
        errors: Sequence[str] = (),
    ) -> None:
        self.code = code
        self.http_status = http_status
        self.message = redacted(message)
        self.errors = tuple(map(redacted, errors))
        super().__init__(code, http_status, self.message, self.errors)

    def _text(self) -> str:
        facts = [f"code {self.code}"] if self.code is not None else []
        facts += [f"HTTP {self.http_status}"] if self.http_status not in (None, 200) else []
        return f"{self.message} ({', '.join(facts)})" if facts else self.message


class AuthenticationError(APIError):
    """The key, signature or bearer token was missing or not accepted."""


class PermissionDeniedError(APIError):
    """The account may not do this."""


class InvalidInputError(APIError):
    """An input is missing or wrong; `errors` lists every problem found."""


class NotFoundError(APIError):
    """The model or task does not exist or is not accessible."""


class ConcurrencyLimitError(APIError):
    """Too many tasks at once.

    Attributes:
        limit: how many may run at once, where the service told.
    """

    def __init__(
        self,
        code: int | None = None,
        http_status: int | None = None,
        message: str = "",
        errors: Sequence[str] = (),
        limit: int | None = None,
    ) -> None:
        super().__init__(code, http_status, message, errors)
        self.args = (*self.args, limit)
        self.limit = limit


class InsufficientBalanceError(APIError):
    """The balance is too low for this run."""


class RateLimitError(APIError):
    """Too many requests.

    Attributes:
        retry_after: seconds the service asked to wait, if it said so.
    """

    def __init__(
        self,
        code: int | None = None,
        http_status: int | None = None,
        message: str = "",
        errors: Sequence[str] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, http_status, message, errors)
        self.args = (*self.args, retry_after)
        self.retry_after = retry_after


class ServerError(APIError):
    """The service failed (HTTP 5xx)."""


class SubmissionUnknownError(WiroError):
    """A run was sent and its answer was lost, so it may exist and be billed.

    It was not sent again. Look at `candidates`, or at your dashboard, before you submit it anew.

    Attributes:
        model: the model that was to run.
        candidates: tasks that may be the one.
    """

    def __init__(self, message: str = "", model: str = "", candidates: Sequence[TaskInfo] = ()) -> None:
        super().__init__(message, model, tuple(candidates))
        self.model = model
        self.candidates = tuple(candidates)


class TaskError(WiroError):
    """A run that was made ended without a result, or was given up."""

    def __init__(self, message: str = "", task_id: str | None = None, token: str | None = None) -> None:
        super().__init__(message, task_id, token)
        self.task_id = task_id
        self.token = token


class TaskFailedError(TaskError):
    """The model failed. Failed runs are not billed.

    Attributes:
        task: the task's last state, with its whole log.
    """

    _said: str | None = None

    def __init__(self, task: TaskInfo) -> None:
        super().__init__("", task.id, task.token)
        self.args = (task,)
        self.task = task

    def hiding(self, secrets: Sequence[str]) -> Self:
        """Leave these out of what it says, should the model have logged them, and return the error."""
        self._said = without(_failure_text(self.task), secrets)
        return self

    def _text(self) -> str:
        return without(self._said or _failure_text(self.task), [self.token or ""])


class TaskCancelledError(TaskError):
    """The task was cancelled or killed, here or elsewhere.

    Attributes:
        task: the task's last state.
    """

    def __init__(self, task: TaskInfo) -> None:
        super().__init__("", task.id, task.token)
        self.args = (task,)
        self.task = task

    def _text(self) -> str:
        return f"task {self.task.id} of {self.task.model} was cancelled"


class TaskTimeoutError(TaskError, TimeoutError):
    """A time-out ended the wait for a task.

    Attributes:
        phase: which time-out it was: "queue", "run" or "idle"; that of a request gives a `RequestTimeoutError`. "end"
            if a realtime session was asked to end and did not.
        seconds: its length.
        last_task: the last state the service told, if any.
        last_status: the last status seen, by any way.
    """

    def __init__(
        self,
        phase: str,
        seconds: float,
        task_id: str | None = None,
        token: str | None = None,
        last_task: TaskInfo | None = None,
        last_status: str | None = None,
    ) -> None:
        Exception.__init__(self, phase, seconds, task_id, token, last_task, last_status)
        self.task_id = task_id
        self.token = token
        self.phase = phase
        self.seconds = seconds
        self.last_task = last_task
        self.last_status = last_status

    def _text(self) -> str:
        if self.task_id is None and self.token is None:
            return f"the {self.phase} time-out of {self.seconds:g} s passed before there was a task"
        return (
            f"task {self.task_id}: the {self.phase} time-out of {self.seconds:g} s passed, "
            f"last status {self.last_status or 'unknown'}; wiro.task(error.token) picks it up again"
        )


class AnswerError(WiroError):
    """An LLM's run ended well and is paid for, but its answer is not what was asked for.

    Attributes:
        tasks: the runs of the turn so far, each with all that it gave; the last one is meant.
    """

    def __init__(self, message: str = "", tasks: Sequence[TaskInfo] = ()) -> None:
        super().__init__(message, tuple(tasks))
        self._note(tasks)

    @property
    def task(self) -> TaskInfo | None:
        """The run whose answer it is."""
        return self.tasks[-1] if self.tasks else None

    def _note(self, tasks: Sequence[TaskInfo]) -> None:
        self.tasks = tuple(tasks)
        if self.tasks:
            self.with_task(self.tasks[-1].id, self.tasks[-1].token)

    def _about(self, said: str) -> str:
        return f"task {self.task_id}: {said}" if self.task_id else said


class ResponseFormatError(AnswerError):
    """The answer does not have the form that `response_model` asks for.

    Attributes:
        text: the whole answer.
        problem: what is wrong with it.
    """

    def __init__(self, text: str, problem: str, tasks: Sequence[TaskInfo] = ()) -> None:
        super().__init__()
        self.args = (text, problem, tuple(tasks))
        self.text = text
        self.problem = problem
        self._note(tasks)

    def _text(self) -> str:
        return self._about(f"the answer is not as asked for: {self.problem}; it says {_shortened(self.text)}")


class FinishReasonError(AnswerError):
    """The model stopped for a reason that `raise_on_finish` names.

    Attributes:
        finish_reason: such as "length" or "content_filter".
        text: what it had written until then.
    """

    def __init__(self, finish_reason: str, text: str, tasks: Sequence[TaskInfo] = ()) -> None:
        super().__init__()
        self.args = (finish_reason, text, tuple(tasks))
        self.finish_reason = finish_reason
        self.text = text
        self._note(tasks)

    def _text(self) -> str:
        return self._about(f"the model stopped by {self.finish_reason!r} after {_shortened(self.text)}")


class ToolError(AnswerError):
    """A tool failed, where `on_tool_error="raise"` asks to be told; its own error is the cause.

    Attributes:
        name: the tool.
        call_id: which of its calls.
        problem: what it said.
    """

    def __init__(self, name: str, call_id: str, problem: str, tasks: Sequence[TaskInfo] = ()) -> None:
        super().__init__()
        self.args = (name, call_id, problem, tuple(tasks))
        self.name = name
        self.call_id = call_id
        self.problem = problem
        self._note(tasks)

    def _text(self) -> str:
        return self._about(f"tool {self.name!r} failed: {self.problem}")


class TurnLimitError(AnswerError):
    """The model still asks for tools after `max_turns` runs; those calls were not made.

    Attributes:
        limit: how many runs a turn may take.
    """

    def __init__(self, limit: int, tasks: Sequence[TaskInfo] = ()) -> None:
        super().__init__()
        self.args = (limit, tuple(tasks))
        self.limit = limit
        self._note(tasks)

    def _text(self) -> str:
        return self._about(f"the model still asks for tools after {self.limit} runs; max_turns allows more")


class ConversationBusyError(WiroError):
    """The conversation is still in another turn: wait for its end, or start another conversation."""


class RealtimeClosedError(TaskError):
    """A realtime session lost its socket, and with it its end; or it is over and takes no more audio.

    Audio that came before can still be read from the session: this is raised after it.

    Attributes:
        lost: whether the socket was lost. False for a session that ended as it should.
        transcripts: what was said so far.
        sent, received: bytes of audio.
        cost: US dollars so far, as far as the service told.
        task: the task's last state, if it was told.
    """

    def __init__(
        self,
        message: str = "",
        task_id: str | None = None,
        token: str | None = None,
        lost: bool = False,
        transcripts: Sequence[Transcript] = (),
        sent: int = 0,
        received: int = 0,
        cost: Decimal | None = None,
        task: TaskInfo | None = None,
    ) -> None:
        super().__init__(message, task_id, token)
        self.args = (*self.args, lost, tuple(transcripts), sent, received, cost, task)
        self.lost = lost
        self.transcripts = tuple(transcripts)
        self.sent = sent
        self.received = received
        self.cost = cost
        self.task = task


class DownloadError(WiroError):
    """An output file could not be fetched whole. The run itself succeeded: try the download again, not the run."""


class BudgetExceededError(WiroError):
    """The batch's budget leaves no room for this item."""


class JournalError(WiroError):
    """The journal is in use elsewhere, damaged, or belongs to other requests."""


class WebhookVerificationError(WiroError):
    """A callback did not prove that it is authentic."""


def _failure_text(task: TaskInfo) -> str:
    lines = (task.error_log or task.log).strip().splitlines()[-LOG_LINES_SHOWN:]
    reason = ":\n  " + "\n  ".join(lines) if lines else " without saying why"
    code = "no exit code" if task.exit_code is None else f"exit code {task.exit_code}"
    return f"task {task.id} of {task.model or 'an unknown model'} failed ({code}){reason}"


def _shortened(text: str) -> str:
    return repr(text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…")
