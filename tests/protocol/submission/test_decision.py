"""Promise 1 as a table: the decision after each outcome of a run's request, and of the search after it."""

from __future__ import annotations

import attrs
import pytest

from wiro_async import (
    APIError,
    AuthenticationError,
    ConcurrencyLimitError,
    ConnectionFailedError,
    DecodingError,
    InsufficientBalanceError,
    InvalidInputError,
    RateLimitError,
    RequestTimeoutError,
    RetryPolicy,
    ServerError,
    SessionClosedError,
    SubmissionUnknownError,
    TaskInfo,
    TransportError,
    Tuning,
    WiroError,
)
from wiro_async._protocol.submission.decision import (
    Ambiguous,
    Fail,
    GivenUp,
    Left,
    Made,
    Retry,
    Search,
    Sending,
    SlowDown,
    WaitForSlot,
    decide,
    decide_after_search,
    unknown,
)
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef

REF = TaskRef("1", "token")
TUNING = Tuning(search_grace=5.0)
JSON = Sending(
    model="owner/model",
    left="all",
    is_replayable=True,
    tries=1,
    retry=RetryPolicy(attempts=3, base=1.0, jitter=0.0),
    on_unknown="raise",
    is_abandoned=False,
    timeout=30.0,
    jitter=0.0,
)
LAST = attrs.evolve(JSON, tries=3)
RESUBMIT = attrs.evolve(JSON, on_unknown="resubmit")
ABANDONED = attrs.evolve(JSON, is_abandoned=True)
ONE_SHOT = attrs.evolve(JSON, is_replayable=False)  # all of a stream that can be read only once
HALF = attrs.evolve(ONE_SHOT, left="part")
UNREAD = attrs.evolve(ONE_SHOT, left="nothing")

NEVER_LEFT = ConnectionFailedError("refused", sent=False)
UNTRUSTED = ConnectionFailedError("certificate", sent=False, permanent=True)
RESET = ConnectionFailedError("reset")
TIMEOUT = RequestTimeoutError("late")
FULL = ConcurrencyLimitError(96, 200, "up to 3 tasks", (), limit=3)
RATE = RateLimitError(None, 429, "too many requests", (), retry_after=7.0)
HTML = DecodingError("HTML", http_status=502)
BLOCKED = DecodingError("a firewall", http_status=403, refused=True)
NO_IDS = DecodingError("no ids", http_status=200)
KEY = AuthenticationError(99, 401)
INPUT = InvalidInputError(0, 200)
BALANCE = InsufficientBalanceError(97, 200)
FORBIDDEN = APIError(0, 403)
BROKEN_OFF = TransportError("broken", incomplete=True)
CLOSED = SessionClosedError("closed")
JOURNAL = WiroError("journal")
ODD = ValueError("a bug of the user's file object")


class Lost:
    """A search with this grace that fails for good if there is no task: a `SubmissionUnknownError` from the outcome."""

    __hash__ = object.__hash__

    def __init__(self, grace: float) -> None:
        self._grace = grace

    def __eq__(self, other: object) -> bool:
        match other:
            case Search(grace, lost, Fail(SubmissionUnknownError(), cause)):
                return grace == self._grace and cause is lost
        return False


