"""What to do after a run was sent: promise 1 as one table.

A run costs money and the service knows no idempotency key, so a second request may mean a second bill. A run is sent
again only where the first request provably started nothing: no byte of it left, or the service refused it. In every
other case the task that it may have made is searched for in the account's list, and the run becomes that task. If the
search proves nothing the caller decides: `on_unknown` is "raise", or "resubmit" at the risk of a second bill.

`decide` looks at the outcome of one request, `decide_after_search` at the outcome of a search. Both only decide: the
submitter waits, searches and sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

import attrs

from wiro_async._errors import (
    APIError,
    ConcurrencyLimitError,
    DecodingError,
    RateLimitError,
    SessionClosedError,
    SubmissionUnknownError,
    TransportError,
    WiroError,
)
from wiro_async._protocol.http.retry import RetryPolicy, is_refusal
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._records.task_info import TaskInfo
from wiro_async._types import OnUnknown

if TYPE_CHECKING:
    from wiro_async._tuning import Tuning

Left: TypeAlias = Literal["nothing", "part", "all"]


@attrs.frozen
class GivenUp:
    """The response was not waited for any longer: the caller left, or the session is being closed."""


@attrs.frozen
class Ambiguous:
    """A search proved nothing: the list could not be read, or several tasks could be the run's."""

    candidates: tuple[TaskInfo, ...] = ()
    unread: WiroError | None = None  # why the list could not be read


@attrs.frozen
class Sending:
    """One request for a run, as far as it matters for the next step."""

    model: str
    left: Left  # how much of the request may have left this machine
    is_replayable: bool  # whether the request's body can be produced again
    tries: int  # which request for this run it is, from 1. Requests refused because the account is full do not count.
    retry: RetryPolicy
    on_unknown: OnUnknown
    is_abandoned: bool  # whether nobody wants the task any more
    timeout: float | None  # seconds that a response may take; None for any time
    jitter: float  # a random number from 0 to 1


@attrs.frozen
class Made:
    """The run is this task."""

    ref: TaskRef


@attrs.frozen
class WaitForSlot:
    """The account is full: send the run again when a task has ended."""

    limit: int | None  # how many tasks the service allows, if it says so


@attrs.frozen
class SlowDown:
    """Too many requests: send nothing of the session for some seconds, then the run again."""

    delay: float


@attrs.frozen
class Retry:
    """Send the run again after some seconds."""

    delay: float = 0.0


@attrs.frozen
class Fail:
    """Raise an error, from its cause if it has one."""

    error: BaseException
    cause: WiroError | None = None


@attrs.frozen
class Search:
    """Look for the task in the account's list."""

    grace: float  # seconds after which a task that is not listed does not exist
    lost: WiroError  # what happened to the response
    if_absent: Retry | Fail  # what to do if there is no such task


Action: TypeAlias = Made | WaitForSlot | SlowDown | Retry | Fail


def decide(outcome: TaskRef | GivenUp | Exception, sending: Sending, tuning: Tuning) -> Action | Search:  # noqa: C901
    """What follows from the outcome of one request for a run.

    Args:
        outcome: the task that the response names, or what there was instead of such a response.
    """
    match outcome:
        case TaskRef():
            return Made(outcome)
        # The service refused: no task was made.
        case ConcurrencyLimitError() if is_refusal(outcome):
            return _again(WaitForSlot(outcome.limit), outcome, sending)
        case RateLimitError() if is_refusal(outcome):
            return _again(SlowDown(sending.retry.delay(outcome, sending.tries, sending.jitter)), outcome, sending)
        case APIError() if is_refusal(outcome):
            return Fail(outcome)
        # Something before the service refused: no task was made.
        case DecodingError(refused=True):
            return Fail(outcome)
        # No byte left: no task was made.
        case TransportError(sent=False):
            return _again(Retry(sending.retry.delay(outcome, sending.tries, sending.jitter)), outcome, sending)
        case GivenUp() if sending.left == "nothing":
            return Fail(_closed())
        # Part of a body left. No server acts on half a request, so one look at the list is enough.
        case TransportError(incomplete=True):
            return Search(0.0, outcome, Fail(outcome))
        case GivenUp() if sending.left == "part":
            return Search(0.0, _not_awaited(), Fail(_closed()))
        # All of it left, and something between us and the service may have lost the response.
        case GivenUp():
            return _search(_not_awaited(), sending, tuning)
        case TransportError() | APIError() | DecodingError():
            return _search(outcome, sending, tuning)
        # It was stopped on this side before it was sent: by its input, its journal or a closed session.
        case Exception():
            return Fail(outcome)
        case _:
            assert_never(outcome)


def decide_after_search(search: Search, found: TaskRef | Ambiguous | None, model: str) -> Made | Retry | Fail:
    """What follows from a search.

    Args:
        found: the only task that can be the run's; None if there certainly is none.
    """
    match found:
        case TaskRef():
            return Made(found)
        case Ambiguous():
            return Fail(unknown(model, search.lost, found.candidates, found.unread), search.lost)
        case None:
            return search.if_absent
        case _:
            assert_never(found)


def unknown(
    model: str, lost: object, candidates: tuple[TaskInfo, ...] = (), unread: WiroError | None = None
) -> SubmissionUnknownError:
    """The error for a run that may or may not have become a task.

    Args:
        unread: why the list of tasks could not be read.
    """
    if unread is not None:
        found = f"the list of tasks could not be read either ({unread})"
    else:
        found = f"{len(candidates)} tasks could be it" if candidates else "no task of it was found"
    return SubmissionUnknownError(
        f"the run of {model} was sent but its response was lost ({lost}); {found}. It may exist and be billed, so it "
        "was not sent again: look through your tasks before you submit it again",
        model=model,
        candidates=candidates,
    )


def _again(action: WaitForSlot | SlowDown | Retry, error: WiroError, sending: Sending) -> Action:
    """A further request, if it is wanted, allowed and possible."""
    if sending.is_abandoned:
        return Fail(_closed())
    # A full account is no fault: the run waits for its turn, however often it is refused.
    is_allowed = isinstance(action, WaitForSlot) or sending.retry.allows(error, sending.tries)
    return action if is_allowed and _has_body(sending) else Fail(error)


def _has_body(sending: Sending) -> bool:
    """Whether the whole body can be sent (again). A stream that was read in part would become an empty file."""
    return sending.left == "nothing" or sending.is_replayable


def _search(lost: WiroError, sending: Sending, tuning: Tuning) -> Search:
    # A response of any kind shows that the request arrived, and what the service has taken is soon in its list. Without
    # one the request may still be on its way, for as long as a response may take.
    answered = isinstance(lost, (APIError, DecodingError))
    grace = tuning.search_grace + (0.0 if answered else sending.timeout or 0.0)
    may_resubmit = (
        sending.on_unknown == "resubmit"
        and sending.tries < sending.retry.attempts
        and not sending.is_abandoned
        and _has_body(sending)
    )
    return Search(grace, lost, Retry() if may_resubmit else Fail(unknown(sending.model, lost), lost))


def _closed() -> SessionClosedError:
    return SessionClosedError("the session was closed while the run was being submitted")


def _not_awaited() -> TransportError:
    return TransportError("it was not waited for any longer")
