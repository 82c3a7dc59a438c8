"""Batches killed with -9 at random moments and started again. `pytest tests/api/batch --kills 50` kills more."""

from __future__ import annotations

import random
import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "kill.py"
ITEMS = 60
DEFAULT = 2


@pytest.mark.timeout(600)
def test_every_item_is_billed_once(request: pytest.FixtureRequest) -> None:
    """Each batch is killed twice while runs are being sent; submissions = items = results."""
    kill: dict[str, Any] = runpy.run_path(str(SCRIPT))
    rounds = int(request.config.getoption("kills", DEFAULT) or DEFAULT)
    dice = random.Random(rounds)
    for _ in range(rounds):
        outcome = kill["round_of"](ITEMS, dice, kills=2)
        assert outcome["right"], outcome
