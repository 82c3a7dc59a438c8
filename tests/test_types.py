"""Timeouts. Files are tested where they are read."""

from wiro_async._types import Timeouts, merge_timeouts


def test_timeouts_from_user_values() -> None:
    """A number is the run's timeout, None the default, and `Timeouts` is used unchanged."""
    default = Timeouts(request=5.0, idle=7.0)
    assert merge_timeouts(None, default) is default
    assert merge_timeouts(60, default) == Timeouts(request=5.0, run=60, idle=7.0)
    mine = Timeouts(queue=1.0)
    assert merge_timeouts(mine, default) is mine


def test_a_queue_timeout_for_one_run() -> None:
    """It replaces the one that was there, if it is given."""
    mine = Timeouts(queue=1.0)
    assert merge_timeouts(mine, Timeouts(), 2.0) == Timeouts(queue=2.0)
    assert merge_timeouts(mine, Timeouts(), None) == mine