class Closed:
    """The session was closed."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        match other:
            case Fail(SessionClosedError()) | Search(0.0, TransportError(), Fail(SessionClosedError())):
                return True
        return False


@pytest.mark.parametrize(
    "outcome, sending, action",
    [
        pytest.param(REF, JSON, Made(REF), id="a response with ids"),
        pytest.param(REF, ABANDONED, Made(REF), id="an unwanted response with ids"),
        # The service refused: nothing was made.
        pytest.param(FULL, JSON, WaitForSlot(3), id="96: wait for a slot"),
        pytest.param(FULL, LAST, WaitForSlot(3), id="96 does not count as a try"),
        pytest.param(FULL, ONE_SHOT, Fail(FULL), id="96, but the upload was read"),
        pytest.param(FULL, HALF, Fail(FULL), id="96, but the upload was read in part"),
        pytest.param(FULL, UNREAD, WaitForSlot(3), id="96 before the upload was read"),
        pytest.param(FULL, ABANDONED, Closed(), id="96 and abandoned"),
        pytest.param(RATE, JSON, SlowDown(7.0), id="429: wait as long as it says"),
        pytest.param(RateLimitError(None, 429), JSON, SlowDown(1.0), id="429 without Retry-After: back off"),
        pytest.param(RATE, LAST, Fail(RATE), id="429 at the last try"),
        pytest.param(RATE, ONE_SHOT, Fail(RATE), id="429, but the upload was read"),
        pytest.param(RATE, ABANDONED, Closed(), id="429 and abandoned"),
        pytest.param(KEY, JSON, Fail(KEY), id="401"),
        pytest.param(INPUT, JSON, Fail(INPUT), id="invalid input"),
        pytest.param(BALANCE, RESUBMIT, Fail(BALANCE), id="97"),
        pytest.param(FORBIDDEN, RESUBMIT, Fail(FORBIDDEN), id="403"),
        pytest.param(BLOCKED, RESUBMIT, Fail(BLOCKED), id="a page that refuses: nothing was made"),
        # No byte left: nothing was made.
        pytest.param(NEVER_LEFT, JSON, Retry(1.0), id="never left"),
        pytest.param(NEVER_LEFT, attrs.evolve(JSON, tries=2), Retry(2.0), id="never left, twice"),
        pytest.param(NEVER_LEFT, LAST, Fail(NEVER_LEFT), id="never left at the last try"),
        pytest.param(NEVER_LEFT, UNREAD, Retry(1.0), id="never left, and the upload is unread"),
        pytest.param(NEVER_LEFT, ABANDONED, Closed(), id="not sent and abandoned"),
        pytest.param(UNTRUSTED, JSON, Fail(UNTRUSTED), id="never left, and never will"),
        # Part of a body left: no server acts on it.
        pytest.param(BROKEN_OFF, HALF, Search(0.0, BROKEN_OFF, Fail(BROKEN_OFF)), id="half"),
        pytest.param(
            BROKEN_OFF,
            attrs.evolve(RESUBMIT, left="part"),
            Search(0.0, BROKEN_OFF, Fail(BROKEN_OFF)),
            id="half, resubmit",
        ),
        # The response was lost.
        pytest.param(RESET, JSON, Lost(35.0), id="reset: the request may still be on its way"),
        pytest.param(TIMEOUT, JSON, Lost(35.0), id="timeout"),
        pytest.param(TIMEOUT, attrs.evolve(JSON, timeout=None), Lost(5.0), id="lost without a timeout"),
        pytest.param(ServerError(0, 500), JSON, Lost(5.0), id="500: the request arrived"),
        pytest.param(ServerError(0, 503), JSON, Lost(5.0), id="503"),
        pytest.param(APIError(0, 408), JSON, Lost(5.0), id="408"),
        pytest.param(APIError(0, 302), JSON, Lost(5.0), id="302"),
        pytest.param(ConcurrencyLimitError(96, 502), JSON, Lost(5.0), id="96 in a status that proves nothing"),
        pytest.param(HTML, JSON, Lost(5.0), id="an HTML page"),
        pytest.param(NO_IDS, JSON, Lost(5.0), id="a success without ids"),
        pytest.param(RESET, RESUBMIT, Search(35.0, RESET, Retry()), id="lost, resubmit"),
        pytest.param(HTML, RESUBMIT, Search(5.0, HTML, Retry()), id="an HTML page, resubmit"),
        pytest.param(RESET, attrs.evolve(RESUBMIT, tries=3), Lost(35.0), id="resubmit at the last try"),
        pytest.param(
            RESET, attrs.evolve(RESUBMIT, is_replayable=False), Lost(35.0), id="resubmit of a one-shot upload"
        ),
        pytest.param(RESET, attrs.evolve(RESUBMIT, is_abandoned=True), Lost(35.0), id="an abandoned resubmit"),
        # The caller left, or the session is being closed.
        pytest.param(GivenUp(), attrs.evolve(ABANDONED, left="nothing"), Closed(), id="given up before it left"),
        pytest.param(GivenUp(), attrs.evolve(ABANDONED, left="part"), Closed(), id="given up half-way"),
        pytest.param(GivenUp(), ABANDONED, Lost(35.0), id="given up after it left"),
        # It was stopped on this side.
        pytest.param(CLOSED, RESUBMIT, Fail(CLOSED), id="the session was closed"),
        pytest.param(JOURNAL, RESUBMIT, Fail(JOURNAL), id="the journal failed"),
        pytest.param(ODD, RESUBMIT, Fail(ODD), id="an unreadable file"),
    ],
)
def test_after_a_request(outcome: TaskRef | GivenUp | Exception, sending: Sending, action: object) -> None:
    """The decision after the outcome of a request."""
    assert action == decide(outcome, sending, TUNING)


SEARCH = Search(5.0, RESET, Retry())
HOPELESS = Search(5.0, RESET, Fail(RESET))
CANDIDATES = (parse_task({"id": "1"}), parse_task({"id": "2"}))


@pytest.mark.parametrize(
    "search, found, action",
    [
        pytest.param(SEARCH, REF, Made(REF), id="found"),
        pytest.param(HOPELESS, REF, Made(REF), id="found although it was not expected"),
        pytest.param(SEARCH, None, Retry(), id="absent, and may be sent again"),
        pytest.param(HOPELESS, None, Fail(RESET), id="absent"),
    ],
)
def test_after_a_search(search: Search, found: TaskRef | None, action: object) -> None:
    """The decision after the outcome of a search."""
    assert decide_after_search(search, found, "owner/model") == action


def test_a_list_that_could_not_be_read() -> None:
    """The error says so, and not that there is no task."""
    action = decide_after_search(SEARCH, Ambiguous(unread=BLOCKED), "owner/model")
    assert isinstance(action, Fail)
    assert "the list of tasks could not be read either (a firewall)" in str(action.error)
    assert "no task of it was found" not in str(action.error)


@pytest.mark.parametrize("candidates", [(), CANDIDATES], ids=["the list could not be read", "several tasks"])
def test_a_search_that_proves_nothing(candidates: tuple[TaskInfo, ...]) -> None:
    """Nothing is sent again, even with `on_unknown="resubmit"`."""
    action = decide_after_search(SEARCH, Ambiguous(candidates), "owner/model")
    assert isinstance(action, Fail)
    assert isinstance(action.error, SubmissionUnknownError)
    assert (action.error.model, action.error.candidates, action.cause) == ("owner/model", candidates, RESET)


def test_what_a_person_reads_of_a_lost_run() -> None:
    """What was lost, what was found, and what to do."""
    for candidates, found in ((), "no task of it was found"), (CANDIDATES, f"{len(CANDIDATES)} tasks could be it"):
        error = unknown("owner/model", "the connection broke", candidates)
        assert str(error) == (
            f"the run of owner/model was sent but its response was lost (the connection broke); {found}. It may exist "
            "and be billed, so it was not sent again: look through your tasks before you submit it again"
        )
        assert (error.model, error.candidates) == ("owner/model", candidates)
    error = unknown("owner/model", "it broke", (), BLOCKED)
    assert f"({BLOCKED})" in str(error)
    assert "the list of tasks could not be read either" in str(error)


@pytest.mark.parametrize("left, kind", [("nothing", Fail), ("part", Search), ("all", Search)])
def test_what_a_person_reads_of_a_run_that_nobody_waits_for(left: Left, kind: type) -> None:
    """The session was closed, or the caller left."""
    action = decide(GivenUp(), attrs.evolve(JSON, left=left), TUNING)
    assert isinstance(action, kind)
    closed = "the session was closed while the run was being submitted"
    if isinstance(action, Fail):
        assert str(action.error) == closed
    else:
        assert isinstance(action, Search)
        assert str(action.lost) == "it was not waited for any longer"
        assert isinstance(action.if_absent, Fail)
        if left == "part":
            assert str(action.if_absent.error) == closed
        else:
            assert "it was not waited for any longer" in str(action.if_absent.error)
            assert action.if_absent.error.model == "owner/model"  # type: ignore[attr-defined]


def test_waits_before_a_further_request_grow_with_the_tries() -> None:
    """As the retry policy says, for refusals and for requests that never left."""
    for tries, delay in ((1, 1.0), (2, 2.0)):
        sending = attrs.evolve(JSON, left="nothing", tries=tries)
        unsent = decide(TransportError("no route", sent=False), sending, TUNING)
        assert unsent == Retry(delay)


def test_a_refusal_that_names_a_pause_is_obeyed() -> None:
    """`Retry-After` is longer than the policy's own pause."""
    slow = RateLimitError(None, 429, "too many", [], retry_after=9.0)
    action = decide(slow, JSON, TUNING)
    assert isinstance(action, SlowDown)
    assert action.delay >= 9.0
