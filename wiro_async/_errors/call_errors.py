"""Errors of one call: the network lost it, a proxy answered, or the service refused it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, Unpack

from wiro_async._errors.base import TaskFacts, WiroError
from wiro_async._redaction import redact


class TransportError(WiroError):
    """The request or its response was lost on the way.

    Attributes:
        sent: whether any byte of the request may have left. False only where it provably did not.
        permanent: whether another attempt would fail the same way, as with a certificate that is not trusted.
        incomplete: whether the request's streamed body ended early, so that at most half a request has arrived. A
            server that follows HTTP does not act on it. False where that is not certain.
    """

    def __init__(
        self,
        message: str = "",
        *,
        sent: bool = True,
        permanent: bool = False,
        incomplete: bool = False,
        **facts: Unpack[TaskFacts],
    ) -> None:
        super().__init__(message, **facts)
        self.sent = sent
        self.permanent = permanent
        self.incomplete = incomplete

    def with_incomplete(self, incomplete: bool) -> Self:
        """State whether the body ended early, and return the error."""
        self.incomplete = incomplete
        return self


class ConnectionFailedError(TransportError):
    """The connection could not be made, or broke."""


class RequestTimeoutError(TransportError, TimeoutError):
    """One HTTP call had no response within the `request` timeout.

    Attributes:
        phase: always "request". `TaskTimeoutError.phase` names the other timeouts.
    """

    phase = "request"


class DecodingError(WiroError):
    """The response is not of the service's protocol, such as an HTML page of a proxy.

    Attributes:
        http_status: the HTTP status of that response.
        refused: whether it refused the request before the service saw it, so that nothing was run. False where that is
            not certain.
    """

    def __init__(
        self,
        message: str = "",
        *,
        http_status: int | None = None,
        refused: bool = False,
        **facts: Unpack[TaskFacts],
    ) -> None:
        super().__init__(message, **facts)
        self.http_status = http_status
        self.refused = refused


class APIError(WiroError):
    """The service refused the call or failed.

    Attributes:
        code: the service's error code, None for errors found before sending.
        http_status: the HTTP status of the response, None for errors found before sending.
        message: the service's own words.
        errors: all errors of the response, or all problems found, as text.
    """

    def __init__(
        self,
        code: int | None = None,
        http_status: int | None = None,
        message: str = "",
        errors: Sequence[str] = (),
        **facts: Unpack[TaskFacts],
    ) -> None:
        super().__init__(message, **facts)
        self.code = code
        self.http_status = http_status
        self.message = redact(message)
        self.errors = tuple(map(redact, errors))

    def _sentence(self) -> str:
        return self.message

    def _details(self) -> tuple[str, ...]:
        code = () if self.code is None else (f"code {self.code}",)
        return code if self.http_status in (None, 200) else (*code, f"HTTP {self.http_status}")


class AuthenticationError(APIError):
    """The key, signature or bearer token was missing or not accepted."""


class PermissionDeniedError(APIError):
    """The account may not do this."""


class InvalidInputError(APIError):
    """An input is missing or wrong. `errors` lists every problem found."""

    _explained: tuple[str, ...] = ()

    def explain(self, problems: Sequence[str]) -> Self:
        """Add the problems that the model's schema shows, and return the error."""
        self._explained = tuple(redact(problem) for problem in problems)
        self.errors = (*self.errors, *self._explained)
        return self

    def _sentence(self) -> str:
        return "\n  ".join([f"{self.message}{':' * bool(self._explained)}", *self._explained])


class NotFoundError(APIError):
    """The model or task does not exist or is not accessible."""


class ConcurrencyLimitError(APIError):
    """Too many tasks at once.

    Attributes:
        limit: how many may run at once, where the service said so.
    """

    def __init__(
        self,
        code: int | None = None,
        http_status: int | None = None,
        message: str = "",
        errors: Sequence[str] = (),
        *,
        limit: int | None = None,
        **facts: Unpack[TaskFacts],
    ) -> None:
        super().__init__(code, http_status, message, errors, **facts)
        self.limit = limit


class InsufficientBalanceError(APIError):
    """The balance is too low for this run."""


class SpendLimitError(InsufficientBalanceError):
    """A spend limit of the team or of the project was reached. Waiting does not help: raise the limit."""


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
        *,
        retry_after: float | None = None,
        **facts: Unpack[TaskFacts],
    ) -> None:
        super().__init__(code, http_status, message, errors, **facts)
        self.retry_after = retry_after


class ServerError(APIError):
    """The service failed (HTTP 5xx)."""


class DownloadError(WiroError):
    """An output file could not be downloaded completely. The run itself succeeded: download again, do not run again."""
