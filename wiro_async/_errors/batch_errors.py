"""Errors of batches and of their journals."""

from __future__ import annotations

from wiro_async._errors.base import WiroError


class BudgetExceededError(WiroError):
    """The batch's budget leaves no room for this item."""


class JournalError(WiroError):
    """The journal is in use elsewhere, is damaged, or belongs to other requests."""


class KeyConflictError(JournalError):
    """The journal knows this key with another model or another input."""
