"""What ids say about the order of tasks."""

from __future__ import annotations

import pytest

from wiro_async._protocol.submission.seen_ids import SeenIds, number_of, run_upward


@pytest.mark.parametrize(
    "task_id, number",
    [("0", 0), ("3066517", 3066517), ("9" * 18, 10**18 - 1), ("9" * 19, None), ("", None), (None, None)]
    + [(text, None) for text in ("ab-1", "-1", "1.0", " 1", "١٢", "²")],
)
def test_the_number_of_an_id(task_id: str | None, number: int | None) -> None:
    """Only plain digits are one."""
    assert number_of(task_id) == number


def test_the_largest_id() -> None:
    """The order in which ids are seen does not matter. Ids that are no numbers are passed over."""
    ids = SeenIds()
    for task_id in ("x", "12", "9", None, "100", "99"):
        ids.observe(task_id)
    assert ids.largest == 100
    assert ids.run_upward is None


@pytest.mark.parametrize(
    "made, run_upward",
    [
        pytest.param([("5", None)], None, id="the first task has nothing to be compared with"),
        pytest.param([("5", 4)], True, id="larger than all before"),
        pytest.param([("5", 4), ("4", 4)], False, id="one contradicts"),
        pytest.param([("4", 4), ("5", 4)], False, id="a contradiction is not forgotten"),
        pytest.param([("5", 4), ("ab-1", 5)], False, id="one is no number"),
        pytest.param([("", 4)], False, id="no id at all"),
    ],
)
def test_own_tasks_test_the_order(made: list[tuple[str, int | None]], run_upward: bool | None) -> None:
    """The order is relied upon once an own task shows it, and never again once one contradicts."""
    ids = SeenIds()
    for task_id, after in made:
        ids.made(task_id, after)
    assert ids.run_upward is run_upward


@pytest.mark.parametrize(
    "tasks, shown",
    [
        ([], None),
        ([(4, "5")], True),
        ([(5, "5")], False),
        ([(6, "5")], False),
        ([(4, "5"), (5, "6"), (1, "9")], True),
        ([(4, "5"), (6, "6")], False),
        ([(4, "a-uuid")], False),
        ([(4, "")], False),
    ],
)
def test_tasks_of_a_journal_test_the_order(tasks: list[tuple[int, str]], shown: bool | None) -> None:
    """All of them must have larger ids than were known before."""
    assert run_upward(iter(tasks)) is shown


def test_the_latest_id_counts_as_seen() -> None:
    """A task that was made is known before the next one is sent."""
    ids = SeenIds()
    ids.made("5", 4)
    assert ids.largest == 5
    ids.observe("5")
    ids.observe("4")
    assert ids.largest == 5
    ids.made("7", 5)
    assert (ids.largest, ids.run_upward) == (7, True)
