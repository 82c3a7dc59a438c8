"""Reads the lists of the service page by page. Their totals and page lengths cannot be trusted."""

from __future__ import annotations

import attrs

SURE = 20  # by its documentation the service gives at least this many rows in a page that is not the last


@attrs.define
class Pages:
    """Where the next page starts, and whether there is one."""

    size: int  # how many rows to ask for. The service may give fewer.
    start: int = 0
    _longest: int = 0

    def is_last(self, rows: int, total: int | None = None) -> bool:
        """Move on after a page of this many rows. A total below the number of rows read so far is ignored."""
        self.start += rows
        self._longest = max(self._longest, rows)
        if total is not None and total >= self.start:
            return not rows or total == self.start
        return rows < max(1, self._longest, min(self.size, SURE))
