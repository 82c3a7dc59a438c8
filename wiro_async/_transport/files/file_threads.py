"""Run blocking file operations in threads.

Both functions start the work before anything is awaited, so a cancellation cannot prevent it. Cancelling the future
does not stop the thread: the work must tolerate that nobody waits for it any more. Its error is then ignored.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


def in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run something short in one of the loop's threads."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    future.add_done_callback(_retrieve_error)
    return future


def in_own_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run something that may block indefinitely in a thread of its own.

    The loop's threads stay free for other work, and the thread does not keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(_retrieve_error)

    def run() -> None:
        try:
            settle = partial(future.set_result, work())
        except BaseException as error:
            settle = partial(future.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle)

    threading.Thread(target=run, name="wiro_async reader", daemon=True).start()
    return future


def _retrieve_error(future: asyncio.Future[T]) -> None:
    """Mark the error as seen, so that asyncio does not log it when nobody awaits the future."""
    if not future.cancelled():
        future.exception()
