"""What comes back: the envelope, and the error it stands for. https://wiro.ai/docs/error-codes"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

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
    WiroError,
)
from wiro_async._protocol.json import JSON, decode_or_none
from wiro_async._protocol.values import as_int, as_list, as_text

SHOWN_BODY = 120
UP_TO_N_TASKS = re.compile(r"up to (\d+) task", re.IGNORECASE)

# First match wins; the texts are all that tells these errors of code 0 and 1 apart.
BY_TEXT: tuple[tuple[re.Pattern[str], type[APIError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), error)
    for pattern, error in (
        (r"authorization is not|signature auth|requested ip", AuthenticationError),
        (r"permission|suspended|only a team admin", PermissionDeniedError),
        (r"request (parameter|files)|is required|must be (integer|float|between|one of)", InvalidInputError),
        (r"cancellable state|could not be killed", APIError),
        (r"parsing url|not-exist|not-accessible|no task yet", NotFoundError),
    )
)
BY_CODE: dict[int, type[APIError]] = {
    1: NotFoundError,
    97: InsufficientBalanceError,
    98: AuthenticationError,
    99: AuthenticationError,
}
BY_STATUS: dict[int, type[APIError]] = {
    400: InvalidInputError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    422: InvalidInputError,
}


def parse_envelope(status: int, headers: Mapping[str, str], body: bytes, now: float) -> dict[str, JSON]:
    """The answer as a mapping. Raises the error that the answer stands for.

    Args:
        now: the unix time, for a `Retry-After` that is a date.
    """
    answer = decode_or_none(body)
    if status == 429:
        errors = _errors(answer if isinstance(answer, dict) else {})
        message = errors[0][1] if errors else "too many requests"
        raise RateLimitError(None, 429, message, [], retry_after(headers.get("retry-after"), now))
    if not isinstance(answer, dict):
        raise _not_an_answer(status, body)
    if status >= 400 or as_text(answer.get("result", True)) == "false":
        raise _api_error(status, _errors(answer))
    return answer


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds to wait by a `Retry-After` header, seconds or HTTP date (RFC 9110, 10.2.3)."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now)
    except ValueError:
        return None


def _errors(answer: Mapping[str, JSON]) -> list[tuple[int | None, str]]:
    errors = []
    for error in as_list(answer.get("errors")):
        if isinstance(error, dict):
            errors.append((as_int(error.get("code")), as_text(error.get("message"))))
        else:
            errors.append((None, as_text(error)))
    return errors


def _api_error(status: int, errors: list[tuple[int | None, str]]) -> WiroError:
    code, message = errors[0] if errors else (None, f"HTTP {status} without an explanation")
    texts = [text for _, text in errors]
    if code == 96:
        limit = UP_TO_N_TASKS.search(message)
        return ConcurrencyLimitError(code, status, message, texts, int(limit[1]) if limit else None)
    return _error_class(status, code, message)(code, status, message, texts)


def _error_class(status: int, code: int | None, message: str) -> type[APIError]:
    if status >= 500:
        return ServerError
    for pattern, error in BY_TEXT:
        if pattern.search(message):
            return error
    return BY_CODE.get(code or 0) or BY_STATUS.get(status) or APIError


def _not_an_answer(status: int, body: bytes) -> WiroError:
    text = " ".join(body.decode(errors="replace").split())
    shown = f"broken JSON of {len(body)} bytes" if text[:1] in "{[" else repr(text[:SHOWN_BODY])
    return DecodingError(f"HTTP {status} came with {shown if text else 'an empty body'} instead of an answer", status)
