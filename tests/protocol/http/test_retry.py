"""When a call is repeated, and after how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._errors import (
    APIError,
    ConnectionFailedError,
    DecodingError,
    InvalidInputError,
    NotFoundError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    SessionClosedError,
    WiroError,
)
from wiro_async._protocol.http.retry import RetryPolicy


@pytest.mark.parametrize(
    "error, again",
    [
        (ConnectionFailedError("x"), True),
        (RequestTimeoutError("x"), True),
        (RateLimitError(None, 429, "x"), True),
        (ServerError(0, 500, "x"), True),
        (ServerError(0, 522, "x"), True),
        (ServerError(0, 501, "x"), False),
        (APIError(0, 408, "x"), True),
        (APIError(0, 200, "x"), False),
        (InvalidInputError(None, None, "x"), False),
        (NotFoundError(1, 200, "x"), False),
        (DecodingError("x"), True),
        (DecodingError("x", http_status=200), True),
        (DecodingError("x", http_status=502), True),
        (DecodingError("x", http_status=302), False),
        (DecodingError("x", http_status=403), False),
        (SessionClosedError("x"), False),
    ],
)
def test_transient_errors(error: WiroError, again: bool) -> None:
    """Failures of the network are transient, refusals permanent."""
    assert RetryPolicy().allows(error, 1) is again


def test_attempts_are_counted() -> None:
    """The first one counts too."""
    policy = RetryPolicy(attempts=3)
    assert [policy.allows(ConnectionFailedError("x"), attempt) for attempt in (1, 2, 3, 4)] == [
        True,
        True,
        False,
        False,
    ]


def test_statuses_are_the_users() -> None:
    """Users can choose them."""
    assert RetryPolicy(statuses=frozenset({404})).allows(NotFoundError(0, 404, "x"), 1)
    assert not RetryPolicy(statuses=frozenset()).allows(ServerError(0, 500, "x"), 1)


def test_waits_double_up_to_a_cap() -> None:
    """Without jitter."""
    policy = RetryPolicy(base=0.5, cap=3.0, jitter=0.5)
    assert [policy.delay(ConnectionFailedError("x"), attempt, 0.0) for attempt in (1, 2, 3, 4, 1000)] == [
        0.5,
        1,
        2,
        3,
        3,
    ]
    assert policy.delay(ConnectionFailedError("x"), 1, 1.0) == 0.25


@pytest.mark.parametrize("asked, seconds", [(None, 0.5), (0.1, 0.5), (7.0, 7.0), (1000.0, 30.0)])
def test_retry_after_is_respected(asked: float | None, seconds: float) -> None:
    """It lengthens the wait, up to the cap."""
    assert RetryPolicy().delay(RateLimitError(None, 429, "x", (), retry_after=asked), 1, 0.0) == seconds


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_waits_have_bounds(attempt: int, random: float, jitter: float, asked: float | None) -> None:
    """At least zero, at most the cap."""
    policy = RetryPolicy(jitter=jitter)
    assert 0 <= policy.delay(RateLimitError(None, 429, "x", (), retry_after=asked), attempt, random) <= policy.cap
