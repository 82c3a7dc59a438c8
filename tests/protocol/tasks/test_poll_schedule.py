"""When a task is polled: one table for the next read, and one for giving up. No loop."""

from __future__ import annotations

import pytest

from wiro_async import Tuning
from wiro_async._protocol.tasks.poll_schedule import NEVER, Failure, PollSchedule

TUNING = Tuning()


def schedule(
    *, feed: bool, heard: bool = False, polls: int = 0, confirmations: int = 0, false_reports: int = 0
) -> PollSchedule:
    """The schedule of a task that is followed since time 0, after some reads."""
    found = PollSchedule(TUNING, 0.0)
    found.set_feed(feed)
    for number in range(false_reports):
        most = TUNING.poll_confirmations if number == 0 else TUNING.poll_confirmations_doubted
        for _ in range(most):
            found.begin_read(True)
        assert found.check_report()
    found.restart()
    for _ in range(polls):
        found.begin_read(False)
    for _ in range(confirmations):
        found.begin_read(True)
    if heard:
        found.hear()
    return found


@pytest.mark.parametrize(
    "found, now, reported, seconds",
    [
        # A feed that has brought nothing yet: one early read, then rarely.
        (schedule(feed=True), 0.0, False, 0.5),
        (schedule(feed=True, polls=1), 1.0, False, 2.0),
        (schedule(feed=True, polls=2), 3.0, False, 4.0),
        (schedule(feed=True, polls=9), 300.0, False, 30.0),
        # A feed that speaks.
        (schedule(feed=True, heard=True), 5.0, False, 2.0),
        (schedule(feed=True, heard=True, polls=1), 5.0, False, 4.0),
        (schedule(feed=True, heard=True, polls=60), 5.0, False, 30.0),
        # No feed: a tenth of the time waited so far.
        (schedule(feed=False), 0.0, False, 0.5),
        (schedule(feed=False, polls=7), 60.0, False, 6.0),
        (schedule(feed=False, polls=99), 86_400.0, False, 30.0),
        # A report of the end: at once, then every half second, whatever the feed.
        (schedule(feed=True, heard=True), 5.0, True, 0.0),
        (schedule(feed=False, polls=20), 500.0, True, 0.0),
        (schedule(feed=True, confirmations=1), 5.0, True, 0.5),
        (schedule(feed=False, confirmations=9), 5.0, False, 0.5),
        # Reports after false ones wait longer and longer.
        (schedule(feed=True, heard=True, false_reports=1), 60.0, True, 4.0),
        (schedule(feed=True, heard=True, false_reports=2), 60.0, True, 8.0),
        (schedule(feed=True, heard=True, false_reports=6), 60.0, True, 30.0),
    ],
)
def test_the_next_read(found: PollSchedule, now: float, reported: bool, seconds: float) -> None:
    """In seconds from now, with no jitter in the middle of the random numbers, and a tenth on either side."""
    assert found.interval(now, reported, 0.5) == pytest.approx(seconds)
    assert found.interval(now, reported, 0.0) == pytest.approx(0.9 * seconds)
    assert found.interval(now, reported, 1.0) == pytest.approx(min(30.0, 1.1 * seconds))


@pytest.mark.parametrize(
    "failure, exists, reads, seconds",
    [
        # Nothing is known of the task: the service is believed after three refusals in five seconds.
        ("unknown", False, 3, 5.0),
        ("denied", False, 3, 5.0),
        ("unlisted", False, 3, 30.0),
        # It certainly exists: a key may be refused for a while, and "no such task" is hard to believe.
        ("denied", True, 6, 30.0),
        ("unknown", True, 6, 600.0),
        ("unlisted", True, 6, 600.0),
        # Reads that fail say nothing about the task.
        ("failed", False, 2, 600.0),
        ("failed", True, 2, 600.0),
    ],
)
def test_giving_up(failure: Failure, exists: bool, reads: int, seconds: float) -> None:
    """Only after so many failures in a row, and after so long a time."""
    soon = PollSchedule(TUNING, 0.0)
    assert not any(soon.gives_up(1.0 + number * 0.01, failure, exists) for number in range(reads))
    assert soon.gives_up(1.01 + seconds, failure, exists)
    few = PollSchedule(TUNING, 0.0)
    assert not any(few.gives_up(1.0 + number * seconds, failure, exists) for number in range(1))
    read_between = PollSchedule(TUNING, 0.0)
    for number in range(3 * reads):
        assert not read_between.gives_up(1.0 + number * seconds, failure, exists)
        read_between.succeeded()


@pytest.mark.parametrize(
    "found, moved_at, reported, until",
    [
        (schedule(feed=True, heard=True), 10.0, False, 10.0 + 0.9 * 2.0),
        (schedule(feed=True, heard=True, polls=3), 10.0, False, 10.0 + 0.9 * 16.0),
        (schedule(feed=True, heard=True, polls=3), 100.0, False, 30.0),  # at least a read every 30 s
        (schedule(feed=True, heard=True), 10.0, True, 0.0),
        (schedule(feed=True), 10.0, False, 0.0),
        (schedule(feed=False), 10.0, False, 0.0),
    ],
)
def test_messages_delay_reads(found: PollSchedule, moved_at: float, reported: bool, until: float) -> None:
    """For some time after each message, as long as a feed delivers them."""
    found.move(moved_at)
    assert found.quiet_until(moved_at, reported) == pytest.approx(until)


