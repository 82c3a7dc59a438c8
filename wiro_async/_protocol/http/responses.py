"""What comes back: the envelope, and the error it stands for. https://wiro.ai/docs/error-codes"""

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
    WiroError,
)
from wiro_async._protocol.values.json import JSON, decode_or_none
from wiro_async._protocol.values.parsing import as_float, as_int, as_rows, as_text
from wiro_async._redaction import without

SHOWN_BODY = 120
TOO_MANY_TASKS = 96
NOTHING = (None, "")
UP_TO_N_TASKS = re.compile(r"up to (\d+) task", re.IGNORECASE)

# Where the code is 0, 1 or none, the text is all that tells errors apart. First match wins.
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
    status: int, headers: Mapping[str, str], body: bytes, now: float, secrets: Sequence[str] = ()
) -> dict[str, JSON]:
    """The answer as a mapping. Raises the error that the answer stands for.

    Args:
        now: the unix time, for a `Retry-After` that is a date.
        secrets: what must not be in an error, even if the answer repeats it.
    """
    answer = decode_or_none(body)
    told = _errors(answer, secrets) if isinstance(answer, dict) else []
    if status == 429 and all(code != TOO_MANY_TASKS for code, _ in told[:1]):
        wait = parse_retry_after(headers.get("retry-after"), now)
        code, message = told[0] if told else (None, "")
        raise RateLimitError(code, 429, message or "too many requests", [text for _, text in told], retry_after=wait)
    if not isinstance(answer, dict):
        raise _not_an_answer(status, body, secrets)
    result = as_text(answer.get("result")).strip().lower()
    if status >= 300 or result in ("false", "0") or (told and result not in ("true", "1")):
        raise _api_error(status, told)
    return answer


def parse_retry_after(header: str | None, now: float) -> float | None:
    """Seconds to wait by a `Retry-After` header, seconds or HTTP date (RFC 9110, 10.2.3)."""
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


def _errors(answer: Mapping[str, JSON], secrets: Sequence[str]) -> list[tuple[int | None, str]]:
    told = answer.get("errors")
    errors: list[tuple[int | None, str]] = []
    for error in as_rows(told) or ([told] if isinstance(told, str) else []):
        one = error if isinstance(error, dict) else {"message": error}
        code, message = one.get("code"), one.get("message")
        if code not in NOTHING or message not in NOTHING:
            errors.append((_code(code), without(as_text(message), secrets)))
    return errors


def _code(told: JSON) -> int | None:
    return None if "%" in as_text(told) else as_int(told)


def _api_error(status: int, errors: list[tuple[int | None, str]]) -> WiroError:
    code, message = errors[0] if errors else (None, "")
    message = message or f"HTTP {status} without an explanation"
    texts = [text for _, text in errors]
    if code == TOO_MANY_TASKS:
        limit = UP_TO_N_TASKS.search(message)
        return ConcurrencyLimitError(code, status, message, texts, limit=int(limit[1]) if limit else None)
    return _error_class(status, code, message)(code, status, message, texts)


def _error_class(status: int, code: int | None, message: str) -> type[APIError]:
    if status >= 500:
        return ServerError
    if status == 401 or code in (98, 99):
        return AuthenticationError
    for pattern, error in BY_TEXT:
        if pattern.search(message):
            return error
    return BY_CODE.get(code) or BY_STATUS.get(status) or APIError


def _not_an_answer(status: int, body: bytes, secrets: Sequence[str]) -> WiroError:
    text = without(" ".join(body.decode(errors="replace").split()), secrets)
    shown = f"{len(body)} bytes of broken or unknown JSON" if text[:1] in '{["' else repr(text[:SHOWN_BODY])
    return DecodingError(
        f"HTTP {status} came with {shown if text else 'an empty body'} instead of an answer", http_status=status
    )
