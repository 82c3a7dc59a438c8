"""What the parts of the demo bring home."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import attrs


@attrs.frozen
class Picture:
    """One run that was to make a picture.

    Attributes:
        file: where it lies, None if the run failed.
        problem: why it failed.
        started, ended: seconds since the part began.
        elapsed: seconds the model ran.
        ratio: width over height.
    """

    index: int
    prompt: str
    ratio: float = 1.0
    file: Path | None = None
    problem: str | None = None
    started: float = 0.0
    ended: float = 0.0
    elapsed: float = 0.0
    cost: Decimal = Decimal(0)


@attrs.frozen
class Answer:
    """One answer of a language model."""

    prompt: str
    text: str
    thinking: str
    elapsed: float
    cost: Decimal


@attrs.frozen
class Totals:
    """What a part took.

    Attributes:
        wall: seconds by the clock.
        alone: seconds the same runs would have taken one after the other.
    """

    name: str
    runs: int = 0
    failures: int = 0
    cost: Decimal = Decimal(0)
    wall: float = 0.0
    alone: float = 0.0

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            "all",
            self.runs + other.runs,
            self.failures + other.failures,
            self.cost + other.cost,
            self.wall + other.wall,
            self.alone + other.alone,
        )


def shown_seconds(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def shown_money(cost: Decimal) -> str:
    """US dollars; below one with hundredths of a cent, where there are any."""
    return f"${cost:,.2f}" if cost >= 1 else f"${cost:.4f}".removesuffix("00")
