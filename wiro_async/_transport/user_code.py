"""What code of the user may do in a task of the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from wiro_async._errors import UsageError


def is_cancelled() -> bool:
    """Whether somebody has cancelled the running task."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


@contextmanager
def uncancelled(name: str) -> Generator[None]:
    """Run code of the user. If it raises `CancelledError` and nobody cancels the task, that is an error like any other.

    A task of the SDK would end of it in silence, and what it was to deliver would be lost.

    Args:
        name: of the code, in the error.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise UsageError(f"{name} raised CancelledError, though nobody cancelled it; raise another error") from error
