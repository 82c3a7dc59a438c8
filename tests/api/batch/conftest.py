"""Options of the tests of batches."""

from __future__ import annotations

import pytest

KILLS = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `pytest tests/api/batch --kills 50`. The option exists only for this folder."""
    parser.getgroup("batch").addoption("--kills", type=int, default=KILLS, help="number of batches that are killed")
