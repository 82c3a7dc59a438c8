"""Every error: its attributes, its message, and that it can be pickled."""

import copy
import inspect
import pickle
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wiro_async
import wiro_async as errors
from wiro_async import BatchItem, RunRequest, _errors
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._records.task_event import Transcript

TOKEN = "eDcCm5yyTOKEN"
TASK = parse_task(
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
FAILED_ITEM = BatchItem(0, "0", RunRequest("a/b"), None, errors.BudgetExceededError("no room"), 1)
API = (97, 200, "too poor", ("too poor", "really"))
FACTS = {"model": "a/b", "task_id": "2221", "token": TOKEN}
EXAMPLES: dict[type[errors.WiroError], tuple[tuple[Any, ...], dict[str, Any]]] = {
    errors.WiroError: (("wrong",), {}),
    errors.ConfigurationError: (("wrong",), {}),
    errors.UsageError: (("entered twice",), {}),
    errors.SessionClosedError: (("closed",), {}),
    errors.TransportError: (("lost",), {"sent": False, "permanent": True, "incomplete": True}),
    errors.ConnectionFailedError: (("lost",), {"sent": False, "permanent": True, "incomplete": True}),
    errors.RequestTimeoutError: (("late",), {"incomplete": True}),
    errors.DecodingError: (("HTML",), {"http_status": 502}),
    errors.APIError: (API, {}),
    errors.AuthenticationError: (API, {}),
    errors.PermissionDeniedError: (API, {}),
    errors.InvalidInputError: (API, {}),
    errors.NotFoundError: (API, {}),
    errors.ConcurrencyLimitError: (API, {"limit": 3}),
    errors.InsufficientBalanceError: (API, {}),
    errors.SpendLimitError: (API, {}),
    errors.RateLimitError: (API, {"retry_after": 1.5}),
    errors.ServerError: (API, {}),
    errors.SubmissionUnknownError: (("lost",), {"candidates": (TASK, TASK)}),
    errors.TaskError: (("gone",), {"info": TASK}),
    errors.TaskFailedError: ((TASK,), {}),
    errors.TaskCancelledError: ((TASK,), {}),
    errors.TaskTimeoutError: (("queue", 2.5), {"info": TASK, "last_status": "task_queue"}),
    errors.AnswerError: (("of no use", (TASK, TASK)), {}),
    errors.ResponseFormatError: (("{", "no JSON", (TASK,)), {}),
    errors.FinishReasonError: (("length", "Once upon", (TASK,)), {}),
    errors.ToolError: (("get_weather", "call_1", "KeyError: 'Paris'", (TASK,)), {}),
    errors.TurnLimitError: ((3, (TASK, TASK)), {}),
    errors.ConversationBusyError: (("busy",), {}),
    errors.RealtimeClosedError: (
        ("lost",),
        {
            "lost": True,
            "transcripts": (SAID,),
            "sent": 9600,
            "received": 19200,
            "cost": Decimal("0.002"),
            "info": TASK,
        },
    ),
    errors.DownloadError: (("broke off",), {}),
    errors.BatchFailedError: (((FAILED_ITEM,),), {}),
    errors.BudgetExceededError: (("no room",), {}),
    errors.JournalError: (("in use",), {}),
    errors.KeyConflictError: (("another input",), {}),
    errors.WebhookVerificationError: (("forged",), {}),
}
CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


def example(kind: type[errors.WiroError], **facts: Any) -> errors.WiroError:
    """An error with all attributes of its class."""
    arguments, named = EXAMPLES[kind]
    error: errors.WiroError = kind(*arguments, **{**named, **facts})
    return error


def pickled(error: errors.WiroError) -> errors.WiroError:
    """Return the error as another process receives it."""
    there: errors.WiroError = pickle.loads(pickle.dumps(error))
    return there


def facts_of(error: errors.WiroError) -> dict[str, Any]:
    """Return all attributes, with errors as text, because two errors are never equal."""
    return {name: str(value) if name == "items" else value for name, value in vars(error).items()}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("facts", [{}, FACTS], ids=["bare", "facts"])
@pytest.mark.parametrize("journey", [pickled, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_errors_can_be_pickled(
    kind: type[errors.WiroError], facts: dict[str, Any], journey: Callable[[errors.WiroError], errors.WiroError]
) -> None:
    """Attributes, arguments and messages are kept. A class without an example here fails this test."""
    error = example(kind, **facts)
    error.add_note("while testing")
    error.__cause__ = ValueError("the cause")
    there = journey(error)
    assert type(there) is kind
    assert facts_of(there) == facts_of(error)
    assert there.args == error.args
    assert (str(there), repr(there)) == (str(error), repr(error))
    assert (there.model, there.task_id, there.token) == (error.model, error.task_id, error.token)
    assert there.__notes__ == ["while testing"]
    assert repr(there.__cause__) == "ValueError('the cause')"


@given(
    kind=st.sampled_from(CLASSES),
    facts=st.fixed_dictionaries({}, optional={name: st.text() for name in FACTS}),
    note=st.text(),
)
def test_any_attributes_can_be_pickled(kind: type[errors.WiroError], facts: dict[str, str], note: str) -> None:
    """No text of an attribute breaks pickling or the message."""
    error = example(kind, **facts)
    error.add_note(note)
    there = pickled(error)
    assert facts_of(there) == facts_of(error)
    assert str(there) == str(error)


def test_a_users_subclass_can_be_pickled() -> None:
    """Also one with a custom constructor."""
    there = pickled(CallersError(7))
    assert (vars(there), str(there)) == (vars(CallersError(7)), "order 7 failed")


class CallersError(errors.WiroError):
    """A user's error that derives from an error of the SDK."""

    def __init__(self, order: int) -> None:
        super().__init__(f"order {order} failed")
        self.order = order


def test_a_cause_that_does_not_pickle_stays_behind() -> None:
    """The error is pickled without it."""
    error = errors.DownloadError("broke off", task_id="2221")
    error.__cause__ = ValueError(threading.Lock())
    there = pickled(error)
    assert (there.task_id, there.__cause__) == ("2221", None)


def test_the_message_names_the_model_and_the_task() -> None:
    """Once, if the sentence does not name them itself."""
    error = errors.NotFoundError(1, 200, "There is no task yet.", model="a/b", task_id="2221", token=TOKEN)
    assert str(error) == "There is no task yet. (code 1, model a/b, task 2221)"
    assert str(errors.DownloadError("task 2221 of a/b: broke off", **FACTS)) == "task 2221 of a/b: broke off"


def test_a_refusal_is_explained() -> None:
    """The problems of the schema follow the service's message."""
    error = errors.InvalidInputError(1, 200, "Request parameter 'width' is required", ("width",), model="a/b")
    assert error.explain(["width: given nothing; allowed a number"]) is error
    assert error.errors == ("width", "width: given nothing; allowed a number")
    assert str(pickled(error)) == (
        "Request parameter 'width' is required (code 1, model a/b):\n  width: given nothing; allowed a number"
    )


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_errors_show_no_token(kind: type[errors.WiroError]) -> None:
    """Neither by str nor by repr, which loggers and event loops use."""
    error = example(kind).with_task("2221", TOKEN, model="a/b")
    shown = f"{error} {error!r}"
    assert TOKEN not in shown
    assert str(error) in repr(error) or repr(str(error)) in repr(error)
    assert error.token == TOKEN


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_errors_are_public(kind: type[errors.WiroError]) -> None:
    """Under the name that tracebacks show."""
    assert getattr(wiro_async, kind.__name__) is kind
    assert kind.__module__ == "wiro_async"
    assert kind.__doc__


def test_the_tree_is_as_the_docstring_says() -> None:
    """The base classes show who must act."""
    assert issubclass(errors.TaskTimeoutError, TimeoutError)
    assert issubclass(errors.UsageError, RuntimeError)
    assert issubclass(errors.RequestTimeoutError, TimeoutError)
    assert errors.RequestTimeoutError("late").phase == "request"
    drawing = {line.strip("│├└─ ").split()[0]: line for line in (_errors.__doc__ or "").splitlines() if "Error" in line}
    depths = {
        name: next(place for place, letter in enumerate(line) if letter.isalpha()) for name, line in drawing.items()
    }
    for kind in CLASSES:
        depth = sum(issubclass(base, errors.WiroError) for base in kind.__mro__) - 1
        assert depths[kind.__name__] == depth * 4


def test_the_first_task_stays() -> None:
    """An error that has a task keeps it."""
    error = errors.TaskError("gone", task_id="2221", token=TOKEN)
    assert error.with_task("8", "other", model="a/b") is error
    assert (error.model, error.task_id, error.token) == ("a/b", "2221", TOKEN)
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
            errors.TaskFailedError(parse_task({"id": "1"})),
            "an unknown model failed (no exit code) without a message in its log",
        ),
        (errors.TaskFailedError(parse_task({"id": "1", "debugoutput": "a", "debugerror": "b"})), ":\n  b"),
        (errors.TaskCancelledError(TASK), "task 2221 of a/b was cancelled"),
        (
            errors.TaskTimeoutError("queue", 2.5, task_id="2221"),
            "task 2221: the queue timeout of 2.5 s passed, last status unknown",
        ),
        (
            errors.TaskTimeoutError("run", 60.0, task_id="1", token="t", last_status="task_start"),
            "last status task_start",
        ),
        (
            errors.ResponseFormatError("{", "no JSON", [TASK]),
            "task 2221: the answer does not fit response_model: no JSON; it is '{'",
        ),
        (errors.ResponseFormatError("x" * 999, "no JSON"), "x" * 200 + "…'"),
        (errors.FinishReasonError("length", "Once"), "the model stopped by 'length' after 'Once'"),
        (errors.ToolError("look", "call_1", "KeyError: 1", [TASK]), "task 2221: tool 'look' failed: KeyError: 1"),
        (errors.TurnLimitError(3, [TASK]), "task 2221: the model still asks for tools after 3 runs"),
    ],
)
def test_messages(error: errors.WiroError, words: str) -> None:
    """What failed, which task, the service's message, and the remedy."""
    assert words in str(error)


