"""Parse responses: the envelope, and the error that it stands for. https://wiro.ai/docs/error-codes

The service reports most errors with HTTP 200 and `result: false`. Its codes 0 and 1 mean many things, so the text
decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC

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
)
from wiro_async._protocol.http.foreign_pages import describe_body, refusal_of
from wiro_async._protocol.values.json import JSON, decode_or_none
from wiro_async._protocol.values.parsing import as_float, as_int, as_rows, as_text
from wiro_async._redaction import remove_secrets

TOO_MANY_TASKS = 96
NOTHING = (None, "")
UP_TO_N_TASKS = re.compile(r"up to (\d+) task", re.IGNORECASE)

# Where the code is 0, 1 or absent, only the text distinguishes errors. The first match wins.
BY_TEXT: tuple[tuple[re.Pattern[str], type[APIError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), error)
    for pattern, error in (
        (r"spend limit", SpendLimitError),
        (r"^request (parameter|files)|must be (integer|float|between|one of)", InvalidInputError),
        (r"authorization is not|signature auth|requested ip", AuthenticationError),
        (r"permission|suspended|only a team admin", PermissionDeniedError),
        (r"is required", InvalidInputError),
        (r"cancellable state|could not be killed", APIError),
        (r"parsing url|not-exist|not-accessible|no task yet", NotFoundError),
    )
)
BY_CODE: dict[int | None, type[APIError]] = {
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


def parse_envelope(
    status: int, headers: Mapping[str, str], body: bytes, now: float, secrets: Sequence[str] = (), url: str = ""
) -> dict[str, JSON]:
    """Parse a response's body. Raises the error that the response stands for.

    Args:
        now: the unix time, for a `Retry-After` that is a date.
        secrets: texts that are cut out of errors, in case the response repeats them.
        url: of the request. A redirect to another host comes from something before the service.
    """
    answer = decode_or_none(body)
    errors = _parse_errors(answer, secrets) if isinstance(answer, dict) else []
    if status == 429 and all(code != TOO_MANY_TASKS for code, _ in errors[:1]):
        wait = parse_retry_after(headers.get("retry-after"), now)
        code, message = errors[0] if errors else (None, "")
        raise RateLimitError(code, 429, message or "too many requests", [text for _, text in errors], retry_after=wait)
    if not isinstance(answer, dict) or 300 <= status < 400:
        refusal = refusal_of(status, headers, url)
        if refusal is not None or not isinstance(answer, dict):
            found = describe_body(headers, body, secrets)
            raise DecodingError(
                f"HTTP {status} came with {found} instead of an answer{refusal or ''}",
                http_status=status,
                refused=refusal is not None,
            )
    result = as_text(answer.get("result")).strip().lower()
    if status >= 300 or result in ("false", "0") or (errors and result not in ("true", "1")):
        code, message = errors[0] if errors else (None, "")
        message = message or f"HTTP {status} without an explanation"
        texts = [text for _, text in errors]
        if code == TOO_MANY_TASKS:
            limit = UP_TO_N_TASKS.search(message)
            raise ConcurrencyLimitError(code, status, message, texts, limit=int(limit[1]) if limit else None)
        raise error_class(status, code, message)(code, status, message, texts)
    return answer


def error_class(status: int, code: int | None, message: str) -> type[APIError]:
    """Which error a refusal is: by the status where it is certain, then by the text, the code, the status."""
    if status >= 500:
        return ServerError
    if status == 401 or code in (98, 99):
        return AuthenticationError
    for pattern, error in BY_TEXT:
        if pattern.search(message):
            return error
    return BY_CODE.get(code) or BY_STATUS.get(status) or APIError


def parse_retry_after(header: str | None, now: float) -> float | None:
    """Parse a `Retry-After` header, seconds or an HTTP date, as seconds to wait. RFC 9110, 10.2.3"""
    if not header:
        return None
    seconds = as_float(header)
    if seconds is None:
        from email.utils import parsedate_to_datetime

        try:
            date = parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return None
        seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
    return max(0.0, seconds)


def _parse_errors(answer: Mapping[str, JSON], secrets: Sequence[str]) -> list[tuple[int | None, str]]:
    """Parse the code and the text of each error; a bare text has no code."""
    listed = answer.get("errors")
    errors: list[tuple[int | None, str]] = []
    for error in as_rows(listed) or ([listed] if isinstance(listed, str) else []):
        row = error if isinstance(error, dict) else {"message": error}
        code, message = row.get("code"), row.get("message")
        if code not in NOTHING or message not in NOTHING:
            number = None if "%" in as_text(code) else as_int(code)  # as_int also reads percentages
            errors.append((number, remove_secrets(as_text(message), secrets)))
    return errors
