"""Responses, and the errors they become."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._errors import (
    APIError,
    AuthenticationError,
    ConcurrencyLimitError,
    DecodingError,
    InsufficientBalanceError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    SpendLimitError,
    WiroError,
)
from wiro_async._protocol.http.responses import parse_envelope, parse_retry_after
from wiro_async._protocol.values.json import decode

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
)


def parse(body: object, status: int = 200, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the content of a response."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_envelope(status, headers or {}, data, NOW)


def error_of(body: object, status: int = 200, headers: dict[str, str] | None = None) -> WiroError:
    """The error that a response becomes."""
    with pytest.raises(WiroError) as caught:
        parse(body, status, headers)
    return caught.value


def refusal(code: object, message: str) -> dict[str, Any]:
    """Return a response of the service that refuses."""
    return {"result": False, "errors": [{"code": code, "message": message}]}


@pytest.mark.parametrize(
    "answer",
    [
        {"result": True, "errors": []},
        {"result": True},
        {},
        {"result": "true", "a": 1},
        {"result": "True", "errors": ["odd"]},
        {"errors": [None]},
        {"errors": [{"code": None, "message": ""}, ""]},
    ],
)
def test_valid_responses(answer: dict[str, Any]) -> None:
    """They are returned unchanged. `errors` may be absent."""
    assert parse(answer) == answer


@pytest.mark.parametrize(
    "code, message, status, kind",
    [
        (0, "Request parameter [prompt] required", 200, InvalidInputError),
        (0, "Request parameter [permission] required", 200, InvalidInputError),
        (0, "Request parameter [n] must be integer or float", 200, InvalidInputError),
        (0, "scale must be between 1 and 4", 200, InvalidInputError),
        (0, "Request files [inputImage] required", 200, InvalidInputError),
        (0, "Request parameters are invalid.", 200, InvalidInputError),
        (0, "taskid or socketaccesstoken is required", 200, InvalidInputError),
        (0, "Error parsing url.", 404, NotFoundError),
        (0, "Project authorization is not founded.", 401, AuthenticationError),
        (0, "Project requires signature authentication. Send x-nonce.", 401, AuthenticationError),
        (0, "Project authorization is not valid.", 401, AuthenticationError),
        (0, "Requested ip 1.2.3.4 is not allowed.", 401, AuthenticationError),
        (0, "x-api-key is required", 401, AuthenticationError),
        (0, "You don't have any permission for this action.", 200, PermissionDeniedError),
        (0, "Your account has been suspended. Ask support.", 200, PermissionDeniedError),
        (0, "Something new", 200, APIError),
        (0, "Something new", 400, InvalidInputError),
        (0, "Something new", 403, PermissionDeniedError),
        (0, "Something new", 422, InvalidInputError),
        (0, "Something new", 408, APIError),
        (0, "Something new", 302, APIError),
        (0, "Request parameter [x] required", 500, ServerError),
        (0, "Internal", 503, ServerError),
        (1, "slug-owner-project-not-exist", 200, NotFoundError),
        (1, "tool-not-accessible", 200, NotFoundError),
        (1, "There is no task yet.", 200, NotFoundError),
        (1, "task-not-exist", 200, NotFoundError),
        (1, "Something new", 200, NotFoundError),
        (1, "Task is not in a cancellable state.", 200, APIError),
        (1, "Task could not be killed: gone", 200, APIError),
        (97, "Your balance is too low", 200, InsufficientBalanceError),
        (0, "Team spend limit has been reached", 200, SpendLimitError),
        (97, "Your personal spend limit in this team has been reached", 200, SpendLimitError),
        (97, "Only a team admin can do this", 200, PermissionDeniedError),
        (98, "Sign in to run this model", 200, AuthenticationError),
        (99, "Bearer token is required", 401, AuthenticationError),
        (99, "Bearer token is required", 200, AuthenticationError),
        (4711, "Something new", 200, APIError),
    ],
)
@pytest.mark.parametrize("written", [int, str])
def test_errors(code: int, message: str, status: int, kind: type[APIError], written: Any) -> None:
    """All known codes and texts. Codes may be text."""
    error = error_of(refusal(written(code), message), status)
    assert type(error) is kind
    assert isinstance(error, APIError)
    assert (error.code, error.http_status, error.message, error.errors) == (code, status, message, (message,))


@pytest.mark.parametrize(
    "message, limit", [("Sorry, you can run up to 3 tasks at a time", 3), ("up to 1 task", 1), ("Too many", None)]
)
def test_too_many_tasks(message: str, limit: int | None) -> None:
    """The limit is parsed from the text."""
    error = error_of(refusal(96, message))
    assert isinstance(error, ConcurrencyLimitError)
    assert error.limit == limit


@pytest.mark.parametrize(
    "answer, message, code",
    [
        ({"result": False}, "without an explanation", None),
        ({"result": "false"}, "without an explanation", None),
        ({"result": 0}, "without an explanation", None),
        ({"result": False, "errors": None}, "without an explanation", None),
        ({"result": False, "errors": ["boom"]}, "boom", None),
        ({"result": False, "errors": "boom"}, "boom", None),
        ({"result": False, "errors": {"code": "7", "message": "boom"}}, "boom", 7),
        ({"errors": ["boom"]}, "boom", None),
        ({"result": None, "errors": [{"code": 7, "message": "boom", "time": 1}]}, "boom", 7),
        ({"result": False, "errors": [{"message": None}]}, "without an explanation", None),
        ({"result": False, "errors": [{"code": None, "message": None}]}, "HTTP 200 without an explanation", None),
        ({"result": False, "errors": [None]}, "without an explanation", None),
        ({"result": False, "errors": [{"code": 7, "message": ""}]}, "without an explanation", 7),
        ({"result": " False "}, "without an explanation", None),
        ({"result": [1], "errors": {"code": "96x"}}, "without an explanation", None),
        ({"result": False, "errors": [{"code": "96%", "message": "m"}]}, "m", None),
    ],
)
def test_errors_of_other_shapes(answer: dict[str, Any], message: str, code: int | None) -> None:
    """Plain strings, single objects, or none."""
    error = error_of(answer)
    assert isinstance(error, APIError)
    assert message in error.message
    assert error.code == code


def test_all_errors_are_reported() -> None:
    """The first one decides the class, and the others are kept."""
    error = error_of({"result": False, "errors": [{"code": 1, "message": "a"}, "b"]})
    assert isinstance(error, NotFoundError)
    assert error.errors == ("a", "b")


def test_warnings_beside_a_result_are_no_error() -> None:
    """The service reported a success."""
    assert parse({"result": True, "errors": ["odd"]})["errors"] == ["odd"]


@pytest.mark.parametrize(
    "body, words",
    [
        (b"<html><body>Bad gateway</body></html>", "Bad gateway"),
        (b'{"result": tr', "13 bytes of broken"),
        (b'[{"result": true}]', "bytes of broken or unknown JSON"),
        (b"", "an empty body"),
        (b" \n ", "an empty body"),
        (b'"eDcCtoken"', "bytes of broken or unknown JSON"),
        (b"\xff\xfe", "HTTP 502"),
        (b"x" * 5000, "x" * 120 + "'"),
    ],
)
def test_invalid_responses(body: bytes, words: str) -> None:
    """They are errors, and are shown without tokens."""
    error = error_of(body, 502)
    assert isinstance(error, DecodingError)
    assert error.http_status == 502
    assert words in str(error)
    assert "eDcCtoken" not in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"errors":"x"}',
        b'{"errors":[{"code":0}]}',
        b'{"errors":[{"code":0,"message":"m"}]}',
    ],
)
def test_too_many_requests(body: bytes) -> None:
    """429 is a rate limit, whatever the body is."""
    error = error_of(body, 429, {"retry-after": "7"})
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 7.0
    assert error.http_status == 429
    assert error.message


@pytest.mark.parametrize("code", [96, "96"])
def test_too_many_tasks_as_429(code: object) -> None:
    """The body counts more than the status: a concurrency limit, not a rate limit."""
    error = error_of(refusal(code, "you can run up to 3 tasks"), 429, {"retry-after": "7"})
    assert isinstance(error, ConcurrencyLimitError)
    assert (error.limit, error.http_status, error.code) == (3, 429, 96)


@pytest.mark.parametrize(
    "header, seconds",
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("²", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:50:37 -0000", 60.0),
        ("Sun, 06 Nov 1994 10:50:37 +0200", 60.0),
        ("Sun, 06 Nov 1994 08:48:37 GMT", 0.0),
        ("Sun, 06 Nov 99999 08:48:37 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Seconds, a date, or an invalid value, and never negative."""
    assert parse_retry_after(header, NOW) == seconds


@given(st.text(st.sampled_from("0123456789 :,+-GMTSunNov.eE")) | st.text())
def test_retry_after_never_fails(header: str) -> None:
    """Any value of the header is accepted."""
    answer = parse_retry_after(header, NOW)
    assert answer is None or answer >= 0


@given(st.integers(100, 599), st.binary() | ANYTHING.map(json.dumps).map(str.encode))
def test_any_response_is_a_mapping_or_an_error(status: int, body: bytes) -> None:
    """Every body gives one of the two."""
    answer: object = None
    with suppress(WiroError):
        answer = parse(body, status)
    assert answer is None or (isinstance(answer, dict) and status < 300)


@given(st.dictionaries(st.sampled_from(["result", "errors"]), ANYTHING))
def test_any_envelope(answer: dict[str, Any]) -> None:
    """Wrong types in known fields."""
    with suppress(APIError):
        assert repr(parse(answer)) == repr(decode(json.dumps(answer)))
