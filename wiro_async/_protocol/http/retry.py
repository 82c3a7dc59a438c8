"""When a request is repeated, and what an error response proves."""

from __future__ import annotations

import attrs

from wiro_async._errors import APIError, DecodingError, RateLimitError, TransportError, WiroError
from wiro_async._public import public

# The service, or something before it, says no with these: the request was not carried out. Any other status may come
# from something between us and the service that lost the response, and proves nothing about the request.
REFUSALS = frozenset(
    {200, 400, 401, 402, 403, 404, 405, 406, 407, 411, 413, 414, 415, 417, 421, 422, 426, 428, 429, 431, 451, 511}
)
# From 520 on: a content delivery network reports trouble with the service behind it.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529, 530})


@public
@attrs.frozen
class RetryPolicy:
    """How often and when requests are repeated. A run that may have arrived is never repeated.

    Args:
        attempts: the most attempts, the first included.
        base: seconds before the first repetition; doubles with each one.
        cap: the most seconds between two attempts, even if `Retry-After` asks for more.
        jitter: the random share of each pause, 0 to 1.
        statuses: HTTP statuses that are worth another attempt.
    """

    attempts: int = 5
    base: float = 0.5
    cap: float = 30.0
    jitter: float = 0.5
    statuses: frozenset[int] = TRANSIENT

    def allows(self, error: WiroError, attempt: int) -> bool:
        """Whether attempt number `attempt` (from 1) that ended in `error` may be followed by another."""
        if attempt >= self.attempts:
            return False
        match error:
            case TransportError():
                return not error.permanent
            case DecodingError():
                # A success in a form that is none of the service's comes from something in between.
                return error.http_status is None or error.http_status < 300 or error.http_status in self.statuses
            case APIError():
                return error.http_status in self.statuses
        return False

    def delay(self, error: WiroError, attempt: int, random: float) -> float:
        """Seconds to wait after attempt number `attempt`; `random` is between 0 and 1."""
        asked = error.retry_after if isinstance(error, RateLimitError) else None
        backoff = min(self.cap, self.base * 2.0 ** min(attempt - 1, 30)) * (1 - self.jitter * random)
        return min(self.cap, max(backoff, asked or 0.0))


def is_refusal(error: APIError) -> bool:
    """Whether an error proves that the request was not carried out."""
    return error.http_status is None or error.http_status in REFUSALS
