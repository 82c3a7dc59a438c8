"""What the ids of an account's tasks say about their order.

Clocks jump, and lists show whole seconds. Ids seem to be running numbers, which would show without any clock whether a
task is older than a request. The service does not promise it, so the session compares each task that it makes with the
ids that it saw before, and relies on the order only where its own tasks show it.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

MOST_DIGITS = 18  # a longer number is a random one


def number_of(task_id: str | None) -> int | None:
    """The number that an id is; None if it is none."""
    if not task_id or len(task_id) > MOST_DIGITS or not (task_id.isascii() and task_id.isdigit()):
        return None
    return int(task_id)


def run_upward(tasks: Iterable[tuple[int, str]]) -> bool | None:
    """Whether tasks show that later ones have larger ids; None if there are none.

    Args:
        tasks: the largest id that was known before the run was sent, and the id of its task.
    """
    shown = [(number := number_of(task_id)) is not None and number > after for after, task_id in tasks]
    return all(shown) if shown else None


@attrs.define
class SeenIds:
    """The ids that were seen of one account.

    Attributes:
        largest: the largest number among them; None if none was a number.
        run_upward: whether tasks made later have larger ids. None while no own task has shown it.
    """

    largest: int | None = None
    run_upward: bool | None = None

    def observe(self, task_id: str | None) -> None:
        """The service has shown a task with this id."""
        number = number_of(task_id)
        if number is not None and (self.largest is None or number > self.largest):
            self.largest = number

    def made(self, task_id: str | None, after: int | None) -> None:
        """A run has become a task.

        Args:
            after: the largest id that was seen before the run was sent.
        """
        number = number_of(task_id)
        if number is None or (after is not None and number <= after):
            self.run_upward = False
        elif after is not None and self.run_upward is None:
            self.run_upward = True
        self.observe(task_id)
