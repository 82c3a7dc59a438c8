"""What all requests of a session share: a pause after HTTP 429, and what is known of the service's clock."""

from __future__ import annotations

import anyio

from wiro_async._engine.background.change import Change
from wiro_async._errors import SessionClosedError
from wiro_async._transport import clock


class Throttle:
    """Holds requests back after a 429, and ends the pauses between attempts when the session closes."""

    def __init__(self) -> None:
        self._open_at = 0.0
        self._closed = Change()
        self._is_closed = False

    def hold(self, seconds: float) -> None:
        """Let no request leave for some seconds."""
        # Several responses may ask for pauses at once: the longest counts.
        self._open_at = max(self._open_at, clock.loop_time() + seconds)

    async def wait(self) -> None:
        """Wait until requests may leave. Raises `SessionClosedError` if the session is closed meanwhile."""
        # Another 429 may have come during the pause, so the time is checked again.
        while (seconds := self._open_at - clock.loop_time()) > 0:
            await self.pause(seconds)

    async def pause(self, seconds: float) -> None:
        """Wait between two attempts. Raises `SessionClosedError` if the session is closed meanwhile."""
        with anyio.move_on_after(seconds):
            await self._closed.until(lambda: self._is_closed)
            raise SessionClosedError("the session was closed while a request waited to be repeated")

    def close(self) -> None:
        """End all pauses."""
        self._is_closed = True
        self._closed.notify()


class ServerClock:
    """The service's clock, by the last `Date` header. A jump of this machine's clock does not change it."""

    def __init__(self) -> None:
        self._date: tuple[str, float] | None = None

    def at(self, moment: float) -> float | None:
        """The unix time of the service at a moment of `clock.monotonic`; None if no response has shown its clock."""
        if self._date is None:
            return None
        from email.utils import parsedate_to_datetime

        date, seen_at = self._date
        try:
            return parsedate_to_datetime(date).timestamp() + moment - seen_at
        except ValueError:
            return None

    def observe(self, date: str | None) -> None:
        """Keep the `Date` header of a response that came just now. It is parsed only when somebody asks."""
        if date:
            self._date = date, clock.monotonic()
