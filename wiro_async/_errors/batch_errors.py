"""Errors of batches and of their journals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from wiro_async._errors.base import TaskFacts, WiroError

if TYPE_CHECKING:
    from wiro_async._api.batch.batch_items import BatchItem


class BudgetExceededError(WiroError):
    """The batch's budget leaves no room for this item."""


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


class JournalError(WiroError):
    """The journal is in use elsewhere, is damaged, or belongs to other requests."""


class KeyConflictError(JournalError):
    """The journal knows this key with another model or another input."""
