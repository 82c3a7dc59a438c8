"""Processes that share a journal in PostgreSQL are killed and stopped, and the database crashes."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
ITEMS, KILL_EVERY = 60, 0.9


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_key_is_billed_once(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """One process is killed every second, one is stopped for longer than its lease."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import kill_postgres
    import postgres_server

    if reason := postgres_server.missing():
        pytest.skip(reason)
    try:
        outcome = kill_postgres.round_of(ITEMS, random.Random(seed), KILL_EVERY)
        assert outcome["right"], outcome
    finally:
        for name in ("kill_postgres", "postgres_server"):
            sys.modules.pop(name, None)
