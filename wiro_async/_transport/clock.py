"""Wall time and chance, for those who may ask for them."""

from __future__ import annotations

import random
import time


def now() -> float:
    """The unix time."""
    return time.time()


def nonce() -> str:
    """A number for one signature, never the same twice."""
    return str(time.time_ns())


def chance() -> float:
    """A random number from 0 to 1, for jitter."""
    return random.random()
