"""Whether a run that was lost with its process has become a task: promise 1 across restarts.

The service's list is all there is to look at, and it may lag, be sorted in another way, echo parameters in another
form, and show the times of another clock. So a run is believed to have made no task only on proof, and the proof needs
a witness: a task of the same journal, submitted later, with the same model and names of parameters. Where the list
shows the witness, and shows it as we expect, and reaches back to an id from before the run was sent, it would show the
run's task too. Without a witness nothing is proven.

A task is adopted only if it is surely newer than the intent: its id is larger than all that were known then. Clocks
are not used. What looks only roughly like the run is neither adopted nor passed over: it leaves the question open.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

import attrs

from wiro_async._protocol.http.requests import form_text
from wiro_async._protocol.journal.record import Witness
from wiro_async._protocol.submission.intent import Intent, fingerprint
from wiro_async._protocol.submission.journal_keys import short
from wiro_async._protocol.submission.seen_ids import number_of
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import JSON
from wiro_async._records.task_info import TaskInfo

PREFIX = 8  # characters that two texts must share where one of them may have been cut off


@attrs.frozen
class Listing:
    """Rows of the account's list, as they were read.

    Attributes:
        rows: in the list's order, each task once.
        is_whole: whether the list ends with them.
    """

    rows: Sequence[TaskInfo]
    is_whole: bool


@attrs.frozen
class LostIntent:
    """A run of which no task is known.

    Attributes:
        values: its plain parameters.
        after_id: the largest task id that was known before it was sent; 0 if the account had no task, None if nothing
            was known.
        rivals: how many runs of the journal that look alike have no known task, this one included.
    """

    intent: Intent
    values: Mapping[str, JSON] = attrs.field(repr=False)
    after_id: int | None
    rivals: int = 1


@attrs.frozen
class Absent:
    """The run has made no task."""


@attrs.frozen
class Unproven:
    """Nothing is proven.

    Attributes:
        candidates: the tasks that may be the run's.
        reason: what the proof lacks.
    """

    candidates: tuple[TaskInfo, ...]
    reason: str


Verdict: TypeAlias = TaskRef | Absent | Unproven


def judge(
    listing: Listing,
    lost: LostIntent,
    witnesses: Sequence[Witness],
    is_claimed: Callable[[TaskInfo], bool],
    ids_run_upward: bool | None,
) -> Verdict:
    """Judge what the list says of a lost run.

    Args:
        is_claimed: whether a task belongs to somebody else.
        ids_run_upward: what the session's own tasks show; None if they show nothing.
    """
    runs_upward = _run_upward(lost.after_id, witnesses, ids_run_upward, listing.rows)
    matches: list[TaskInfo] = []
    doubtful: list[TaskInfo] = []
    for row in listing.rows:
        number = number_of(row.id)
        is_newer = None if number is None or lost.after_id is None or not runs_upward else number > lost.after_id
        if is_newer is False or is_claimed(row):
            continue
        if lost.intent.matches(row):
            (matches if is_newer else doubtful).append(row)
        elif _resembles(row, lost):
            doubtful.append(row)
    if matches and len(matches) <= lost.rivals:
        first = min(matches, key=lambda row: number_of(row.id) or 0)
        return TaskRef(first.id or None, first.token)
    candidates = (*matches, *doubtful)
    if len(matches) > lost.rivals:
        return Unproven(candidates, f"{len(matches)} tasks look like it")
    if doubtful:
        return Unproven(candidates, "a task that may be it cannot be told apart from others")
    missing = _missing(listing, lost, witnesses, runs_upward)
    return Absent() if missing is None else Unproven((), missing)


def _run_upward(
    after_id: int | None, witnesses: Sequence[Witness], shown: bool | None, rows: Sequence[TaskInfo]
) -> bool:
    """Whether later tasks have larger ids: something shows it, and nothing contradicts."""
    numbers = [number_of(witness.ref.task_id) for witness in witnesses]
    if shown is False or after_id is None or any(number is None or number <= after_id for number in numbers):
        return False
    # An account that had no task then has only later ones.
    if numbers or shown or after_id == 0:
        return True
    # The service's own times are compared with each other only, so its clock need not be right.
    made = sorted((number_of(row.id) or 0, row.created_at) for row in rows if row.created_at is not None)
    times = [created_at for _, created_at in made]
    return len(set(times)) > 1 and times == sorted(times)


def _missing(listing: Listing, lost: LostIntent, witnesses: Sequence[Witness], runs_upward: bool) -> str | None:
    """What the proof of absence lacks; None if nothing."""
    if lost.after_id is None:
        return "no task id was known before it was sent"
    if not runs_upward:
        return "task ids are not known to run upward"
    if not _shows_a_witness(listing, lost, witnesses):
        return "the list shows no later task of this journal with the same parameters as it was sent"
    numbers = [number_of(row.id) for row in listing.rows]
    known = [number for number in numbers if number is not None]
    steps = {later > earlier for earlier, later in pairwise(known)}
    if len(known) < len(numbers) or len(steps) > 1:
        return "the list is in no order"
    if True in steps and not listing.is_whole:
        return "the list could not be read to its end"
    if lost.after_id == 0:
        return None if listing.is_whole else "the list could not be read to its end"
    return None if min(known) <= lost.after_id else "the list does not reach back to the time before it was sent"


def _shows_a_witness(listing: Listing, lost: LostIntent, witnesses: Sequence[Witness]) -> bool:
    """Whether the list shows a later task of the same shape, and as it was sent."""
    wanted = {witness.ref.task_id: witness.fingerprint for witness in witnesses}
    return any(
        row.id in wanted and short(fingerprint(row.model, row.parameters, lost.intent.ignored)) == wanted[row.id]
        for row in listing.rows
    )


def _resembles(row: TaskInfo, lost: LostIntent) -> bool:
    """Whether a row may be the run's, if the service echoes it in an unexpected form."""
    if row.model and row.model.lower() != lost.intent.model.lower():
        return False
    return all(
        name in lost.intent.ignored or value in (None, "") or _is_near(form_text(value), row.parameters.get(name))
        for name, value in lost.values.items()
    )


def _is_near(given: str, echo: JSON) -> bool:
    if echo in (None, ""):
        return True
    ours, theirs = _plain(given), _plain(form_text(echo))
    if ours == theirs or (
        min(len(ours), len(theirs)) >= PREFIX and (ours.startswith(theirs) or theirs.startswith(ours))
    ):
        return True
    try:
        return abs(float(ours) - float(theirs)) <= 1e-3 * max(abs(float(ours)), abs(float(theirs)))
    except ValueError:
        return False


def _plain(text: str) -> str:
    return "".join(html.unescape(text).casefold().split())
