"""Reads the account's list of tasks for searches that need it whole.

After a restart many runs are searched for at once. They share their readings: who asks while one is under way gets the
next one, which begins after the question. Pages overlap by one row, as only that shows that none was skipped.
"""

from __future__ import annotations

from collections import defaultdict

import anyio
import attrs

from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._protocol.journal.absence import Listing
from wiro_async._protocol.submission.seen_ids import number_of
from wiro_async._protocol.submission.task_matching import name_of
from wiro_async._records.task_info import TaskInfo
from wiro_async._tuning import Tuning


@attrs.define(eq=False)
class _Reading:
    bounds: list[int] = attrs.field(factory=list[int])
    listing: Listing | None = None


@attrs.define(eq=False)
class _Readings:
    next: _Reading = attrs.field(factory=_Reading)
    lock: anyio.Lock = attrs.field(factory=anyio.Lock)


class ListReader:
    """Reads lists of tasks."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._readings: defaultdict[str, _Readings] = defaultdict(_Readings)  # by account

    async def read(self, calls: TaskCalls, bound: int) -> Listing:
        """Read the list, down to an id that is not above the bound or to its end. Raises `WiroError`."""
        readings = self._readings[calls.client.account]
        reading = readings.next
        reading.bounds.append(bound)
        async with readings.lock:
            if reading.listing is None:
                readings.next = _Reading()
                reading.listing = await self._read(calls, min(reading.bounds))
            return reading.listing

    async def head(self, calls: TaskCalls) -> Listing:
        """Read the newest tasks. Raises `WiroError`."""
        page = await calls.page(0, self._tuning.search_head)
        return Listing(tuple({name_of(row): row for row in page}.values()), has_end=False)

    async def _read(self, calls: TaskCalls, bound: int) -> Listing:
        rows: dict[str, TaskInfo] = {}
        is_contiguous, has_end = True, False
        for _ in range(self._tuning.search_max_pages):
            page = {name_of(row): row for row in await calls.page(max(0, len(rows) - 1), self._tuning.search_page)}
            if rows and page.keys().isdisjoint(rows):
                is_contiguous = False
            if page.keys() <= rows.keys():
                has_end = True
                break
            rows |= {name: row for name, row in page.items() if name not in rows}
            last = number_of(next(reversed(rows.values())).id)
            if last is not None and last <= bound and Listing(tuple(rows.values()), is_contiguous).reaches(bound):
                break
        oldest = await calls.page(0, 1, oldest_first=True) if has_end and rows else []
        return Listing(tuple(rows.values()), is_contiguous, has_end, oldest[0].id if oldest else None)
