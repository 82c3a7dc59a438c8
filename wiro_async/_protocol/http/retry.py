"""When a harmless call is made again."""

from __future__ import annotations

import attrs

from wiro_async._errors import APIError, DecodingError, RateLimitError, TransportError, WiroError
from wiro_async._public import public

# What says that a call was heard and not heeded; other statuses may come of something between us and the service.
REFUSALS = frozenset({200, 400, 401, 402, 403, 404, 405, 406, 411, 413, 414, 415, 422, 429, 431, 451})
# From 520 on: what a content delivery network says of the service behind it.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529, 530})


@public
@attrs.frozen
class RetryPolicy:
    """How calls that may be repeated are repeated. A run is never among them.

    Args:
        attempts: how often a call is made at most, the first included.
        base: seconds before the first repetition; doubled every time.
        cap: the most seconds between two, also where `Retry-After` asks for more.
        jitter: the random share of each wait, 0 to 1.
        statuses: HTTP statuses that are worth another attempt.
    """

    attempts: int = 5
    base: float = 0.5
    cap: float = 30.0
    jitter: float = 0.5
    statuses: frozenset[int] = PASSING

    def allows(self, error: WiroError, attempt: int) -> bool:
        """Whether attempt number `attempt` (from 1) that ended in `error` may be followed by another."""
        return attempt < self.attempts and self._is_passing(error)

    def delay(self, error: WiroError, attempt: int, random: float) -> float:
        """Seconds to wait after attempt number `attempt`; `random` is between 0 and 1."""
        asked = error.retry_after if isinstance(error, RateLimitError) else None
        wait = min(self.cap, self.base * 2.0 ** min(attempt - 1, 30))
        wait *= 1 - self.jitter * random
        return min(self.cap, max(wait, asked or 0.0))

    def _is_passing(self, error: WiroError) -> bool:
        match error:
            case TransportError():
                return not error.permanent
            case DecodingError():
                return error.http_status is None or error.http_status < 300 or error.http_status in self.statuses
            case APIError():
                return error.http_status in self.statuses
        return False


def is_refusal(error: APIError) -> bool:
    """Whether it proves that what was asked for was not done."""
    return error.http_status is None or error.http_status in REFUSALS
