"""Whether a lost run became a task: by proof, or not at all.

A run whose response was never seen may have become a task, which is billed. The service gives a run no name of ours,
and its list of tasks may lag, be cut off, be sorted in another way, or echo parameters in another form. So a list in
which the task is missing proves nothing by itself. It proves something only where the journal's own later tasks, the
witnesses, are all in it, and look as they must, and where it was read down to ids that were known before the run was
sent. Clocks decide nothing. Where the proof fails, the verdict names the reason, and the tasks that may be the run's.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Literal

import attrs

from wiro_async._protocol.journal.record import Witness
from wiro_async._protocol.submission.intent import BROKEN, Intent, canonical, fingerprint, intent_of
from wiro_async._protocol.submission.journal_keys import short
from wiro_async._protocol.submission.seen_ids import number_of
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import JSON
from wiro_async._records.task_info import TaskInfo

LEAST_PREFIX = 16  # characters that a cut echo must share with the text
CLOSE = Decimal("1e-5")  # the relative difference of two numbers that may be one


@attrs.frozen
class Adopt:
    """The run certainly is this task."""

    ref: TaskRef


@attrs.frozen
class Absent:
    """The run certainly is no task."""


@attrs.frozen
class Unproven:
    """Nothing is certain.

    Attributes:
        reason: why, to be read after "because".
        candidates: the tasks that may be the run's.
    """

    reason: str
    candidates: tuple[TaskInfo, ...] = ()


@attrs.frozen
class Listing:
    """The account's list of tasks, as far as it was read.

    Attributes:
        rows: each task once, in the order of the list.
        is_contiguous: whether no row was skipped between the pages.
        has_end: whether the last page was the last one of the list.
        oldest_id: the id of the oldest task of the account, if that was asked for.
    """

    rows: tuple[TaskInfo, ...] = ()
    is_contiguous: bool = True
    has_end: bool = True
    oldest_id: str | None = None

    @property
    def order(self) -> Literal["newest first", "oldest first"] | None:
        """How the ids are sorted; None if they are not, or are no numbers."""
        numbers = [number_of(row.id) for row in self.rows]
        if all(a is not None and b is not None and a > b for a, b in pairwise([*numbers, -1])):
            return "newest first"
        if all(a is not None and b is not None and a < b for a, b in pairwise([0, *numbers])):
            return "oldest first"
        return None

    def reaches(self, bound: int) -> bool:
        """Whether every task with an id above the bound was read, as far as a list can show that."""
        numbers = [number for row in self.rows if (number := number_of(row.id)) is not None]
        match self.order:
            case None:
                return False
            case _ if not self.is_contiguous:
                return False
            case "newest first" if numbers and numbers[-1] <= bound:
                return True
            case _ if not self.has_end:
                return False
            case _:
                # The list may have been cut off. Its other end, asked for in the other order, shows that.
                return bool(numbers) and (min(numbers) <= bound or number_of(self.oldest_id) == min(numbers))


@attrs.frozen
class Others:
    """What else the listed tasks may be.

    Attributes:
        claimed: ids and tokens of tasks that belong to other runs.
        rivals: how many lost runs look alike, this one included.
        is_one_request: whether these are one request. Otherwise none of them may claim a task that fits all.
        are_settled: whether no run that looks alike is being sent now.
        ids_run_upward: whether the session's own tasks show that later tasks have larger ids; None if not known.
    """

    claimed: Collection[str] = ()
    witnesses: Sequence[Witness] = ()
    rivals: int = 1
    is_one_request: bool = True
    are_settled: bool = True
    ids_run_upward: bool | None = None


def judge(  # noqa: C901
    intent: Intent, last_id_seen: int | None, listing: Listing, others: Others
) -> Adopt | Absent | Unproven:
    """Decide what a list says of a lost run.

    Args:
        last_id_seen: the largest id of a task that was known before it was sent; 0 if there was no task.
    """
    unclaimed = [row for row in listing.rows if not {row.id, row.token} & set(others.claimed)]
    own_id = intent.callback_url and intent_of(intent.callback_url)
    named = [row for row in unclaimed if own_id and _intent_of(row) == own_id]
    if named:  # nobody else knows the id in the callback URL
        return Adopt(_ref(min(named, key=_order)))
    faults = _faults(last_id_seen, others)
    if faults is None and last_id_seen is not None:
        unclaimed = [row for row in unclaimed if (number := number_of(row.id)) is None or number > last_id_seen]
    exact = [row for row in unclaimed if intent.matches(row)]
    doubtful = [row for row in unclaimed if row not in exact and may_be(intent, row)]
    candidates = (*exact, *doubtful)
    if faults is not None or last_id_seen is None:
        return Unproven(faults or "no task was known before it was sent", candidates)
    if not listing.reaches(last_id_seen):
        return Unproven("the service's list of tasks could not be read down to tasks that are older", candidates)
    problem = _problem_of_witnesses(intent, listing, others.witnesses)
    if not candidates:
        return Absent() if problem is None else Unproven(problem)
    if doubtful:
        return Unproven("tasks in the list may be its own, but their parameters differ in form", candidates)
    if not others.are_settled:
        return Unproven("a run that looks the same is being sent", candidates)
    if len(exact) > others.rivals or not others.is_one_request:
        return Unproven("several tasks or requests look the same", candidates)
    if listing.order == "oldest first" and problem is not None:  # the newest tasks may be missing
        return Unproven(problem, candidates)
    if not (last_id_seen == 0 or others.witnesses or others.ids_run_upward or _times_follow_ids(listing.rows)):
        return Unproven("nothing shows yet that newer tasks have larger ids", candidates)
    return Adopt(_ref(min(exact, key=_order)))


def may_be(intent: Intent, row: TaskInfo) -> bool:
    """Whether a listed task could be a run's, if the service wrote its parameters in a form of its own."""
    if row.model and _letters(row.model) != _letters(intent.model):
        return False
    named = _intent_of(row)
    if named is not None and (intent.callback_url is None or named != intent_of(intent.callback_url)):
        return False
    echoed = {_letters(name): value for name, value in row.parameters.items()}
    for name, value in intent.values.items():
        echo = echoed.get(_letters(name))
        if value not in (None, "") and echo not in (None, "") and not _are_close(value, echo):
            return False
    return True


