"""Wall time, loop time, and numbers that never repeat."""

from __future__ import annotations

import asyncio
import time
from itertools import count

TURN = count()
BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def now() -> float:
    return time.time()


def monotonic() -> float:
    """A time in seconds that never jumps."""
    return time.monotonic()


def nonce() -> str:
    """A number for one signature, never the same twice."""
    return str(time.time_ns() + next(TURN))  # some clocks show the same time for milliseconds


def loop_time() -> float:
    """The time of the running event loop: a tenth of what `anyio.current_time` costs, and asked for every message."""
    return asyncio.get_running_loop().time()


def since_boot() -> float:
    """Seconds that also pass while the machine sleeps, where the system can tell. Never set back."""
    return time.clock_gettime(BOOT_CLOCK) if BOOT_CLOCK is not None else time.monotonic()