def test_a_timeout_of_a_task_has_no_file_name() -> None:
    """It is an OSError, whose arguments have another meaning."""
    error = errors.TaskTimeoutError("run", 1.0, task_id="1", token=TOKEN)
    assert (error.errno, error.strerror, error.filename) == (None, None, None)


def test_attributes() -> None:
    """Attributes for programs."""
    assert errors.ConcurrencyLimitError(96, 200, "up to 3", (), limit=3).limit == 3
    assert errors.RateLimitError(None, 429, "slow", (), retry_after=2.0).retry_after == 2.0
    assert errors.DecodingError("HTML", http_status=502).http_status == 502
    assert errors.SubmissionUnknownError("lost", candidates=[TASK]).candidates == (TASK,)
    assert errors.ConnectionFailedError("x").sent is True
    failed = errors.TaskFailedError(TASK)
    assert (failed.model, failed.task_id, failed.token) == ("a/b", "2221", TOKEN)


def test_secrets_in_a_models_log() -> None:
    """The text leaves out the task's token and the named secrets, after pickling too."""
    log = f"cannot send {TOKEN} with the-session-key"
    error = errors.TaskFailedError(parse_task({**TASK.raw, "debugoutput": log}))
    assert str(error).endswith("cannot send … with the-session-key")
    hidden = pickled(error.hiding(["the-session-key"]))
    assert str(hidden).endswith("cannot send … with …")
