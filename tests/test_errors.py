"""Every error: what it holds, what it says, and that it travels."""

import copy
import inspect
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import wiro_async
from wiro_async import _errors as errors
from wiro_async._protocol.conversations.realtime_audio import Transcript
from wiro_async._protocol.tasks.records import TaskInfo

TOKEN = "eDcCm5yyTOKEN"
TASK = TaskInfo.from_wire(
    {
        "id": "2221",
        "socketaccesstoken": TOKEN,
        "modelslugowner": "a",
        "modelslugproject": "b",
        "status": "task_postprocess_end",
        "pexit": "1",
        "debugoutput": "one\ntwo\nthree\nfour\nfive\nout of memory",
        "parameters": {"prompt": "x"},
        "outputs": [{"url": f"https://cdn1.wiro.ai/{TOKEN}/0.png"}],
    }
)
SAID = Transcript("user", "hello", raw={"tasktoken": TOKEN})
API = (97, 200, "too poor", ("too poor", "really"))
EXAMPLES: dict[type[errors.WiroError], tuple[Any, ...]] = {
    errors.WiroError: ("wrong",),
    errors.ConfigurationError: ("wrong",),
    errors.UsageError: ("entered twice",),
    errors.SessionClosedError: ("closed",),
    errors.TransportError: ("lost", False),
    errors.ConnectionFailedError: ("lost", False),
    errors.RequestTimeoutError: ("late", True),
    errors.DecodingError: ("HTML", 502),
    errors.APIError: API,
    errors.AuthenticationError: API,
    errors.PermissionDeniedError: API,
    errors.InvalidInputError: API,
    errors.NotFoundError: API,
    errors.ConcurrencyLimitError: (*API, 3),
    errors.InsufficientBalanceError: API,
    errors.RateLimitError: (*API, 1.5),
    errors.ServerError: API,
    errors.SubmissionUnknownError: ("lost", "a/b", (TASK, TASK)),
    errors.TaskError: ("gone", "2221", TOKEN),
    errors.TaskFailedError: (TASK,),
    errors.TaskCancelledError: (TASK,),
    errors.TaskTimeoutError: ("queue", 2.5, "2221", TOKEN, TASK, "task_queue"),
    errors.AnswerError: ("of no use", (TASK, TASK)),
    errors.ResponseFormatError: ("{", "no JSON", (TASK,)),
    errors.FinishReasonError: ("length", "Once upon", (TASK,)),
    errors.ToolError: ("get_weather", "call_1", "KeyError: 'Paris'", (TASK,)),
    errors.TurnLimitError: (3, (TASK, TASK)),
    errors.ConversationBusyError: ("busy",),
    errors.RealtimeClosedError: ("lost", "2221", TOKEN, True, (SAID,), 9600, 19200, Decimal("0.002"), TASK),
    errors.DownloadError: ("broke off",),
    errors.BudgetExceededError: ("no room",),
    errors.JournalError: ("in use",),
    errors.WebhookVerificationError: ("forged",),
}
CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


