"""What goes into a batch, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Unpack

import attrs

from wiro_async._api.results.task_result import TaskResult
from wiro_async._errors import InvalidInputError, WiroError
from wiro_async._errors.base import TaskFacts
from wiro_async._public import public
from wiro_async._types import Input, Timeouts


def _key(key: str | int | None) -> str | None:
    given: object = key
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    raise InvalidInputError(message=f"a RunRequest has the key {given!r}; give text, or a whole number")


@public
@attrs.frozen
class RunRequest:
    """One run of a batch.

    Args:
        model: "owner/model".
        input: its parameters.
        key: your own name for it. It names its `BatchItem`, and the item in the journal. A number becomes text.
        timeout: seconds for the whole run, or `Timeouts`.
        callback_url: where the service reports its end.
        project_id: the project to bill.
    """

    model: str
    input: Input | None = attrs.field(default=None, repr=False)
    key: str | None = attrs.field(default=None, converter=_key)
    timeout: float | Timeouts | None = None
    callback_url: str | None = attrs.field(default=None, repr=False)
    project_id: str | None = None


@public
@attrs.frozen
class BatchItem:
    """One ended item: either `result` or `error` is set.

    Attributes:
        index: its place among the inputs, from 0.
        key: the request's key. Without one, its name in the journal, or the index as text if there is no journal.
        input: the input of the request.
        request: the whole request. `wiro.batch(failed)` runs items again.
        result: the result of the run.
        error: why there is no result. `BudgetExceededError` marks an item that was skipped, not tried.
        attempts: how many tasks were made for it, also in earlier processes.
        saved: where its outputs were saved, if the batch saves them.
        save_error: why they could not be saved. The result is complete, and can be saved again.
        replayed: whether the journal knew its task, so that this batch did not submit it.
    """

    __match_args__ = ("index", "key", "input", "result", "error", "attempts")

    index: int
    key: str
    request: RunRequest
    result: TaskResult | None
    error: Exception | None
    attempts: int
    saved: tuple[Path, ...] = ()
    save_error: Exception | None = None
    replayed: bool = False

    @property
    def input(self) -> Input | None:
        """The input of the request."""
        return self.request.input


class BatchFailedError(WiroError):
    """All runs of `map` have ended, and some of them failed.

    Attributes:
        items: one item for each input, in the order of the inputs. `item.result` holds each result that was paid for,
            `item.error` says why a run gave none.
    """

    def __init__(self, items: Sequence[BatchItem], **facts: Unpack[TaskFacts]) -> None:
        super().__init__(**facts)
        self.items = tuple(items)

    def _sentence(self) -> str:
        failed = [item for item in self.items if item.error is not None]
        first = f"; item {failed[0].index}: {failed[0].error}" if failed else ""
        return f"{len(failed)} of {len(self.items)} runs failed, error.items holds the results of the others{first}"


class Outcome(NamedTuple):
    """The outcome of an item's last attempt."""

    result: TaskResult | None
    error: Exception | None
