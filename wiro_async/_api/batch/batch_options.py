"""The options of a batch: what users pass, and the record that checks it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict

import attrs

from wiro_async._api.batch_report.live_progress import ProgressListener
from wiro_async._api.journal.store_places import place_of
from wiro_async._errors import InvalidInputError, TaskFailedError
from wiro_async._public import public
from wiro_async._types import OnCancel, Timeouts

Order: TypeAlias = Literal["completed", "input"]
OnError: TypeAlias = Literal["continue", "stop"]
Concurrency: TypeAlias = int | Literal["auto"]
RetryIf: TypeAlias = Callable[[TaskFailedError], Awaitable[bool] | bool]
Validator: TypeAlias = Callable[[object, "attrs.Attribute[Any]", Any], None]


@public
class BatchOptions(TypedDict, total=False):
    """The keyword arguments of `AsyncWiro.batch`. All are optional.

    Args:
        concurrency: how many items run at a time. "auto" leaves it to the session, which learns what the service
            allows.
        order: return items as they are "completed", or in the order of the "input".
        window: in "input" order, how many items may be ahead of the next one to return. Then no input is taken.
        retries: how often a failed task is run again. Each attempt is billed.
        retry_if: decides which failures are retried, all by default. May be a coroutine function.
        on_error: "stop" sends nothing more after the first failed item. Items that were sent are finished and
            returned, items that were taken but not sent are dropped.
        on_exit: "leave" lets running tasks continue when the batch is left.
        journal: the path of a SQLite file, or the URL of a PostgreSQL database, in which every item is written before
            it is sent. True, or nothing, takes the session's journal if it has one, and False takes none. Started again
            with it, even after `kill -9`, the batch returns what has ended, follows what runs, and submits only the
            rest. Failed items are returned as failed while their attempts are used up: raise `retries`, or pass the
            items themselves, to run them again. A file holds tokens and results; only its owner can read it.
        journal_grace: seconds for which a run of an earlier process may still arrive. If the service's list of tasks
            proves after that time that no task was made, the run is submitted again.
        budget: US dollars. A run is submitted only if the sum of money spent, money reserved for runs in flight and
            its own estimate fits. Other items are skipped with `BudgetExceededError`; if the number of inputs is
            unknown, no more are taken. The estimate is the model's price. If that is not exact, it is at least the
            mean cost so far. If nothing is known, one run goes alone. A run may cost more than its estimate, so the
            budget can be exceeded by what the runs in flight cost beyond their estimates. A run whose end is not seen
            counts with its estimate. With a journal, the costs of earlier processes count.
        save_to: a directory into which outputs are downloaded as items end, as "{key}-{number}.{suffix}". Existing
            files of other programs are kept.
        progress: True shows a live display. A function, or a coroutine function, is called with `BatchStats`
            several times a second.
        timeout: seconds for each run, or `Timeouts`. A `RunRequest` may have its own.
        queue_timeout: seconds until each run must have started.
    """

    concurrency: Concurrency
    order: Order
    window: int | None
    retries: int
    retry_if: RetryIf | None
    on_error: OnError
    on_exit: OnCancel
    journal: str | os.PathLike[str] | bool | None
    journal_grace: float
    budget: Decimal | int | str | None
    save_to: str | os.PathLike[str] | None
    progress: bool | ProgressListener | None
    timeout: float | Timeouts | None
    queue_timeout: float | None


def _wrong(name: str, value: object, wanted: str) -> InvalidInputError:
    return InvalidInputError(message=f"{name} is {value!r}; give {wanted}")


def _one_of(*allowed: str) -> Validator:
    def validate(options: object, option: attrs.Attribute[Any], value: object) -> None:
        if value not in allowed:
            raise _wrong(option.name, value, " or ".join(map(repr, allowed)))

    return validate


def _count(least: int, other: str | None = None) -> Validator:
    def validate(options: object, option: attrs.Attribute[Any], value: object) -> None:
        if value != other and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise _wrong(option.name, value, f"{least} or more" + (f", or {other!r}" if other else ""))

    return validate


def _function(of: str, *others: object) -> Validator:
    def validate(options: object, option: attrs.Attribute[Any], value: object) -> None:
        if not callable(value) and value not in (None, *others):
            raise _wrong(option.name, value, f"a function of {of}")

    return validate


def _seconds(options: object, option: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, (int, float)) or not value >= 0:
        raise _wrong(option.name, value, "0 or more seconds")


def _money(given: Decimal | int | str) -> Decimal:
    try:
        amount = Decimal(given if not isinstance(given, float) else str(given))
    except (InvalidOperation, TypeError, ValueError):
        amount = Decimal("NaN")
    if not (amount.is_finite() and amount >= 0):
        raise _wrong("budget", given, "US dollars, such as Decimal('5.00')")
    return amount


def _journal(given: str | os.PathLike[str] | bool | None) -> str | Path | bool | None:
    return given if isinstance(given, (bool, type(None))) else place_of(given)


@attrs.frozen(kw_only=True)
class CheckedBatchOptions:
    """Checked options of a batch, with their defaults. `BatchOptions` documents them.

    Raises:
        InvalidInputError: an option is wrong. The error names it.
    """

    concurrency: Concurrency = attrs.field(default="auto", validator=_count(1, "auto"))
    order: Order = attrs.field(default="completed", validator=_one_of("completed", "input"))
    window: int | None = attrs.field(default=None, validator=attrs.validators.optional(_count(1)))
    retries: int = attrs.field(default=0, validator=_count(0))
    retry_if: RetryIf | None = attrs.field(default=None, validator=_function("TaskFailedError"))
    on_error: OnError = attrs.field(default="continue", validator=_one_of("continue", "stop"))
    on_exit: OnCancel = attrs.field(default="stop", validator=_one_of("stop", "leave"))
    journal: str | Path | bool | None = attrs.field(default=None, converter=_journal)
    journal_grace: float = attrs.field(default=10.0, validator=_seconds)
    budget: Decimal | None = attrs.field(default=None, converter=attrs.converters.optional(_money))
    save_to: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))
    progress: bool | ProgressListener | None = attrs.field(
        default=None, validator=_function("BatchStats, or True", True, False)
    )
    timeout: float | Timeouts | None = None
    queue_timeout: float | None = None