def _faults(last_id_seen: int | None, others: Others) -> str | None:
    """Why the order of ids cannot be relied upon; None if nothing speaks against it."""
    if others.ids_run_upward is False:
        return "the ids of this account's tasks do not run upward"
    for witness in others.witnesses:
        number = number_of(witness.ref.task_id)
        if number is None or (last_id_seen is not None and number <= last_id_seen):
            return "the ids of this account's tasks do not run upward"
    return None


def _problem_of_witnesses(intent: Intent, listing: Listing, witnesses: Sequence[Witness]) -> str | None:
    """Why the list does not prove that a task is missing; None if it does."""
    if not witnesses:
        return "no later run with the same parameters shows how the service lists them"
    listed = {row.id: row for row in listing.rows}
    for witness in witnesses:
        row = listed.get(witness.ref.task_id or "")
        if row is None:
            return "the service's list of tasks is not complete"
        if short(fingerprint(row.model, row.parameters, intent.ignored)) != witness.fingerprint:
            return "the service lists parameters in a form of its own"
    return None


def _times_follow_ids(rows: Sequence[TaskInfo]) -> bool:
    """Whether the service's own times show that newer tasks have larger ids."""
    times = [row.created_at for row in sorted(rows, key=_order)]
    pairs = list(pairwise(times))
    return all(a is not None and b is not None and a <= b for a, b in pairs) and any(a != b for a, b in pairs)


def _intent_of(row: TaskInfo) -> str | None:
    echo = row.raw.get("callbackurl")
    try:
        return intent_of(echo.replace("&amp;", "&")) if isinstance(echo, str) else None
    except ValueError:  # an echo need not be a URL
        return None


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _are_close(given: JSON, echo: JSON) -> bool:
    a, b = (" ".join(html.unescape(canonical(value)).casefold().split()) for value in (given, echo))
    if BROKEN in b:  # some of it is lost, so it may have been anything
        return True
    if a == b or (min(len(a), len(b)) >= LEAST_PREFIX and (a.startswith(b) or b.startswith(a))):
        return True
    try:
        x, y = Decimal(a), Decimal(b)
        return abs(x - y) <= CLOSE * max(abs(x), abs(y))
    except ArithmeticError:
        return False


def _ref(row: TaskInfo) -> TaskRef:
    return TaskRef(row.id or None, row.token)


def _order(row: TaskInfo) -> tuple[int, str]:
    return len(row.id), row.id
