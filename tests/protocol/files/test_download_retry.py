"""The decision after an attempt to download a file."""

from __future__ import annotations

import pytest

from wiro_async._protocol.files.download_retry import Action, Done, GiveUp, RetryBudget, RetryDownload
from wiro_async._protocol.files.transfer import Broken, Complete, Failure, Late, Refused, Wrong
from wiro_async._tuning import Tuning

TUNING = Tuning()
SIZE = 200_000
STEP = SIZE // 50
LATE, BROKEN, WRONG = Late("HTTP 404"), Broken("reset"), Wrong("other size")


def exhausted(reason: str) -> GiveUp:
    """The end of a download without progress."""
    return GiveUp(f"could not be fetched whole: {reason}; try the download again later")


@pytest.mark.parametrize(
    "past, outcome, received, now, action",
    [
        # An attempt that settles it, whatever was before.
        ([], Complete(), SIZE, 0.0, Done()),
        ([BROKEN] * 7, Complete(), SIZE, 999.0, Done()),
        ([], Refused("answered HTTP 403"), 0, 0.0, GiveUp("answered HTTP 403")),
        # A late file: the wait doubles, up to 10 s and to the end of the 180 s.
        ([], LATE, 0, 0.0, RetryDownload("HTTP 404", 0.25)),
        ([LATE], LATE, 0, 1.0, RetryDownload("HTTP 404", 0.5)),
        ([LATE] * 2, LATE, 0, 2.0, RetryDownload("HTTP 404", 1.0)),
        ([LATE] * 3, LATE, 0, 3.0, RetryDownload("HTTP 404", 2.0)),
        ([LATE] * 4, LATE, 0, 10.0, RetryDownload("HTTP 404", 4.0)),
        ([LATE] * 5, LATE, 0, 20.0, RetryDownload("HTTP 404", 8.0)),
        ([LATE] * 6, LATE, 0, 60.0, RetryDownload("HTTP 404", 10.0)),
        ([LATE] * 99, LATE, 0, 60.0, RetryDownload("HTTP 404", 10.0)),
        ([LATE] * 7, LATE, 0, 179.0, RetryDownload("HTTP 404", 1.0)),
        ([LATE] * 8, LATE, 0, 180.0, exhausted("HTTP 404")),
        # The server asks for more time.
        ([], Late("HTTP 503", 7.0), 0, 0.0, RetryDownload("HTTP 503", 7.0)),
        ([], Late("HTTP 503", 14.0), 0, 0.0, RetryDownload("HTTP 503", 14.0)),
        ([], Late("HTTP 503", 3600.0), 0, 0.0, RetryDownload("HTTP 503", 180.0)),
        ([], Late("HTTP 503", 0.0), 0, 0.0, RetryDownload("HTTP 503", 0.25)),
        # Broken transfers: eight in a row without progress.
        ([], BROKEN, 0, 0.0, RetryDownload("reset", 0.25)),
        ([BROKEN] * 6, BROKEN, 0, 6.0, RetryDownload("reset", 10.0)),
        ([BROKEN] * 7, BROKEN, 0, 7.0, exhausted("reset")),
        ([BROKEN] * 7, LATE, 0, 7.0, RetryDownload("HTTP 404", 10.0)),
        # A size that cannot be right counts three times.
        ([WRONG], WRONG, 0, 1.0, RetryDownload("other size", 0.5)),
        ([WRONG] * 2, WRONG, 0, 2.0, exhausted("other size")),
        ([WRONG] * 2, BROKEN, 0, 2.0, RetryDownload("reset", 1.0)),
        # Clearly more than ever before: everything starts again, and at once. Less than that is no progress.
        ([BROKEN] * 7, BROKEN, STEP, 100.0, RetryDownload("reset", 0.0)),
        ([BROKEN] * 7, BROKEN, STEP - 1, 100.0, exhausted("reset")),
        ([LATE] * 9, BROKEN, STEP, 500.0, RetryDownload("reset", 0.0)),
    ],
)
def test_what_follows(
    past: list[Failure], outcome: Complete | Failure, received: int, now: float, action: Action
) -> None:
    """Late files have three minutes, broken transfers some attempts; progress renews both."""
    budget = RetryBudget(TUNING, 0.0)
    for failure in past:
        budget.decide(failure, 0, SIZE, 0.0, 0.0)
    assert budget.decide(outcome, received, SIZE, now, 0.0) == action


def test_the_budget_after_progress() -> None:
    """It restarts with progress. Bytes count as progress once."""
    budget = RetryBudget(TUNING, 0.0)
    assert budget.decide(BROKEN, STEP, SIZE, 100.0, 0.0) == RetryDownload("reset", 0.0)
    assert budget.decide(BROKEN, STEP, SIZE, 100.0, 0.0) == RetryDownload("reset", 0.25)
    assert budget.decide(LATE, STEP, SIZE, 279.0, 0.0) == RetryDownload("HTTP 404", 0.5)
    assert budget.decide(LATE, STEP, SIZE, 280.0, 0.0) == exhausted("HTTP 404")


def test_a_large_file_and_one_of_unknown_size() -> None:
    """64 KiB are progress for the first, one byte for the second."""
    assert RetryBudget(TUNING, 0.0).decide(BROKEN, 65_535, 10**9, 0.0, 0.0) == RetryDownload("reset", 0.25)
    assert RetryBudget(TUNING, 0.0).decide(BROKEN, 65_536, 10**9, 0.0, 0.0) == RetryDownload("reset", 0.0)
    assert RetryBudget(TUNING, 0.0).decide(BROKEN, 1, None, 0.0, 0.0) == RetryDownload("reset", 0.0)
    assert RetryBudget(TUNING, 0.0).decide(BROKEN, 0, None, 0.0, 0.0) == RetryDownload("reset", 0.25)


def test_waiting_for_a_turn_does_not_count() -> None:
    """It also does not make a file late."""
    budget = RetryBudget(TUNING, 0.0)
    budget.extend(1000.0)
    assert budget.decide(LATE, 0, None, 1000.0, 0.0) == RetryDownload("HTTP 404", 0.25)
    assert budget.decide(LATE, 0, None, 1180.0, 0.0) == exhausted("HTTP 404")


def test_jitter() -> None:
    """Half of each wait is random."""
    assert RetryBudget(TUNING, 0.0).decide(LATE, 0, None, 0.0, 1.0) == RetryDownload("HTTP 404", 0.125)
