"""The results of the parts of the demo."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import attrs


@attrs.frozen
class Picture:
    """One run that makes a picture."""

    index: int
    prompt: str
    ratio: float = 1.0  # width over height
    file: Path | None = None  # the saved picture; None if the run failed
    problem: str | None = None  # the reason of a failure
    started: float = 0.0  # seconds from the start of the part to the start of the run
    ended: float = 0.0  # seconds from the start of the part to the end of the run
    elapsed: float = 0.0  # seconds that the model ran
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
    """Figures of a part."""

    name: str
    runs: int = 0
    failures: int = 0
    cost: Decimal = Decimal(0)
    wall: float = 0.0  # seconds that the part took
    alone: float = 0.0  # seconds that its runs would take one after the other

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
    """Return seconds as text, with minutes from one minute on."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def shown_money(cost: Decimal) -> str:
    """Return US dollars as text, below one dollar with hundredths of a cent if there are any."""
    return f"${cost:,.2f}" if cost >= 1 else f"${cost:.4f}".removesuffix("00")
