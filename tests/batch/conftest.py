"""What the tests of batches share."""

from __future__ import annotations

from pathlib import Path

import pytest

KILLS = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest tests/batch --kills 50`; known only where pytest is pointed at this folder."""
    parser.getgroup("batch").addoption("--kills", type=int, default=KILLS, help="how many batches are killed")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where a journal may lie."""
    return tmp_path / "run.sqlite"
