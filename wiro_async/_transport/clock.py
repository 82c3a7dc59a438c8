"""Wall time and chance, for those who may ask for them."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import count

TURN = count()


def now() -> float:
    return time.time()


def nonce() -> str:
    """A number for one signature, never the same twice."""
    return str(time.time_ns() + next(TURN))  # some clocks tell the same time for milliseconds


def chance() -> float:
    """A random number from 0 to 1, for jitter."""
    return random.random()


def loop_time() -> float:
    """The time of the running event loop: a tenth of what `anyio.current_time` costs, and asked for every message."""
    return asyncio.get_running_loop().time()
