"""Lists that the service gives page by page, whatever it tells of their length."""

from __future__ import annotations

import attrs

SURE = 20  # as many rows as the service gives at a time in any case, by its documentation


@attrs.define
class Pages:
    """Where the next page starts, and whether there is one.

    Args:
        size: how many rows are asked for at a time; the service may give fewer.
    """

    size: int
    start: int = 0
    _longest: int = 0

    def is_last(self, rows: int, total: int | None = None) -> bool:
        """Note a page of so many rows. A total that is less than what has come already is none."""
        self.start += rows
        self._longest = max(self._longest, rows)
        if total is not None and total >= self.start:
            return not rows or total == self.start
        return rows < max(1, self._longest, min(self.size, SURE))