def pickled(error: errors.WiroError) -> errors.WiroError:
    """As another process gets it."""
    there: errors.WiroError = pickle.loads(pickle.dumps(error))
    return there


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("noted", [False, True], ids=["bare", "noted"])
@pytest.mark.parametrize("journey", [pickled, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_errors_travel(
    kind: type[errors.WiroError], noted: bool, journey: Callable[[errors.WiroError], errors.WiroError]
) -> None:
    """All attributes, arguments and words arrive; a class without an example here fails this test."""
    error = kind(*EXAMPLES[kind])
    if noted:
        error.with_task("7", "t0ken")
    there = journey(error)
    assert type(there) is kind
    assert vars(there) == vars(error)
    assert there.args == error.args
    assert (str(there), repr(there)) == (str(error), repr(error))
    assert (there.task_id, there.token) == (error.task_id, error.token)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_errors_show_no_token(kind: type[errors.WiroError]) -> None:
    """Neither by str nor by repr, which loggers and event loops use."""
    error = kind(*EXAMPLES[kind]).with_task("2221", TOKEN)
    shown = f"{error} {error!r}"
    assert TOKEN not in shown
    assert str(error) in repr(error) or repr(str(error)) in repr(error)
    assert error.token == TOKEN


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_errors_are_public(kind: type[errors.WiroError]) -> None:
    """By the name that tracebacks show."""
    assert getattr(wiro_async, kind.__name__) is kind
    assert kind.__module__ == "wiro_async"
    assert kind.__doc__


def test_the_tree_is_as_the_docstring_says() -> None:
    """Who must act is in the bases."""
    assert issubclass(errors.TaskTimeoutError, TimeoutError)
    assert issubclass(errors.RequestTimeoutError, TimeoutError)
    assert errors.RequestTimeoutError("late").phase == "request"
    drawing = {line.strip("│├└─ ").split()[0]: line for line in (errors.__doc__ or "").splitlines() if "Error" in line}
    depths = {
        name: next(place for place, letter in enumerate(line) if letter.isalpha()) for name, line in drawing.items()
    }
    for kind in CLASSES:
        depth = sum(issubclass(base, errors.WiroError) for base in kind.__mro__) - 1
        assert depths[kind.__name__] == depth * 4


def test_the_first_note_stays() -> None:
    """An error that knows its task keeps it."""
    error = errors.TaskError("gone", "2221", TOKEN)
    assert error.with_task("8", "other") is error
    assert (error.task_id, error.token) == ("2221", TOKEN)
    assert errors.DownloadError("x").with_task("8", None).task_id == "8"


@pytest.mark.parametrize(
    "error, words",
    [
        (errors.APIError(97, 200, "too poor"), "too poor (code 97)"),
        (errors.APIError(0, 401, "no key"), "no key (code 0, HTTP 401)"),
        (errors.APIError(None, 503, "down"), "down (HTTP 503)"),
        (errors.InvalidInputError(message="prompt is missing"), "prompt is missing"),
        (errors.TaskFailedError(TASK), "task 2221 of a/b failed (exit code 1):\n  two\n  three"),
        (
            errors.TaskFailedError(TaskInfo.from_wire({"id": "1"})),
            "an unknown model failed (no exit code) without saying why",
        ),
        (errors.TaskFailedError(TaskInfo.from_wire({"id": "1", "debugoutput": "a", "debugerror": "b"})), ":\n  b"),
        (errors.TaskCancelledError(TASK), "task 2221 of a/b was cancelled"),
        (
            errors.TaskTimeoutError("queue", 2.5, "2221"),
            "task 2221: the queue time-out of 2.5 s passed, last status unknown",
        ),
        (errors.TaskTimeoutError("run", 60.0, "1", "t", None, "task_start"), "last status task_start"),
        (
            errors.ResponseFormatError("{", "no JSON", [TASK]),
            "task 2221: the answer is not as asked for: no JSON; it says '{'",
        ),
        (errors.ResponseFormatError("x" * 999, "no JSON"), "x" * 200 + "…'"),
        (errors.FinishReasonError("length", "Once"), "the model stopped by 'length' after 'Once'"),
        (errors.ToolError("look", "call_1", "KeyError: 1", [TASK]), "task 2221: tool 'look' failed: KeyError: 1"),
        (errors.TurnLimitError(3, [TASK]), "task 2221: the model still asks for tools after 3 runs"),
    ],
)
def test_words(error: errors.WiroError, words: str) -> None:
    """What failed, which task, what was said, what to do."""
    assert words in str(error)


def test_a_time_out_of_a_task_has_no_file_name() -> None:
    """It is an OSError by descent, whose arguments mean something else."""
    error = errors.TaskTimeoutError("run", 1.0, "1", TOKEN)
    assert (error.errno, error.strerror, error.filename) == (None, None, None)


def test_facts() -> None:
    """Attributes, for programs."""
    assert errors.ConcurrencyLimitError(96, 200, "up to 3", (), 3).limit == 3
    assert errors.RateLimitError(None, 429, "slow", (), 2.0).retry_after == 2.0
    assert errors.DecodingError("HTML", 502).http_status == 502
    assert errors.SubmissionUnknownError("lost", "a/b", [TASK]).candidates == (TASK,)
    assert errors.ConnectionFailedError("x").sent is True
    assert errors.TaskFailedError(TASK).task_id == "2221"


def test_what_a_model_logs_of_secrets() -> None:
    """The task's own token is left out of the text, and what else is named; also after a journey."""
    log = f"cannot send {TOKEN} with the-session-key"
    error = errors.TaskFailedError(TaskInfo.from_wire({**TASK.raw, "debugoutput": log}))
    assert str(error).endswith("cannot send … with the-session-key")
    hidden = pickled(error.hiding(["the-session-key"]))
    assert str(hidden).endswith("cannot send … with …")
