"""The settings of a batch."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal, TypeAlias, TypedDict

import attrs

from wiro_async._api.batch.counters import BatchStats
from wiro_async._errors import InvalidInputError, TaskFailedError
from wiro_async._public import public
from wiro_async._types import OnCancel, Timeouts

Order: TypeAlias = Literal["completed", "input"]
OnError: TypeAlias = Literal["continue", "stop"]
Concurrency: TypeAlias = int | Literal["auto"]
RetryIf: TypeAlias = Callable[[TaskFailedError], Awaitable[bool] | bool]
ProgressListener: TypeAlias = Callable[[BatchStats], Awaitable[None] | None]

AUTO_WORKERS = 256  # for "auto": how many items stand ready for the session's limiter at most
WINDOW_PER_WORKER = 4  # in input order, this many finished items a worker wait for a slow one before it


@public
class BatchSettings(TypedDict, total=False):
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
        journal: a file in which every item is written before it is sent. Started again with it, even after `kill -9`,
            the batch returns what has ended, follows what runs, and submits only the rest. Failed items are returned as
            failed while their attempts are used up: raise `retries`, or pass the items themselves, to run them again.
            The file holds tokens and results; only its owner can read it.
        journal_grace: seconds after the journal was opened. If an earlier process did not see the response to a run,
            and the service does not list its task by then, the run counts as never sent.
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
    journal: str | os.PathLike[str] | None
    journal_grace: float
    budget: Decimal | int | str | None
    save_to: str | os.PathLike[str] | None
    progress: bool | ProgressListener | None
    timeout: float | Timeouts | None
    queue_timeout: float | None


@attrs.frozen
class BatchOptions:
    """The settings of a batch, checked."""

    workers: int
    window: int | None
    retries: int
    retry_if: RetryIf
    stop_on_error: bool
    on_exit: OnCancel
    journal: Path | None
    journal_grace: float
    budget: Decimal | None
    save_to: Path | None
    progress: bool | ProgressListener

    @classmethod
    def of(
        cls,
        concurrency: Concurrency = "auto",
        order: Order = "completed",
        window: int | None = None,
        retries: int = 0,
        retry_if: RetryIf | None = None,
        on_error: OnError = "continue",
        on_exit: OnCancel = "stop",
        journal: str | os.PathLike[str] | None = None,
        journal_grace: float = 10.0,
        budget: Decimal | int | str | None = None,
        save_to: str | os.PathLike[str] | None = None,
        progress: bool | ProgressListener | None = None,
    ) -> BatchOptions:
        """Check the settings. Raises `InvalidInputError`."""
        _known("order", order, ("completed", "input"))
        _known("on_error", on_error, ("continue", "stop"))
        _known("on_exit", on_exit, ("stop", "leave"))
        workers = AUTO_WORKERS if concurrency == "auto" else _least("concurrency", concurrency, 1, ", or 'auto'")
        if window is not None:
            _least("window", window, 1)
        if not journal_grace >= 0:
            raise InvalidInputError(message=f"journal_grace is {journal_grace!r}; give 0 or more seconds")
        if not (retry_if is None or callable(retry_if)):
            raise InvalidInputError(message=f"retry_if is {retry_if!r}; give a function of TaskFailedError")
        if not (progress is None or isinstance(progress, bool) or callable(progress)):
            raise InvalidInputError(message=f"progress is {progress!r}; give True, or a function of BatchStats")
        return cls(
            workers,
            (window or workers * WINDOW_PER_WORKER) if order == "input" else None,
            _least("retries", retries, 0),
            retry_if or (lambda error: True),
            on_error == "stop",
            on_exit,
            None if journal is None else Path(journal),
            journal_grace,
            _money(budget),
            None if save_to is None else Path(save_to),
            progress or False,
        )


def _known(name: str, value: str, allowed: tuple[str, str]) -> None:
    if value not in allowed:
        raise InvalidInputError(message=f"{name} is {value!r}; give {allowed[0]!r} or {allowed[1]!r}")


def _least(name: str, value: object, least: int, else_: str = "") -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidInputError(message=f"{name} is {value!r}; give {least} or more{else_}")
    return value


def _money(given: Decimal | int | str | None) -> Decimal | None:
    if given is None:
        return None
    try:
        amount = Decimal(given if not isinstance(given, float) else str(given))
    except (InvalidOperation, TypeError, ValueError):
        amount = Decimal("NaN")
    if not (amount.is_finite() and amount >= 0):
        raise InvalidInputError(message=f"budget is {given!r}; give US dollars, such as Decimal('5.00')")
    return amount
