"""Whether there is one more page."""

from __future__ import annotations

import pytest

from wiro_async._api.resources.pages import Pages


@pytest.mark.parametrize("total", [None, 0, -1, 7])
@pytest.mark.parametrize("cap", [20, 33, 100])
@pytest.mark.parametrize("rows", [0, 1, 19, 20, 50, 99, 100, 101, 240])
def test_no_row_is_missed(rows: int, cap: int, total: int | None) -> None:
    """For any page size of the service, and any impossible total."""
    pages, asked = Pages(100), 0
    while True:
        found = min(cap, max(0, rows - pages.start))
        asked += 1
        if pages.is_last(found, total):
            break
    assert pages.start == rows or (rows, total) == (7, 7)
    assert asked <= rows // cap + 2


def test_a_total_that_can_be() -> None:
    """A plausible total saves the last request. An empty page still ends the list."""
    pages = Pages(100)
    assert [pages.is_last(20, 45), pages.is_last(20, 45), pages.is_last(5, 45)] == [False, False, True]
    assert Pages(100).is_last(0, 45)