def test_a_missing_exit_code_is_worth_some_reads() -> None:
    """Ten after the first end report, three after a false one."""
    found = PollSchedule(TUNING, 0.0)
    assert [found.begin_read(True) for _ in range(10)] == [True] * 9 + [False]
    assert found.check_report()
    assert [found.begin_read(True) for _ in range(3)] == [True, True, False]
    assert found.check_report()
    assert not found.check_report()


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize(
    "failure, reads, graces",
    [
        ("unknown", (TUNING.refusals, TUNING.refusals_known), (TUNING.refusal_grace, TUNING.failing_grace)),
        ("denied", (TUNING.refusals, TUNING.refusals_known), (TUNING.refusal_grace, TUNING.refusal_grace_known)),
        ("unlisted", (TUNING.refusals, TUNING.refusals_known), (TUNING.refusal_grace_known, TUNING.failing_grace)),
    ],
)
def test_the_edges_of_giving_up(
    failure: Failure, reads: tuple[int, int], graces: tuple[float, float], exists: bool
) -> None:
    """Both the number of refusals and the time must be reached, and reaching them is enough."""
    enough, grace = reads[exists], graces[exists]
    early, late, few = (PollSchedule(TUNING, 0.0) for _ in range(3))
    for number in range(enough - 1):
        for found in (early, late):
            assert not found.gives_up(1.0, failure, exists), number
    assert not early.gives_up(1.0 + grace - 0.001, failure, exists)
    assert late.gives_up(1.0 + grace, failure, exists)
    assert not any(few.gives_up(1.0 + number * 10 * grace, failure, exists) for number in range(enough - 1))


def test_reads_that_fail_end_the_wait_after_their_grace() -> None:
    """Counted from the first one, and anew after a success."""
    found = PollSchedule(TUNING, 0.0)
    assert not found.gives_up(1.0, "failed", True)
    assert not found.gives_up(1.0 + TUNING.failing_grace - 0.001, "failed", True)
    assert found.gives_up(1.0 + TUNING.failing_grace, "failed", True)
    found.succeeded()
    assert not found.gives_up(1.0 + TUNING.failing_grace, "failed", True)


def test_a_read_between_ends_a_row_of_refusals() -> None:
    """The time counts from the first refusal of the present row, and the count begins at one."""
    found = PollSchedule(TUNING, 0.0)
    for _ in range(TUNING.refusals - 1):
        assert not found.gives_up(1.0, "denied", False)
    found.succeeded()
    later = 1.0 + 10 * TUNING.refusal_grace
    for _ in range(TUNING.refusals):
        assert not found.gives_up(later, "denied", False)
    assert found.gives_up(later + TUNING.refusal_grace, "denied", False)


def test_what_is_known_of_the_reads() -> None:
    """The poller and the statistics look at it."""
    found = PollSchedule(TUNING, 7.0)
    assert (found.read_at, found.moved_at, found.due, found.is_reading) == (7.0, 7.0, NEVER, False)
    assert (found.has_feed, found.was_heard, found.is_confirming, found.false_reports) == (False, False, False, 0)
    found.plan(8.0)
    found.set_feed(True)
    found.hear()
    found.move(8.5)
    assert (found.due, found.has_feed, found.was_heard, found.moved_at) == (8.0, True, True, 8.5)
    found.begin_read(True)
    assert (found.is_reading, found.is_confirming) == (True, True)
    found.end_read(9.0)
    assert (found.is_reading, found.read_at) == (False, 9.0)
    for _ in range(TUNING.poll_confirmations - 1):
        assert not found.check_report()
        found.begin_read(True)
    assert found.check_report()
    assert (found.is_confirming, found.false_reports) == (False, 1)


def test_each_read_and_each_false_report_makes_the_next_ones_rarer() -> None:
    """By one step. A lost feed brings the first pace back, a callback the pace after many reads."""
    found = PollSchedule(TUNING, 0.0)
    found.set_feed(True)
    found.hear()

    def seconds() -> float:
        return found.interval(0.0, False, 0.5)

    paces = [seconds()]
    for _ in range(2):
        found.begin_read(False)
        paces.append(seconds())
    assert paces == [2.0, 4.0, 8.0]
    for _ in range(TUNING.poll_confirmations):
        found.begin_read(True)
    assert found.check_report()
    assert seconds() == 16.0
    found.restart()
    assert seconds() == 2.0
    found.slow_down()
    assert seconds() == min(TUNING.poll_max_silence, TUNING.poll_silence * 2.0**TUNING.callback_polls)


def test_a_feed_that_lags_still_delays_a_read() -> None:
    """By the pace of the task, less the jitter. Without a feed nothing is delayed."""
    found = schedule(feed=True, heard=True, polls=1)
    found.move(100.0)
    found.end_read(99.0)
    assert found.quiet_until(100.0, False) == pytest.approx(100.0 + 0.9 * 4.0)
    assert found.quiet_until(100.0, True) == 0.0
