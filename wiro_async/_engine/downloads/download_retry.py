"""When a file that does not come is asked for again, and when no more."""

from __future__ import annotations

import attrs

from wiro_async._errors import DownloadError
from wiro_async._protocol.http.retry import RetryPolicy

LAG_SECONDS = 180.0  # for so long after a task's success its files may not be there yet
MAX_FAILURES = 8  # broken transfers in a row, none of which brought anything new
PACE = RetryPolicy(base=0.25, cap=10.0)
LATE = DownloadError("not there yet")
STEP_BYTES, STEP_SHARE = 64 * 1024, 0.02  # so much more, in bytes or of the whole, is progress


@attrs.define
class Patience:
    """Times are given by the caller. Whenever clearly more of the file has come than ever before, patience is new.

    Args:
        since: the time of the first attempt; later, if it had to wait.
    """

    since: float
    _furthest: int = 0
    _attempts: int = 0
    _failures: int = 0

    def delay(
        self,
        now: float,
        received: int,
        total: int | None,
        random: float,
        *,
        weight: int = 0,
        asked: float | None = None,
    ) -> float | None:
        """Seconds until the next attempt; None if there is to be none.

        Args:
            received, total: how many bytes of the file there are here, and on its server.
            random: between 0 and 1.
            weight: how bad the last attempt was; 0 if the file is only late.
            asked: seconds that the server asked for, granted as far as patience reaches.
        """
        if received - self._furthest >= max(1.0, min(STEP_BYTES, STEP_SHARE * (total or 0))):
            self.since, self._furthest, self._attempts, self._failures = now, received, 0, 0
            return 0.0
        self._attempts += 1
        self._failures += weight
        left = self.since + LAG_SECONDS - now
        if left <= 0 or self._failures >= MAX_FAILURES:
            return None
        return min(left, max(PACE.delay(LATE, self._attempts, random), asked or 0.0))
